"""The safeguard: a network's layers where they make progress, LADMM where they do not, patch by patch."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from models.activations import Proximal
from models.dladmm import DLADMM, Layer, LinearizedEStep
from models.problem import Problem, State
from models.starts import ladmm_start

# L_B in units of ‖B‖₂². With 1, LADMM is not expansive in the norm of `fixed_point_norm`; with more it is averaged.
L = 2.0


class Safeguarded(NamedTuple):
    """What the safeguarded network has after a layer."""

    state: State
    replaced: Tensor  # (N,) bool: the patches whose update was LADMM's in place of the layer's


def averaged_ladmm(problem: Problem, beta: float) -> Layer:
    """LADMM as an averaged operator T of (Z, E, λ), a Krasnosel'skii–Mann iteration: L_A = ‖A‖₂², L_B = 2 ‖B‖₂²."""
    return Layer(problem, *ladmm_start(problem, beta), beta, Proximal, LinearizedEStep(problem, beta, Proximal, L))


def fixed_point_norm(problem: Problem, beta: float, one: State, other: State) -> Tensor:
    """‖u − v‖_H for u, v = (Z, E, λ) of two states, per row (N,), in the metric in which LADMM is averaged:

        ‖(Z, E, λ)‖²_H = β (L_A ‖Z‖² − ‖A Z‖²) + β L_B ‖E‖² + ‖λ‖² / β            (He & Yuan 2012)

    It vanishes for u = T(u) alone.
    """
    L_A = torch.linalg.matrix_norm(problem.A, 2) ** 2
    L_B = L * (1.0 if problem.B is None else torch.linalg.matrix_norm(problem.B, 2) ** 2)
    Z, E, multiplier, AZ = (
        (getattr(one, name) - getattr(other, name)).square().sum(dim=1) for name in ("Z", "E", "multiplier", "AZ")
    )
    return (beta * (L_A * Z - AZ).clamp(min=0) + beta * L_B * E + multiplier / beta).sqrt()


@torch.no_grad()
def safeguarded(
    network: DLADMM, X: Tensor, layers: int, beta: float, alpha: float = 0.9, theta: float = 0.5
) -> Iterator[Safeguarded]:
    """Runs `layers` layers, the last one repeated beyond the network's depth, and gives a patch LADMM's update wherever
    the layer's would not reduce the fixed-point residual enough.

    Safe-L2O of Heaton, Chen, Wang & Yin (2023, Algorithm 2) with the exponential moving average: with S(u) = u − T(u)
    for the averaged LADMM operator T, and y the layer's update of u,

        u⁺ = y if ‖S(y)‖ <= α μ, else T(u);      μ⁺ = θ ‖S(y)‖ + (1 − θ) μ if u⁺ = y, else μ;      μ = ‖S(0)‖ first.

    Updates that are taken for ever bring μ, and so the residual, to zero; if there are only finitely many, the rest is
    LADMM. Either way it converges to the optimum, whatever the network and X are.

    Args:
        X: (N, m).
        beta: penalty of T, > 0.
        alpha: α in [0, 1): how far below μ the residual of an update must be.
        theta: θ in (0, 1]: the weight of the newest residual in μ.
    """
    problem = network.problem
    T = averaged_ladmm(problem, beta)
    state = problem.zero_state(X)
    fallback = T(problem, X, state)
    mu = fixed_point_norm(problem, beta, state, fallback)
    for number in range(layers):
        update = network.layer(number)(problem, X, state)
        next_of_update = T(problem, X, update)
        residual = fixed_point_norm(problem, beta, update, next_of_update)
        taken = residual <= alpha * mu  # false for an update that is not a number
        state = _choose(taken, update, fallback)
        mu = torch.where(taken, theta * residual + (1 - theta) * mu, mu)
        fallback = next_of_update if taken.all() else _choose(taken, next_of_update, T(problem, X, state))
        yield Safeguarded(state, ~taken)


def _choose(taken: Tensor, one: State, other: State) -> State:
    """Row by row, the one state where `taken` and the other elsewhere."""
    return State(*(torch.where(taken[:, None], a, b) for a, b in zip(one, other, strict=True)))
