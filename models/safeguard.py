"""The safeguard: a network's layers where they make progress, LADMM where they do not, patch by patch."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from models.activations import Proximal
from models.dladmm import DLADMM, Layer, LinearizedEStep
from models.problem import Problem, State
from models.starts import ladmm_start

# L_A and L_B in units of ‖A‖₂² and ‖B‖₂². With 1, LADMM would be blind to the direction in which A is largest, and not
# averaged in E; see AveragedLADMM.distance.
L_A, L_B = 1.05, 2.0


class Safeguarded(NamedTuple):
    """What the safeguarded network has after a layer."""

    state: State
    replaced: Tensor  # (N,) bool: the patches whose update was LADMM's in place of the layer's


class AveragedLADMM:
    """LADMM as an averaged operator T of u = (Z, E, λ), that is, a Krasnosel'skii–Mann iteration, with its metric.

    Args:
        problem: the problem.
        beta: penalty β > 0.
    """

    def __init__(self, problem: Problem, beta: float) -> None:
        self.problem = problem
        self.beta = beta
        e_step = LinearizedEStep(problem, beta, Proximal, L_B)
        self.layer = Layer(problem, *ladmm_start(problem, beta, L_A), beta, Proximal, e_step)
        self.L_A = L_A * torch.linalg.matrix_norm(problem.A, 2) ** 2
        self.L_B = L_B * (1.0 if problem.B is None else torch.linalg.matrix_norm(problem.B, 2) ** 2)

    def __call__(self, X: Tensor, state: State) -> State:
        """T(u): X (N, m) and the state u -> the next state."""
        return self.layer(self.problem, X, state)

    def distance(self, one: State, other: State) -> Tensor:
        """‖u − v‖ for the (Z, E, λ) of two states, per row (N,), in the norm

            ‖(Z, E, λ)‖² = β (L_A ‖Z‖² − ‖A Z‖²) + β L_B ‖E‖² + ‖λ‖² / β

        of proximal ADMM (He & Yuan 2012). ‖u − T(u)‖ is zero at the fixed points of T alone, which are the optima.
        """
        Z, E, multiplier, AZ = (
            (getattr(one, name) - getattr(other, name)).square().sum(dim=1) for name in ("Z", "E", "multiplier", "AZ")
        )
        of_Z = (self.L_A * Z - AZ).clamp(min=0)  # negative by rounding alone
        return (self.beta * of_Z + self.beta * self.L_B * E + multiplier / self.beta).sqrt()


@torch.no_grad()
def safeguarded(
    network: DLADMM,
    X: Tensor,
    layers: int,
    beta: float,
    weights: Tensor | None = None,
    alpha: float = 0.9,
    theta: float = 0.5,
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
        weights: (N, m), see Problem.weighted.
        alpha: α in [0, 1): how far below μ the residual of an update must be.
        theta: θ in (0, 1]: the weight of the newest residual in μ.
    """
    problem = network.problem.weighted(weights)
    T = AveragedLADMM(problem, beta)
    state = problem.zero_state(X)
    fallback = T(X, state)
    mu = T.distance(state, fallback)
    for number in range(layers):
        update = network.layer(number)(problem, X, state)
        next_of_update = T(X, update)
        residual = T.distance(update, next_of_update)
        taken = residual <= alpha * mu  # false for an update that is not a number
        state = _choose(taken, update, fallback)
        mu = torch.where(taken, theta * residual + (1 - theta) * mu, mu)
        fallback = next_of_update if taken.all() else _choose(taken, next_of_update, T(X, state))
        yield Safeguarded(state, ~taken)


def _choose(taken: Tensor, one: State, other: State) -> State:
    """Row by row, the one state where `taken` and the other elsewhere."""
    return State(*(torch.where(taken[:, None], a, b) for a, b in zip(one, other, strict=True)))
