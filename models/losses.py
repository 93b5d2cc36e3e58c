"""Training losses of a layer's state: a value for every patch.

A new one is a function, or a method of Problem, and a line in `LOSSES`. It fits a training whose samples come with the
targets that the line names.
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


def objective_and_gap(problem: Problem, state: State, X: Tensor, mask: Tensor | None) -> Tensor:
    """The objective plus a fiftieth of the certified gap: a Z as good as that of the objective, nearly, and a λ for it.

    With a larger share the gap is smaller and the restored images are worse.
    """
    return problem.objective(state, X, mask) + problem.gap(state, X, mask) / 50


def relaxed(problem: Problem, state: State, X: Tensor, mask: Tensor | None) -> Tensor:
    """The loss of the authors' code, kept for comparison, with q(v, t) = softplus(v − t) + softplus(−v − t):

        α mean|Z| + mean|E| + mean q(Aᵀλ, α) + mean q(λ, 1) + mean(λ ∘ X)

    The primal point is infeasible and the dual's constraints are relaxed. So the value can fall below the optimum
    while the restoration gets worse.
    """

    def outside(v: Tensor, t: float) -> Tensor:
        return (softplus(v - t) + softplus(-v - t)).flatten(1).mean(dim=1)

    alpha, multiplier = problem.f.weight, state.multiplier
    primal = alpha * state.Z.abs().flatten(1).mean(dim=1) + state.E.abs().flatten(1).mean(dim=1)
    dual = outside(problem.adjoint(multiplier), alpha) + outside(multiplier, 1.0)
    return primal + dual + (multiplier * X).flatten(1).mean(dim=1)


def absolute_error(
    problem: Problem, state: State, X: Tensor, mask: Tensor | None, target: Tensor, trusted: Tensor | float = 1.0
) -> Tensor:
    """‖t ∘ (X − B E − y)‖₁ for target patches y (N, m); t (N, m) is 1 where y can be trusted, and 0 elsewhere.

    Clean targets are trusted everywhere. Of noisy ones that are right in more than half of the cases, the ℓ1 norm
    ignores the rest: its minimiser is the median (kin of Noise2Noise, Lehtinen et al. 2018, section 3).
    """
    return (trusted * (state.uncorrupted - target)).abs().flatten(1).sum(dim=1)


def central_error(
    problem: Problem, state: State, X: Tensor, mask: Tensor | None, target: Tensor, trusted: Tensor | float = 1.0
) -> Tensor:
    """(10⁻⁴ + Σᵢ wᵢ (tᵢ (X − B E − y)ᵢ)²)^½ for square target patches y and t as in `absolute_error`.

    wᵢ is the weight of pixel i where patches overlap, as in data.patches.overlap_weights. The minimiser is a mean,
    not a median: of wrong values that are trusted all the same nothing is ignored. Of a picture all weights are 1.
    """
    squares = (trusted * (state.uncorrupted - target)).square()
    if X.ndim == 2:
        side = math.isqrt(X.shape[1])
        along = torch.signal.windows.gaussian(side, std=side / 4, dtype=X.dtype, device=X.device)
        squares = squares * (torch.outer(along, along).flatten() / along.mean() ** 2)
    return (squares.flatten(1).sum(dim=1) + 1e-4).sqrt()  # a patch without an error would have no gradient


def squared_error(problem: Problem, state: State, X: Tensor, mask: Tensor | None, Z: Tensor, E: Tensor) -> Tensor:
    """‖Z_k − Z‖² + ‖E_k − E‖² for the state's Z_k and E_k and the true Z (N, n) and E (N, q)."""
    return sum((found - true).square().flatten(1).sum(dim=1) for found, true in ((state.Z, Z), (state.E, E)))


def lasso_like(problem: Problem, masked: bool) -> bool:
    """f = α‖·‖₁, g = ‖·‖₁, B = I, and nothing is known of the corrupted values."""
    weight_one = isinstance(problem.g, L1) and problem.g.weight == 1
    return isinstance(problem.f, L1) and weight_one and problem.B is None and not masked


@dataclass(frozen=True)
class Loss:
    """A loss and what it is for."""

    value: Callable[..., Tensor]  # problem, state, X (N, m), mask of known values (N, m) or None, *targets -> (N,)
    targets: tuple[str, ...] = ()  # names of the values that it compares with, in the order of its arguments
    fits: Callable[[Problem, bool], bool] = lambda problem, masked: True  # a problem, and whether there are masks
    allowed: str = "any problem"  # what it fits, in words


IMAGE = ("target", "trusted")  # an image, and where it can be trusted
LOSSES = {
    "objective": Loss(Problem.objective),
    "gap": Loss(Problem.gap),
    "objective_and_gap": Loss(objective_and_gap),
    "relaxed": Loss(relaxed, fits=lasso_like, allowed="f = l1, g = l1 of weight 1, B = I, unknown positions"),
    "absolute_error": Loss(absolute_error, targets=IMAGE),
    "central_error": Loss(central_error, targets=IMAGE),
    "squared_error": Loss(squared_error, targets=("Z", "E")),
}


def pick_loss(name: str, fitting: Callable[[Loss], bool], samples: str, problem: Problem, masked: bool) -> Loss:
    """The loss of that name in `LOSSES`, if it is fitting for the samples, in words, and fits the problem."""
    allowed = [other for other, loss in LOSSES.items() if fitting(loss)]
    if name not in allowed:
        raise InvalidArgument(f"loss is {name}; allowed for {samples}: {', '.join(allowed) or 'a function'}")
    if not LOSSES[name].fits(problem, masked):
        raise InvalidArgument(f"loss is {name}, which does not fit this problem; allowed: {LOSSES[name].allowed}")
    return LOSSES[name]
