"""Training losses: functions (problem, state after a layer, X) -> value of each patch (N,).

Those in `LOSSES` see no clean image. The others take what they compare with as further arguments.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import softplus

from models.functions import L1
from models.problem import Problem, State

Loss = Callable[..., Tensor]  # of (problem, state, X), and of targets if the samples have some


def objective(problem: Problem, state: State, X: Tensor) -> Tensor:
    """f(Z) + g(E) at a feasible point, for Lena α‖Z‖₁ + ‖X − A Z‖₁: never below the optimum but for rounding."""
    return problem.objective(state, X)


def gap(problem: Problem, state: State, X: Tensor) -> Tensor:
    """The certified duality gap, never below zero but for rounding: objective less dual objective, both feasible."""
    return problem.gap(state, X)


def relaxed(problem: Problem, state: State, X: Tensor) -> Tensor:
    """The loss of the authors' code, for the record, with q(v, t) = softplus(v − t) + softplus(−v − t):
    α mean|Z| + mean|E| + mean q(Aᵀλ, α) + mean q(λ, 1) + mean(λ ∘ X).

    It is written for f = α‖·‖₁, g = ‖·‖₁ and B = I. The primal point is infeasible and the dual's constraints are
    relaxed, so the value can fall below the optimum while the restoration gets worse.
    """

    def outside(v: Tensor, t: float) -> Tensor:
        return (softplus(v - t) + softplus(-v - t)).mean(dim=1)

    return (
        problem.f.weight * state.Z.abs().mean(dim=1)
        + state.E.abs().mean(dim=1)
        + outside(state.multiplier @ problem.A, problem.f.weight)
        + outside(state.multiplier, 1.0)
        + (state.multiplier * X).mean(dim=1)
    )


def absolute_error(problem: Problem, state: State, X: Tensor, clean: Tensor) -> Tensor:
    """‖X − B E − clean‖₁ for clean patches (N, m)."""
    return (state.uncorrupted - clean).abs().sum(dim=1)


def weighted_error_norm(problem: Problem, state: State, X: Tensor, clean: Tensor, weights: Tensor) -> Tensor:
    """(10⁻⁴ + Σᵢ weightsᵢ (X − B E − clean)ᵢ²)^½ for clean patches (N, m) and weights (m,) of their pixels."""
    squares = (state.uncorrupted - clean).square() * weights
    return (squares.sum(dim=1) + 1e-4).sqrt()  # a patch without an error would have no gradient


def squared_error(problem: Problem, state: State, X: Tensor, Z: Tensor, E: Tensor) -> Tensor:
    """‖Z_k − Z‖² + ‖E_k − E‖² for the state's Z_k and E_k and the truth Z (N, n), E (N, q) -> (N,)."""
    return (state.Z - Z).square().sum(dim=1) + (state.E - E).square().sum(dim=1)


def check_loss(name: str, problem: Problem) -> None:
    """Refuses the relaxed loss for a problem that it was not written for.

    Raises:
        ValueError: see above.
    """
    if name == "relaxed" and not (isinstance(problem.f, L1) and isinstance(problem.g, L1) and problem.B is None):
        raise ValueError("loss is relaxed, which is for f and g = l1 and B = I; allowed here: objective, gap")


SUPERVISED_LOSSES = {"absolute_error": absolute_error}
LOSSES = {"objective": objective, "gap": gap, "relaxed": relaxed}
