"""What tests in several rooms need."""

import csv
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data.patches import PatchGrid
from main_lena import Settings, train
from models.losses import LOSSES
from utils.evaluation.observation import Observation
from utils.training.progress import Unsaved
from utils.training.samples import Samples

ROOT = Path(__file__).parents[1]
SIDE = 16  # of the shipped dictionary's patches


def rows(path):
    """The rows of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))


def psnr_by_image(rows):
    """The PSNR in rows of comparison.csv: by experiment, noise rate and method, then by image, then by noise seed."""
    found = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        case = row["experiment"], float(row["noise_rate"]), row["method"]
        found[case][row["image"]][int(row["seed"])] = float(row["psnr"])
    return found


def copy_code(folder):
    """A copy of everything that `python main_lena.py` runs."""
    folder.mkdir()
    shutil.copy(ROOT / "main_lena.py", folder)
    for room in ("models", "data", "utils"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))


def observed(noisy, find_mask=None, **known):
    """The observation of a noisy image, its patches without overlap."""
    grid = PatchGrid(tuple(noisy.shape), SIDE, SIDE)
    return Observation(np.asarray(noisy), grid, torch.device("cpu"), find_mask, **known)


class Drawn:
    """A source whose samples a function draws; it cannot be saved."""

    def __init__(self, draw):
        self.draw = draw

    def restart(self):
        """Nothing to go back to."""


def fixed(X, mask=None):
    """A source of always the same samples."""
    return Drawn(lambda count: Samples(X, mask))


def settings(**changes):
    """The default settings with changes, of a training that takes a moment."""
    short = {"epochs": 3, "patches_per_epoch": 300, "batch_size": 50, "learning_rate": 0.03, "layer_discount": 0.8}
    return replace(Settings(), **(short | changes))


def train_now(network, samples, loss="objective", progress=None, compiled=False, **changes):
    """Trains the network in place, with a loss or the name of one; the loss of every epoch."""
    loss = LOSSES[loss] if isinstance(loss, str) else loss
    return list(train(network, samples, loss, settings(**changes), compiled, progress or Unsaved()))


def numpy_ladmm(A, B, x, alpha, beta, iterations):
    """LADMM for one column x, written from Lin, Liu & Su (2011): Z, E and λ after every iteration."""

    def prox_of_l1(v, t):
        return np.sign(v) * np.maximum(np.abs(v) - t, 0)

    L_A, L_B = np.linalg.norm(A, 2) ** 2, np.linalg.norm(B, 2) ** 2
    Z, E, multiplier = np.zeros(A.shape[1]), np.zeros(B.shape[1]), np.zeros(len(x))
    trace = []
    for _ in range(iterations):
        T = A @ Z + B @ E - x
        Z = prox_of_l1(Z - A.T @ (multiplier + beta * T) / (beta * L_A), alpha / (beta * L_A))
        T_hat = A @ Z + B @ E - x
        E = prox_of_l1(E - B.T @ (multiplier + beta * T_hat) / (beta * L_B), 1 / (beta * L_B))
        multiplier = multiplier + beta * (A @ Z + B @ E - x)
        trace.append((Z, E, multiplier))
    return trace
