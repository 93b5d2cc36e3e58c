"""What `DLADMM(A, K, …).fit(X)`, with nothing chosen by hand, is worth on problems of many kinds, sizes and units.

Objectives are means over 400 samples that nobody learned from, above the optimum: the objective of a solver when it is
certified to 1e-4, or after 20,000 iterations. Solvers have as many iterations as there are layers, and the penalty that
is best on these very samples; what a network is worth is their fewest iterations to its objective, of all penalties.

Gaussian: A with columns of length 1, Z and E Bernoulli(0.1) × N(0, 1). DCT: patches of 8 × 8 pixels of the validation
images with 10 % salt and pepper, A the products of two overcomplete cosine bases. Other problems have g, f or B in
place of ‖·‖₁, α‖·‖₁ and I. "Warned": `fit` says itself that samples were learned by heart, or that nothing was won.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from data.images import VALIDATION_IMAGES
from data.patches import random_patches
from main_lena import Settings, observe
from models import DLADMM, Problem, State
from models.fitting import POWERS, solved, solvers_for, unit_of_beta
from models.functions import L1, L21, Box, Function, NonNegativeL1, SquaredL2
from models.losses import LOSSES
from models.samples import Samples
from utils.reporting.tables import markdown
from utils.studies.study import Keep, Measured, Page, Provenance, Row, Tables, command
from utils.studies.synthetic import gaussian_dictionary, sparse_samples

SEED, UNSEEN, SAMPLES = 1126, 400, 10_000
TOLERANCE, ITERATIONS, MOST = 1e-4, 20_000, 1000  # of the optimum; iterations that a network may be worth
ALPHAS = {"Gaussian 20 × 40": 0.7, "Gaussian 250 × 500": 0.8, "DCT 64 × 121": 0.4}


class Huber(Function):
    """Σᵢ vᵢ²/2 where |vᵢ| <= 1, and |vᵢ| − 1/2 elsewhere: a function as somebody may bring one."""

    def __call__(self, v: Tensor) -> Tensor:
        """Its value."""
        return self.weight * torch.nn.functional.huber_loss(v, torch.zeros_like(v), reduction="none").sum(dim=1)

    def prox(self, v: Tensor, step: Tensor | float) -> Tensor:
        """v / (1 + t) up to |v| = 1 + t, beyond v − sign(v) t, with t = step · weight."""
        t = step * self.weight
        return torch.where(v.abs() <= 1 + t, v / (1 + t), v - v.sign() * t)

    def conjugate(self, w: Tensor) -> Tensor:
        """‖w‖² / (2 weight), where |wᵢ| <= weight."""
        return w.square().sum(dim=1) / (2 * self.weight)

    def conjugate_scale(self, w: Tensor) -> Tensor:
        """‖w‖_∞ / weight, or 1."""
        return (w.abs().amax(dim=1) / self.weight).clamp(min=1)


class Task(NamedTuple):
    """A problem, and how it is fitted."""

    data: str = "Gaussian 20 × 40"  # a name in `ALPHAS`
    rows: int = 5000
    of_X: float = 1.0  # factors of X, and of A and α
    of_A: float = 1.0
    f: Function | None = None  # in place of α‖·‖₁
    g: Function | None = None
    columns: int = 0  # of B
    depth: int = 15
    weights: str = "free"


TASKS = {
    "Gaussian 20 × 40": Task(rows=10_000),
    "the same, X times 100": Task(of_X=100),
    "DCT 64 × 121, X times 255": Task("DCT 64 × 121", of_X=255),
    "DCT 64 × 121, X times 0.01": Task("DCT 64 × 121", of_X=0.01),
    "DCT 64 × 121, A and α times 100": Task("DCT 64 × 121", of_A=100),
    "Gaussian 250 × 500": Task("Gaussian 250 × 500", rows=10_000),
    "squared ℓ2": Task(g=SquaredL2(), depth=10),
    "group ℓ1, of 4": Task(f=L21(0.7, 4), depth=10),
    "nonnegative ℓ1": Task(f=NonNegativeL1(0.7), depth=10),
    "box": Task(g=Box(0.2), depth=10),
    "B 20 × 30": Task(columns=30, depth=10),
    "B 20 × 5": Task(columns=5, depth=10),
    "an own Huber function": Task(g=Huber(), depth=10),
}
for rows, weights in product((50, 200, 1000), ("free", "tied", "scalar")):
    TASKS[f"{rows:,} rows, {weights} weights"] = Task(rows=rows, weights=weights)
HEADINGS = {
    "task": "problem", "rows": "rows", "depth": "layers", "LADMM": "LADMM, %", "exact ADMM": "exact ADMM, %",
    "dladmm": "`fit`, %", "LADMM_worth": "worth in LADMM", "exact ADMM_worth": "worth in exact ADMM",
    "warned": "warned",
}  # fmt: skip


def pose(task: Task) -> tuple[dict[str, Any], Tensor, Tensor]:
    """A, f, g and B, the rows to fit, and those that nobody learns from."""
    generator = torch.Generator().manual_seed(SEED)
    if task.data.startswith("DCT"):
        frequencies = torch.arange(11) * math.pi / 11
        cosines = torch.cos(torch.arange(8)[:, None] * frequencies)
        cosines[:, 1:] -= cosines[:, 1:].mean(dim=0)
        cosines /= torch.linalg.vector_norm(cosines, dim=0)
        A, seen = torch.kron(cosines, cosines), [observe(Settings(image=name), 8) for name in VALIDATION_IMAGES]
        share = SAMPLES // len(seen)
        X = torch.cat([random_patches(one.pixels.cpu(), 8, share, generator) for one in seen])
        X = X[torch.randperm(len(X), generator=generator)]
    else:
        A = gaussian_dictionary(*(int(size) for size in task.data.split()[1::2]), generator)
        X = sparse_samples(A, SAMPLES + UNSEEN, generator)[0]
    B = gaussian_dictionary(len(A), task.columns, generator) if task.columns else None
    parts = {"A": A * task.of_A, "f": task.f or L1(ALPHAS[task.data] * task.of_A), "g": task.g, "B": B}
    return parts, X[UNSEEN:][: task.rows] * task.of_X, X[:UNSEEN] * task.of_X


def won(name: str) -> Row:
    """The row of that task: all methods above the optimum, in percent, and what the network is worth."""
    task, loss = TASKS[name], LOSSES["objective"]
    parts, X, unseen = pose(task)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = DLADMM(depth=task.depth, weights=task.weights, **parts).fit(X)
    problem, samples, unit = network.problem, Samples(unseen), unit_of_beta(network.problem, unseen)
    best, found = solved(problem, loss, task.depth, samples), network.losses(samples, loss).mean().item()
    solvers, lowest = solvers_for(problem), optimum(problem, unseen)
    row = {"task": name, "rows": len(X), "depth": task.depth, "beta": network.beta, "optimum": lowest}
    row |= {solver: 100 * (objective / lowest - 1) for solver, (objective, _) in best.items()}
    row |= {f"{solver}_penalty": penalty for solver, (_, penalty) in best.items()}
    row |= {f"{solver}_worth": worth(problem, unseen, solve, unit, found) for solver, solve in solvers.items()}
    warned = any(warning.category is UserWarning for warning in caught)
    return row | {"dladmm": 100 * (found / lowest - 1), "warned": "yes" if warned else ""}


@torch.no_grad()
def optimum(problem: Problem, X: Tensor) -> float:
    """The mean objective of the last of the solvers when it is certified."""
    samples, (solver, solve) = Samples(X), [*solvers_for(problem).items()][-1]
    _, penalty = solved(problem, LOSSES["objective"], 100, samples)[solver]
    for state in islice(solve(problem, X, penalty), 99, ITERATIONS, 100):
        objective = problem.objective(state, X).mean().item()
        if problem.gap(state, X).mean() <= TOLERANCE * objective:
            break
    return objective


@torch.no_grad()
def worth(problem: Problem, X: Tensor, solve: Callable[..., Iterator[State]], unit: float, goal: float) -> int:
    """The fewest iterations in which the solver reaches the objective, of all penalties; `MOST` if it takes more."""
    fewest = MOST
    for power in sorted(np.arange(min(POWERS), max(POWERS), 0.5), key=abs):
        states = enumerate(islice(solve(problem, X, unit * 2**power), fewest - 1), start=1)
        there = (k for k, state in states if problem.objective(state, X).mean().item() <= goal)
        fewest = next(there, fewest)
    return fewest


def measure(keep: Keep) -> Measured:
    """All tasks."""
    return Measured({"fits": pd.DataFrame([keep(won)(name) for name in tqdm(TASKS)])})


def show(tables: Tables, made_by: Provenance) -> Page:
    """The tasks in a table."""
    rows, most = tables["fits"].rename(columns=HEADINGS)[[*HEADINGS.values()]], made_by["settings"]["most"]

    def iterations(count: float) -> str:
        return "" if pd.isna(count) else f"{count:.0f}" if count < most else "more"

    formats = {name: iterations if "worth" in name else ".2f" if "%" in name else "" for name in rows}
    return Page(f"# Fits\n\n{markdown(rows, formats)}\n{__doc__}")


main = command("utils.studies.fits")

if __name__ == "__main__":
    main()
