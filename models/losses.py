"""Training losses: functions (problem, state after a layer, X) -> value of each patch (N,); none sees a clean image."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import softplus

from models.dladmm import State
from models.problem import Problem

Loss = Callable[[Problem, State, Tensor], Tensor]


def objective(problem: Problem, state: State, X: Tensor) -> Tensor:
    """α‖Z‖₁ + ‖X − A Z‖₁: the primal objective at a feasible point, never below the optimum."""
    return problem.objective(state.Z, X, state.AZ)


def gap(problem: Problem, state: State, X: Tensor) -> Tensor:
    """The certified duality gap: the objective less the dual objective at a feasible multiplier, never below zero."""
    return objective(problem, state, X) - problem.dual_objective(state.multiplier, X)


def relaxed(problem: Problem, state: State, X: Tensor) -> Tensor:
    """The loss of the authors' code, for the record, with q(v, t) = softplus(v − t) + softplus(−v − t):
    α mean|Z| + mean|E| + mean q(Aᵀλ, α) + mean q(λ, 1) + mean(λ ∘ X).

    The primal point is infeasible and the dual's constraints are relaxed, so the value can fall below the optimum while
    the restoration gets worse.
    """

    def outside(v: Tensor, t: float) -> Tensor:
        return (softplus(v - t) + softplus(-v - t)).mean(dim=1)

    return (
        problem.alpha * state.Z.abs().mean(dim=1)
        + state.E.abs().mean(dim=1)
        + outside(state.multiplier @ problem.A, problem.alpha)
        + outside(state.multiplier, 1.0)
        + (state.multiplier * X).mean(dim=1)
    )


LOSSES = {"objective": objective, "gap": gap, "relaxed": relaxed}
