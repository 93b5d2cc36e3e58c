"""Convex functions: the f and g of `min f(Z) + g(E) s.t. A Z + B E = X`, with proximal operator and conjugate.

A batch is (N, n), one problem a row, or (N, …, n), and a function of it has N values. The conjugate is f*(w) =
sup_v ⟨w, v⟩ − f(v); dividing w by `conjugate_scale` makes it finite. Formulas: Parikh & Boyd, Proximal Algorithms,
2014, chapter 6. A new function is a class with `__call__`, `prox` and, unless it is a norm, `conjugate`, or with
`conjugate_scale`; to be saved it needs a line in `FUNCTIONS`.
"""

import math

import torch
from torch import Tensor

from models.errors import InvalidArgument, check_count, check_positive


class Function:
    """A closed convex function of a row with f(0) = 0. The weight is its factor, or the half-width of a Box.

    Batches v and w are (N, n); values, conjugates and their scales are (N,). A call returns the value of each row,
    infinite outside the domain. Arguments that are not allowed raise InvalidArgument; they are its attributes.
    """

    finite = True  # whether it is finite everywhere
    has_step = True  # whether its proximal operator depends on the step

    def __init__(self, weight: float = 1.0) -> None:
        check_positive(f"weight of a {type(self).__name__}", weight)
        self.weight = float(weight)

    def check(self, n: int) -> None:
        """Raises InvalidArgument if rows of n coordinates do not fit the function."""

    def prox(self, v: Tensor, step: Tensor | float) -> Tensor:
        """argmin_u step · f(u) + ½‖u − v‖² for each row.

        The step >= 0 is a number, or one for each coordinate, (n,) or (N, n); then the minimiser for a separable f.
        """
        raise NotImplementedError

    def conjugate(self, w: Tensor) -> Tensor:
        """f*(w) for each row w inside the domain of f*, see `conjugate_scale`; zero for a norm."""
        return w.new_zeros(len(w))

    def conjugate_scale(self, w: Tensor) -> Tensor:
        """The smallest s >= 1 for which w / s is in the domain of f*, for each row."""
        return w.new_ones(len(w))


class L1(Function):
    """weight · ‖v‖₁; its conjugate is the indicator of ‖w‖_∞ <= weight."""

    def __call__(self, v: Tensor) -> Tensor:
        """weight · ‖v‖₁."""
        return self.weight * v.abs().flatten(1).sum(dim=1)

    def prox(self, v: Tensor, step: Tensor | float) -> Tensor:
        """The soft threshold sign(vᵢ) max(|vᵢ| − step · weight, 0)."""
        threshold = step * self.weight
        if torch.is_grad_enabled():
            return v.sign() * torch.relu(v.abs() - threshold)
        return v - v.clamp(-threshold, threshold)  # the same in two passes over v; its gradients would take more

    def conjugate_scale(self, w: Tensor) -> Tensor:
        """‖w‖_∞ / weight, or 1."""
        return (w.abs().flatten(1).amax(dim=1) / self.weight).clamp(min=1)


class NonNegativeL1(Function):
    """weight · ‖v‖₁ where v >= 0, infinite elsewhere; its conjugate is the indicator of w <= weight."""

    finite = False

    def __call__(self, v: Tensor) -> Tensor:
        """weight · Σᵢ vᵢ, or ∞."""
        return torch.where((v >= 0).flatten(1).all(dim=1), self.weight * v.flatten(1).sum(dim=1), math.inf)

    def prox(self, v: Tensor, step: Tensor | float) -> Tensor:
        """max(v − step · weight, 0)."""
        return torch.relu(v - step * self.weight)

    def conjugate_scale(self, w: Tensor) -> Tensor:
        """maxᵢ wᵢ / weight, or 1."""
        return (w.flatten(1).amax(dim=1) / self.weight).clamp(min=1)


class SquaredL2(Function):
    """½ weight · ‖v‖²; its conjugate is ‖w‖² / (2 weight)."""

    def __call__(self, v: Tensor) -> Tensor:
        """½ weight · ‖v‖²."""
        return self.weight / 2 * v.square().flatten(1).sum(dim=1)

    def prox(self, v: Tensor, step: Tensor | float) -> Tensor:
        """v / (1 + step · weight)."""
        return v / (1 + step * self.weight)

    def conjugate(self, w: Tensor) -> Tensor:
        """‖w‖² / (2 weight)."""
        return w.square().flatten(1).sum(dim=1) / (2 * self.weight)


class L21(Function):
    """weight · Σ_G ‖v_G‖₂ over groups G of so many neighbours; its conjugate is the indicator of ‖w_G‖₂ <= weight."""

    def __init__(self, weight: float = 1.0, group: int = 2) -> None:
        super().__init__(weight)
        check_count("group", group)
        self.group = group

    def check(self, n: int) -> None:
        """Refuses an n that is no multiple of the group."""
        if n % self.group:
            raise InvalidArgument(f"L21 has groups of {self.group}; allowed here: a divisor of {n}")

    def _norms(self, v: Tensor) -> Tensor:
        return torch.linalg.vector_norm(v.unflatten(-1, (-1, self.group)), dim=-1)

    def __call__(self, v: Tensor) -> Tensor:
        """weight · Σ_G ‖v_G‖₂."""
        return self.weight * self._norms(v).flatten(1).sum(dim=1)

    def prox(self, v: Tensor, step: Tensor | float) -> Tensor:
        """max(1 − step · weight / ‖v_G‖₂, 0) v_G; of steps for each coordinate the mean in a group."""
        if isinstance(step, Tensor) and step.numel() > 1:
            step = step.unflatten(-1, (-1, self.group)).mean(dim=-1)
        norms = self._norms(v).clamp(min=torch.finfo(v.dtype).tiny)
        return v * torch.relu(1 - step * self.weight / norms).repeat_interleave(self.group, dim=-1)

    def conjugate_scale(self, w: Tensor) -> Tensor:
        """max_G ‖w_G‖₂ / weight, or 1."""
        return (self._norms(w).flatten(1).amax(dim=1) / self.weight).clamp(min=1)


class Box(Function):
    """Zero where |vᵢ| <= weight, infinite elsewhere; its conjugate is weight · ‖w‖₁."""

    finite = False
    has_step = False

    def __call__(self, v: Tensor) -> Tensor:
        """0 or ∞."""
        return torch.where(v.abs().flatten(1).amax(dim=1) <= self.weight, 0.0, math.inf)

    def prox(self, v: Tensor, step: Tensor | float) -> Tensor:
        """The projection onto the box, whatever the step."""
        return v.clamp(-self.weight, self.weight)

    def conjugate(self, w: Tensor) -> Tensor:
        """weight · ‖w‖₁."""
        return self.weight * w.abs().flatten(1).sum(dim=1)


FUNCTIONS = {"l1": L1, "non_negative_l1": NonNegativeL1, "squared_l2": SquaredL2, "l21": L21, "box": Box}
