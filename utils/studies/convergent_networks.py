"""What utils.studies.convergent compares: two problems, and the networks of tied and of free weights that learn them.

Each network learns from samples of its problem alone, drawn afresh in every epoch.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from data.images import VALIDATION_IMAGES
from data.patches import random_patches
from data.synthetic import gaussian_dictionary, sparse_samples
from main_lena import Settings, observe, pose
from models import DLADMM, Problem
from models.losses import LOSSES
from models.samples import Batch, Drawn
from models.training import LayerLosses, Training
from utils.running.devices import pick_compiled

SEED, DEPTH = 1126, 15
TOLERANCE = 0.01  # certified gap relative to the objective
# How networks of each kind of weights begin, and their learning rates.
KINDS = {
    "convergent": {"beta": 3.0},
    "free": {"beta": 8.0, "initialization": "pseudo_inverse", "activation": "piecewise_linear"},
}
LEARNING_RATES = {"convergent": 0.05, "free": 0.08}
EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, LAYER_DISCOUNT = 16, 10_000, 250, 0.5
# The layer that is trained to be repeated: how often, and how. Relaxation is for repeating it.
REPEATS, STEPS, FEW, LAST_BETA, LAST_LEARNING_RATE, RELAXATION = 150, 100, 64, 1.5, 0.05, 1.8
# The free network that learns to certify what it restores: how many last layers learn, how long, weight of the gap.
TAIL, TAIL_STEPS, TAIL_LEARNING_RATE, GAP_WEIGHT = 8, 1000, 0.03, 0.1


class Data(NamedTuple):
    """A problem, test samples X (N, m), others to choose by, and those to learn from."""

    name: str
    problem: Problem
    X: Tensor
    to_choose_by: Tensor  # (N, m), to choose penalties of classical solvers by
    draw: Callable[[int], Tensor]  # number of samples -> (number, m)
    psnr: Callable[[Tensor], float | None]  # of restored samples (N, m), in dB; None if they are no images


def lena() -> Data:
    """Patches of the noisy Lena, to learn from and to restore. Others are patches of the noisy validation images."""
    settings, generator = Settings(seed=SEED, device="cpu"), torch.Generator().manual_seed(SEED)
    seen = observe(settings)

    def draw(number: int, pixels: Tensor = seen.pixels) -> Tensor:
        return random_patches(pixels, seen.grid.patch, number, generator)

    images = [observe(Settings(image=name, seed=SEED, device="cpu")).pixels for name in VALIDATION_IMAGES]
    to_choose_by = torch.cat([draw(200, pixels) for pixels in images])
    return Data(
        "Lena", pose(settings, seen), seen.X, to_choose_by, draw, lambda patches: seen.psnr(seen.image_of(patches))
    )


def synthetic() -> Data:
    """Samples with a Gaussian dictionary, as in utils.studies.synthetic."""
    generator = torch.Generator().manual_seed(SEED)
    A = gaussian_dictionary(250, 500, generator)

    def draw(number: int) -> Tensor:
        return sparse_samples(A, number, generator)[0]

    return Data("synthetic", Problem(A, 0.8), draw(400), draw(400), draw, lambda samples: None)


def train(network: DLADMM, data: Data, losses: Callable[[Batch], Tensor], *schedule: float) -> None:
    """Trains the network in place on samples that are drawn afresh in every epoch; schedule: see Training."""
    for _ in Training(network, Drawn(data.draw), losses, *schedule, layer_discount=LAYER_DISCOUNT):
        pass


def trained(data: Data, weights: str, loss: str) -> DLADMM:
    """A network of `DEPTH` layers that learned with the loss."""
    network = DLADMM(data.problem.A, DEPTH, f=data.problem.f, weights=weights, **KINDS[weights])
    torch.compiler.reset()  # the compiler keeps what it made for eight networks at most
    compiled = pick_compiled("auto", EPOCHS * SAMPLES_PER_EPOCH * DEPTH, data.X.device)
    losses = LayerLosses(network, LOSSES[loss], compiled)
    train(network, data, losses, EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, LEARNING_RATES[weights])
    return network.free()


def trained_to_be_repeated(data: Data) -> DLADMM:
    """A single convergent layer whose certified gap is low after it was repeated many times."""
    network = DLADMM(data.problem.A, 1, f=data.problem.f, beta=LAST_BETA, weights="convergent")
    network.layers[0].relaxation = RELAXATION

    def log_of_gap(batch: Batch) -> Tensor:
        *_, last = network.iterate(batch.X, layers=REPEATS)
        return len(batch.X) * data.problem.gap(last, batch.X).mean().log()[None]

    train(network, data, log_of_gap, STEPS, FEW, FEW, LAST_LEARNING_RATE)
    return network.free()


def trained_to_certify(data: Data, network: DLADMM) -> DLADMM:
    """A network of free weights whose last layers went on learning, to certify what it restores already.

    With Z₀ of the network before and Z, λ of the last layer, the loss is ‖A Z − A Z₀‖₁ + `GAP_WEIGHT` · gap(Z, λ).
    """
    learning = deepcopy(network)
    learning.layers[:-TAIL].requires_grad_(False)

    def change_and_gap(batch: Batch) -> Tensor:
        (*_, last), (*_, before) = learning.iterate(batch.X), network.iterate(batch.X)
        change = (last.AZ - before.AZ.detach()).abs().sum(dim=1)
        return (change + GAP_WEIGHT * data.problem.gap(last, batch.X)).sum()[None]

    train(learning, data, change_and_gap, TAIL_STEPS, BATCH_SIZE, BATCH_SIZE, TAIL_LEARNING_RATE)
    return learning
