"""Evaluation: solvers run on all patches of an image, and what the image that they restore is worth."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from models import DLADMM, Problem, State, ladmm
from models.safeguard import safeguarded
from utils.tables import SafeguardRecord

BATCH = 4096  # patches in one pass of a network: bounds its memory
CHECK_EVERY = 10  # LADMM iterations from one look at the duality gap to the next


class Solution(NamedTuple):
    """What a solver has reached after a number of layers or iterations."""

    iteration: int
    patches: Tensor  # A Z, the restored patches, (N, m)
    objective: float  # f(Z) + g(E) at the feasible point, for Lena α‖Z‖₁ + ‖X − A Z‖₁; mean over the patches
    gap: float  # certified duality gap, mean over the patches


def psnr(restored: np.ndarray, clean: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, as scikit-image defines it, of images with values in [0, 1]."""
    with np.errstate(divide="ignore"):  # equal images: infinite
        return float(peak_signal_noise_ratio(clean, restored, data_range=1))


def ssim(restored: np.ndarray, clean: np.ndarray) -> float:
    """Structural similarity, as scikit-image defines it, of images with values in [0, 1]."""
    return float(structural_similarity(clean, restored, data_range=1))


class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds until now."""
        return time.perf_counter() - self.started


@torch.no_grad()
def solve_with_network(network: DLADMM, X: Tensor) -> list[Solution]:
    """The solution after every layer for patches X (N, m); the last one is the network's answer."""
    parts = [_solutions(network.problem, network.iterate(batch), batch) for batch in X.split(BATCH)]
    return [_joined(layer) for layer in zip(*parts, strict=True)]


@torch.no_grad()
def solve_with_ladmm(problem: Problem, X: Tensor, beta: float, iterations: int) -> Solution:
    """The solution after so many iterations of classical LADMM from zero, for patches X (N, m)."""
    state = next(islice(ladmm(problem, X, beta), iterations - 1, None))
    return _solution(iterations, problem, state, X)


@torch.no_grad()
def follow_ladmm(problem: Problem, X: Tensor, beta: float, iterations: int) -> Iterator[Solution]:
    """Yields every solution of the first 100 iterations of classical LADMM, then every tenth up to `iterations`."""
    for iteration, state in enumerate(islice(ladmm(problem, X, beta), iterations), start=1):
        if iteration <= 100 or iteration % CHECK_EVERY == 0:
            yield _solution(iteration, problem, state, X)


@torch.no_grad()
def solve_to_convergence(problem: Problem, X: Tensor, beta: float, tolerance: float, max_iterations: int) -> Solution:
    """Classical LADMM until the mean gap is at most `tolerance` times the mean objective, or for `max_iterations`.

    The gap bounds the distance to the optimum: see Problem.gap.
    """
    for iteration, state in enumerate(islice(ladmm(problem, X, beta), max_iterations), start=1):
        if iteration % CHECK_EVERY == 0 or iteration == max_iterations:
            solution = _solution(iteration, problem, state, X)
            if solution.gap <= tolerance * solution.objective:
                break
    return solution


@torch.no_grad()
def compare_safeguard(network: DLADMM, name: str, X: Tensor, layers: int, beta: float) -> list[SafeguardRecord]:
    """Runs more layers than the network has on patches X (N, m), with the safeguard and without, beside LADMM."""
    problem, records = network.problem, []

    def record(method: str, layer: int, state: State, replaced: float | None = None) -> None:
        objective, gap = problem.objective(state, X).mean().item(), problem.gap(state, X).mean().item()
        records.append(SafeguardRecord(name, method, layer, objective, gap, replaced))

    for layer, (state, replaced) in enumerate(safeguarded(network, X, layers, beta), start=1):
        record("safeguarded", layer, state, replaced.double().mean().item())
    for layer, state in enumerate(network.iterate(X, layers), start=1):
        record("unguarded", layer, state)
    for layer, state in enumerate(islice(ladmm(problem, X, beta), layers), start=1):
        record("ladmm", layer, state)
    return records


def _solutions(problem: Problem, states: Iterable[State], X: Tensor) -> list[Solution]:
    return [_solution(iteration, problem, state, X) for iteration, state in enumerate(states, start=1)]


def _solution(iteration: int, problem: Problem, state: State, X: Tensor) -> Solution:
    objective = problem.objective(state, X).mean().item()
    return Solution(iteration, state.AZ, objective, objective - problem.dual_objective(state, X).mean().item())


def _joined(batches: Sequence[Solution]) -> Solution:
    """One solution of the patches of all batches, from one of each batch, after the same iteration."""
    patches = torch.cat([batch.patches for batch in batches])
    shares = [len(batch.patches) / len(patches) for batch in batches]
    objective, gap = (
        sum(share * getattr(batch, name) for share, batch in zip(shares, batches, strict=True))
        for name in ("objective", "gap")
    )
    return Solution(batches[0].iteration, patches, objective, gap)
