"""Training losses of a layer's state: a value for every patch.

A new one is a function and a line in `LOSSES`. The entry says what the loss compares with: a training fits if its
samples come with these targets. The first loss that fits a training is its default.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from models.errors import InvalidArgument
from models.functions import L1
from models.problem import Problem, State


def objective(problem: Problem, state: State, X: Tensor) -> Tensor:
    """f(Z) + g(E) at a feasible point, for Lena α‖Z‖₁ + ‖X − A Z‖₁: never below the optimum but for rounding."""
    return problem.objective(state, X)


def gap(problem: Problem, state: State, X: Tensor) -> Tensor:
    """The certified duality gap: objective less dual objective, both feasible. Never below zero but for rounding."""
    return problem.gap(state, X)


def objective_and_gap(problem: Problem, state: State, X: Tensor) -> Tensor:
    """The objective plus a fiftieth of the certified gap: a Z as good as that of the objective, nearly, and a λ for it.

    With a larger share the gap is smaller and the restored images are worse.
    """
    return problem.objective(state, X) + problem.gap(state, X) / 50


def relaxed(problem: Problem, state: State, X: Tensor) -> Tensor:
    """The loss of the authors' code, kept for comparison, with q(v, t) = softplus(v − t) + softplus(−v − t):

        α mean|Z| + mean|E| + mean q(Aᵀλ, α) + mean q(λ, 1) + mean(λ ∘ X)

    The primal point is infeasible and the dual's constraints are relaxed. So the value can fall below the optimum
    while the restoration gets worse.
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


def error_where_trusted(problem: Problem, state: State, X: Tensor, observed: Tensor, trusted: Tensor) -> Tensor:
    """‖t ∘ (X − B E − y)‖₁ for observed patches y (N, m), t (N, m) is 1 where y can be trusted and 0 elsewhere.

    Of noise that leaves more than half of the values as they are, the ℓ1 norm ignores the rest: its minimiser is the
    median (kin of Noise2Noise, Lehtinen et al. 2018, section 3).
    """
    return (trusted * (state.uncorrupted - observed)).abs().sum(dim=1)


def central_error(problem: Problem, state: State, X: Tensor, clean: Tensor) -> Tensor:
    """(10⁻⁴ + Σᵢ wᵢ (X − B E − clean)ᵢ²)^½ for clean square patches (N, m).

    This is the norm of a patch's error. wᵢ is the weight that pixel i has where patches overlap, as in
    data.patches.overlap_weights.
    """
    return central_error_where_trusted(problem, state, X, clean, torch.ones_like(clean))


def central_error_where_trusted(problem: Problem, state: State, X: Tensor, observed: Tensor, trusted: Tensor) -> Tensor:
    """As `central_error`, with tᵢ wᵢ for wᵢ: t (N, m) is 1 where the observed value can be trusted, 0 elsewhere.

    Its minimiser is a mean, not a median: of corrupted values that are trusted all the same nothing is ignored.
    """
    side = math.isqrt(X.shape[1])
    along = torch.signal.windows.gaussian(side, std=side / 4, dtype=X.dtype, device=X.device)
    weights = torch.outer(along, along).flatten() / along.mean() ** 2
    squares = (trusted * (state.uncorrupted - observed)).square() * weights
    return (squares.sum(dim=1) + 1e-4).sqrt()  # a patch without an error would have no gradient


def squared_error(problem: Problem, state: State, X: Tensor, Z: Tensor, E: Tensor) -> Tensor:
    """‖Z_k − Z‖² + ‖E_k − E‖² for the state's Z_k and E_k and the true Z (N, n) and E (N, q)."""
    return (state.Z - Z).square().sum(dim=1) + (state.E - E).square().sum(dim=1)


def any_problem(problem: Problem) -> bool:
    """The loss is for all problems."""
    return True


def lasso_like(problem: Problem) -> bool:
    """f = α‖·‖₁, g = ‖·‖₁ and B = I."""
    return isinstance(problem.f, L1) and isinstance(problem.g, L1) and problem.g.weight == 1 and problem.B is None


@dataclass(frozen=True)
class Loss:
    """A loss and what it is for.

    Attributes:
        value: (problem, state after a layer, X (N, m), *targets) -> (N,).
        targets: names of the values that it compares with, in the order of its arguments.
        fits: whether the loss is for a problem.
        allowed: these problems in words.
    """

    value: Callable[..., Tensor]
    targets: tuple[str, ...] = ()
    fits: Callable[[Problem], bool] = any_problem
    allowed: str = "any problem"

    def check(self, problem: Problem) -> None:
        """Refuses a problem that the loss is not for.

        Raises:
            InvalidArgument: it is not for this one.
        """
        if not self.fits(problem):
            raise InvalidArgument(
                f"loss is {self.value.__name__}, which does not fit this problem; allowed: {self.allowed}"
            )


LOSSES = {
    "objective": Loss(objective),
    "gap": Loss(gap),
    "objective_and_gap": Loss(objective_and_gap),
    "relaxed": Loss(relaxed, fits=lasso_like, allowed="f = l1, g = l1 of weight 1, B = I, unknown positions"),
    "absolute_error": Loss(absolute_error, targets=("clean",)),
    "central_error": Loss(central_error, targets=("clean",)),
    "error_where_trusted": Loss(error_where_trusted, targets=("observed", "trusted")),
    "central_error_where_trusted": Loss(central_error_where_trusted, targets=("observed", "trusted")),
    "squared_error": Loss(squared_error, targets=("Z", "E")),
}


def pick_loss(name: str, training: str, targets: tuple[str, ...], problem: Problem) -> Loss:
    """The loss of that name for a training, whose samples come with these targets.

    Args:
        name: a name in `LOSSES`; "auto" is the first that compares with the targets.
        training: its name, for the message.
        targets: the values that its samples come with, to compare with.
        problem: the problem.

    Raises:
        InvalidArgument: the loss does not fit the targets or the problem.
    """
    fitting = {name: loss for name, loss in LOSSES.items() if loss.targets == targets}
    if name != "auto" and name not in fitting:
        raise InvalidArgument(f"loss is {name}; allowed for {training} training: auto, {', '.join(fitting)}")
    loss = next(iter(fitting.values())) if name == "auto" else fitting[name]
    loss.check(problem)
    return loss
