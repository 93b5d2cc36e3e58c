"""Training losses of a layer's state: a value for every patch.

A new one is a function, or a method of Problem, and a line in `LOSSES`. It fits a training whose samples come with the
targets that the line names.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

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

    def q(v: Tensor, t: Tensor | float) -> Tensor:
        return softplus(v - t) + softplus(-v - t)

    alpha, weight, multiplier = problem.f.weight, problem.g.weight, state.multiplier  # the weight of g is 1 above
    of_Z = alpha * state.Z.abs() + q(problem.adjoint(multiplier), alpha)
    of_E = weight * state.E.abs() + q(multiplier, weight) + multiplier * X
    return of_Z.flatten(1).mean(dim=1) + of_E.flatten(1).mean(dim=1)


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


class Loss(NamedTuple):
    """A loss and what it is for."""

    value: Callable[..., Tensor]  # problem, state, X (N, m), mask of known values (N, m) or None, *targets -> (N,)
    targets: tuple[str, ...] = ()  # names of the values that it compares with, in the order of its arguments
    of_l1: bool = False  # whether it is for f = l1, g = l1, B = I and unknown positions alone


IMAGE = ("target", "trusted")  # an image, and where it can be trusted
LOSSES = {
    "objective": Loss(Problem.objective),
    "gap": Loss(Problem.gap),
    "objective_and_gap": Loss(objective_and_gap),
    "relaxed": Loss(relaxed, of_l1=True),
    "absolute_error": Loss(absolute_error, targets=IMAGE),
    "central_error": Loss(central_error, targets=IMAGE),
    "squared_error": Loss(squared_error, targets=("Z", "E")),
}


def pick_loss(name: str, fitting: Callable[[Loss], bool], samples: str, problem: Problem, masked: bool) -> Loss:
    """The loss of that name in `LOSSES`, if it is fitting for the samples, in words, and fits the problem."""
    allowed = [other for other, loss in LOSSES.items() if fitting(loss)]
    if name not in allowed:
        raise InvalidArgument(f"loss is {name}; allowed for {samples}: {', '.join(allowed) or 'a function'}")
    l1 = type(problem.f) is type(problem.g) is L1 and problem.B is None and not masked
    if LOSSES[name].of_l1 and not l1:
        given = f"loss is {name}, which does not fit this problem"
        raise InvalidArgument(f"{given}; allowed: f = l1, g = l1, B = I, unknown positions")
    return LOSSES[name]
