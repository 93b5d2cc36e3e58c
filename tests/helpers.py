"""What tests in several rooms need."""

import csv
import json
import struct
import zlib
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from data.damage import DAMAGES
from data.patches import PatchGrid
from models import ladmm
from models.losses import LOSSES
from models.samples import Drawn, Samples
from models.training import LayerLosses, Training
from utils.evaluation.observation import Observation

ROOT = Path(__file__).parents[1]
salt_and_pepper, random_valued, missing_blocks, gaussian_and_impulses = (
    DAMAGES[name].corrupt for name in ("salt_and_pepper", "random_valued", "missing_blocks", "gaussian_and_impulses")
)
PUBLISHED = json.loads((ROOT / "results" / "results.json").read_text())["settings"]  # of the published results
# The same on a command line: a process that somebody's edits of main_lena.py reach runs as if there were none.
AS_PUBLISHED = [
    word
    for name, value in PUBLISHED.items()
    if value != []
    for word in (f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value]))
]
SIDE = 16  # of the shipped dictionary's patches


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def cells(markdown, start=""):
    """The cells of the rows of Markdown tables, headings included, whose first cell starts so."""
    lines = [line for line in markdown.splitlines() if line.startswith(f"| {start}") and not line.startswith("| --")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def refusal(capsys, command, *arguments):
    """Runs a command that bad input ends with exit code 2: the line that it says, and nothing else."""
    with pytest.raises(SystemExit) as stopped:
        command(*arguments)
    said = capsys.readouterr()
    assert (stopped.value.code, said.err.count("\n"), said.out) == (2, 1, "")
    return said.err


def interrupted_in(monkeypatch, of, name, *numbers):
    """Ctrl-C comes in the calls of a function that have these numbers; the arguments of all calls, which go on."""
    function, calls = getattr(of, name), []

    def interrupting(*arguments):
        calls.append(arguments)
        if len(calls) in numbers:
            raise KeyboardInterrupt
        return function(*arguments)

    monkeypatch.setattr(of, name, interrupting)
    return calls


def stored(checkpoint):
    """The description in a checkpoint, a text, and its tensors by name."""
    with safe_open(checkpoint, framework="pt") as file:
        return file.metadata()["dladmm"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def png_of(width, height, rows=b"", bits=8, colour=0):
    """A PNG, made by hand after the standard. Without rows it has next to nothing inside, however large it says it is.
    Rows have a zero and then their samples, of so many bits; the colour is 0 for grey, 2 for red, green and blue."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [(len(data), kind + data) for kind, data in parts]
    packed = [struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk)) for size, chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def observed(noisy, find_mask=None, **known):
    """The observation of a noisy image, its patches without overlap."""
    grid = PatchGrid(tuple(noisy.shape), SIDE, SIDE)
    return Observation(np.asarray(noisy), grid, torch.device("cpu"), find_mask, **known)


def fixed(X, mask=None):
    return Drawn(lambda count: Samples(X, mask))


def training_of(network, source, loss="objective", compiled=False, **changes):
    """A training of a moment, with a loss or the name of one."""
    loss = LOSSES[loss] if isinstance(loss, str) else loss
    short = {"epochs": 3, "samples_per_epoch": 300, "batch_size": 50, "learning_rate": 0.03, "layer_discount": 0.8}
    return Training(network, source, LayerLosses(network, loss, compiled), **(short | changes))


def train_now(*arguments, **changes):
    """Trains the network in place, see `training_of`; the loss of every epoch."""
    return [epoch.loss for epoch in training_of(*arguments, **changes)]


@torch.no_grad()
def certified(problem, states, X, mask=None, tolerance=1e-6):
    """The first state, of every fiftieth, where each row's gap is at most this part of its optimum; else the last."""
    for number, state in enumerate(states):
        dual = problem.dual_objective(state, X, mask) if number % 50 == 0 else None
        if dual is not None and (problem.objective(state, X, mask) - dual <= tolerance * dual.abs() + 1e-9).all():
            break
    return state


def solved(problem, X, beta=1.0, mask=None, tolerance=1e-6, iterations=20_000):
    return certified(problem, islice(ladmm(problem, X, beta, mask), iterations), X, mask, tolerance)


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
