"""Solvers run on all patches of an image: networks, classical LADMM, the safeguard."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice, repeat

import torch
from torch import Tensor

from models import DLADMM, Problem, State, ladmm
from models.convergence import safeguarded
from utils.evaluation.observation import Observation, Restoration, Row, Solution

# Patches in one pass of a network: few enough for a processor's cache, enough for a GPU to be busy.
BATCH = {"cpu": 512, "cuda": 16_384}
EVERY = 4  # the safeguard is shown on one patch of so many
CHECK_EVERY = 10  # LADMM iterations from one computation of the duality gap to the next


@torch.no_grad()
def restore_patches(network: DLADMM, X: Tensor, mask: Tensor | None = None) -> Tensor:
    """What the network's last layer restores, (N, m), of patches X (N, m); mask: as in `solve_with_network`."""
    last_states = (deque(network.iterate(*batch), maxlen=1).pop() for batch in _batches(X, mask))
    return torch.cat([network.restore(state) for state in last_states])


@torch.no_grad()
def solve_with_network(network: DLADMM, X: Tensor, mask: Tensor | None = None) -> list[Solution]:
    """The solution after every layer for patches X (N, m), with the mask of `Problem.known`; the last is the answer."""
    parts = []
    for batch in _batches(X, mask):
        states, problem = network.iterate(*batch), network.problem
        parts.append([(network.restore(state), *_objective_and_gap(problem, state, *batch)) for state in states])
    layers = (map(torch.cat, zip(*layer, strict=True)) for layer in zip(*parts, strict=True))
    return [Solution(k, patches, value.mean(), gap.mean()) for k, (patches, value, gap) in enumerate(layers, start=1)]


@torch.no_grad()
def follow_ladmm(
    problem: Problem, X: Tensor, mask: Tensor | None, beta: float, iterations: int, more: Collection[int] = ()
) -> Iterator[Solution]:
    """Yields the solutions of classical LADMM from zero after the first 100 iterations, every tenth up to `iterations`,
    and `more`, which may lie beyond."""
    followed = {k for k in range(1, iterations + 1) if k <= 100 or k % CHECK_EVERY == 0} | {*more}
    for iteration, state in enumerate(islice(ladmm(problem, X, beta, mask), max(followed)), start=1):
        if iteration in followed:
            objective, gap = _objective_and_gap(problem, state, X, mask)
            yield Solution(iteration, state.AZ, objective.mean(), gap.mean())


def run_ladmm(
    problem: Problem, seen: Observation, depths: Sequence[int], beta: float, tolerance: float, iterations: int
) -> tuple[list[Restoration], list[Row]]:
    """Classical LADMM: what it restores after each of `depths` iterations, then at convergence, which is as in
    `solve_to_convergence`; and rows as `follow_ladmm` yields them."""
    given = problem, seen.X, seen.X_mask, beta
    restored = [seen.solved("ladmm", follow_ladmm, *given, 0, {depth}) for depth in depths]
    restored.append(seen.solved("ladmm", lambda: [solve_to_convergence(*given, tolerance, iterations)]))
    return restored, [{"iteration": s.iteration} | seen.figures(s) for s in follow_ladmm(*given, iterations)]


def solve_to_convergence(
    problem: Problem, X: Tensor, mask: Tensor | None, beta: float, tolerance: float, max_iterations: int
) -> Solution:
    """Classical LADMM until the mean gap is at most `tolerance` times the mean objective, or for `max_iterations`. The
    gap bounds the distance to the optimum from above: see Problem.gap."""
    checks = {*range(CHECK_EVERY, max_iterations, CHECK_EVERY), max_iterations}
    for solution in follow_ladmm(problem, X, mask, beta, 0, checks):
        if solution.gap <= tolerance * solution.objective:
            break
    return solution


@torch.no_grad()
def compare_safeguard(network: DLADMM, inputs: Mapping[str, Observation], layers: int, beta: float) -> list[Row]:
    """Runs so many layers, the last one repeated, on some patches of each input, with the safeguard and without, and as
    many iterations of LADMM, whose penalty β the safeguard has too."""
    rows, problem = [], network.problem
    for name, observation in inputs.items():
        X, mask = (None if part is None else part[::EVERY] for part in (observation.X, observation.X_mask))
        runs = {
            "safeguarded": safeguarded(network, X, layers, beta, mask),
            "unguarded": zip(network.iterate(X, mask, layers), repeat(None)),
            "ladmm": zip(islice(ladmm(problem, X, beta, mask), layers), repeat(None)),
        }
        for method, steps in runs.items():
            for layer, (state, replaced) in enumerate(steps, start=1):
                objective, gap = (part.mean().item() for part in _objective_and_gap(problem, state, X, mask))
                share = None if replaced is None else replaced.double().mean().item()
                row = {"input": name, "method": method, "layer": layer, "objective": objective, "gap": gap}
                rows.append(row | {"replaced": share})
    return rows


def _batches(X: Tensor, mask: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """`BATCH` patches at a time, each with their masks."""
    size = BATCH[X.device.type]
    return zip(X.split(size), repeat(None) if mask is None else mask.split(size), strict=False)


def _objective_and_gap(problem: Problem, state: State, X: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of every patch, each (N,)."""
    objective = problem.objective(state, X, mask).double()
    return objective, objective - problem.dual_objective(state, X, mask).double()
