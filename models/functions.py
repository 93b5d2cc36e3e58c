"""Proximable convex functions: the f and g of `min f(Z) + g(E) s.t. A Z + B E = X`, and what the dual needs of them."""

import torch
from torch import Tensor


def soft_threshold(v: Tensor, theta: Tensor | float) -> Tensor:
    """Proximal operator of theta‖·‖₁, elementwise: sign(v) max(|v| − theta, 0).

    Args:
        v: any shape.
        theta: threshold >= 0, a number or a tensor that broadcasts against `v`.

    Written as v − clamp(v, −theta, theta), which costs autograd one mask.
    """
    return v - torch.clamp(v, -theta, theta)


class L1:
    """weight · ‖v‖₁ on rows, with weight > 0."""

    def __init__(self, weight: float = 1.0) -> None:
        if not weight > 0:
            raise ValueError(f"weight of an l1 norm is {weight}; allowed: > 0")
        self.weight = weight

    def __call__(self, v: Tensor) -> Tensor:
        """Value of each row: (N, n) -> (N,)."""
        return self.weight * v.abs().sum(dim=1)

    def threshold(self, step: Tensor) -> Tensor:
        """θ with which soft thresholding is the proximal operator of step · weight · ‖·‖₁; `step` > 0, any shape."""
        return step * self.weight

    def conjugate_scale(self, w: Tensor) -> Tensor:
        """Smallest s >= 1 such that the conjugate is finite (and then zero) at w / s, per row: (N, n) -> (N,).

        The conjugate of weight · ‖·‖₁ is the indicator of ‖w‖_∞ <= weight.
        """
        return (w.abs().amax(dim=1) / self.weight).clamp(min=1)
