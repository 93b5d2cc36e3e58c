"""The safeguard: a network's layers where they make progress, LADMM where they do not, patch by patch."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from models.activations import Proximal
from models.convergence import Metric
from models.dladmm import DLADMM
from models.initialization import ladmm_initialization
from models.layer import Layer, LinearizedEStep
from models.problem import Problem, State

# L_A / ‖A‖₂² and L_B / ‖B‖₂² of the operator T. With L_A = ‖A‖₂² its metric is singular in the direction in which A is
# largest, and with L_B = ‖B‖₂² it is not averaged in E: both have to be larger. See models.convergence.Metric.
FACTOR_A, FACTOR_B = 1.05, 2.0


class Safeguarded(NamedTuple):
    """The result of a layer of the safeguarded network."""

    state: State
    replaced: Tensor  # (N,) bool: whether the patch has LADMM's update in place of the layer's


class AveragedLADMM:
    """LADMM as an averaged operator T of u = (Z, E, λ), with its metric.

    Repeating T is a Krasnosel'skii–Mann iteration, which converges to a fixed point. `distance` is ‖u − v‖ of two
    states, per row (N,), in the metric of models.convergence. ‖u − T(u)‖ is zero only at the fixed points of T, which
    are the optima.

    Args:
        problem: the problem.
        beta: penalty β > 0.
    """

    def __init__(self, problem: Problem, beta: float) -> None:
        self.problem = problem
        e_step = LinearizedEStep(problem, beta, Proximal, FACTOR_B)
        self.layer = Layer(problem, *ladmm_initialization(problem, beta, FACTOR_A), beta, Proximal, e_step)
        self.distance = Metric.of(self.layer).distance

    def __call__(self, X: Tensor, state: State, mask: Tensor | None = None) -> State:
        """T(u): X (N, m) and the state u -> the next state; mask: as `Problem.known` returns it."""
        return self.layer(self.problem, X, state, mask)


@torch.no_grad()
def safeguarded(
    network: DLADMM,
    X: Tensor,
    layers: int,
    beta: float,
    mask: Tensor | None = None,
    decrease: float = 0.9,
    smoothing: float = 0.5,
) -> Iterator[Safeguarded]:
    """Runs `layers` layers of the network, and replaces a layer's update by LADMM's where it makes no progress.

    The last layer is repeated beyond the network's depth. This is Safe-L2O of Heaton, Chen, Wang & Yin (AAAI 2023,
    Algorithm 2) with the exponential moving average. With S(u) = u − T(u) for the averaged LADMM operator T, and y the
    layer's update of u, patch by patch:

        u⁺ = y if ‖S(y)‖ <= decrease · μ, else T(u)
        μ⁺ = smoothing · ‖S(y)‖ + (1 − smoothing) · μ if u⁺ = y, else μ;      μ starts as ‖S(0)‖

    If the layers' updates are accepted for ever, μ and with it the residual go to zero. If only finitely many are
    accepted, the rest is LADMM. Either way it converges to the optimum, whatever the network and X are.

    Args:
        network: the network.
        X: (N, m).
        layers: how many layers.
        beta: penalty of T, > 0.
        mask: of the known values, (N, m): see Problem.known.
        decrease: the paper's α in [0, 1).
        smoothing: the paper's θ in (0, 1].
    """
    problem = network.problem
    T, mask = AveragedLADMM(problem, beta), problem.known(mask)
    state = problem.zero_state(X, mask)
    fallback = T(X, state, mask)
    mu = T.distance(state, fallback)
    for number in range(layers):
        update = network.layer(number)(problem, X, state, mask)
        next_of_update = T(X, update, mask)
        residual = T.distance(update, next_of_update)
        accepted = residual <= decrease * mu  # false for an update that is not a number
        state = _choose(accepted, update, fallback)
        mu = torch.where(accepted, smoothing * residual + (1 - smoothing) * mu, mu)
        fallback = _choose(accepted, next_of_update, T(X, state, mask))
        yield Safeguarded(state, ~accepted)


def _choose(condition: Tensor, one: State, other: State) -> State:
    """Row by row, one state where the condition holds and the other elsewhere."""
    return State(*(torch.where(condition[:, None], a, b) for a, b in zip(one, other, strict=True)))
