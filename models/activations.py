"""Activations η and ζ of a D-LADMM layer: learnable generalisations of the proximal operators of f and g.

An activation is a module that is built from a function and steps (n,), equals the proximal operator of step · function
before training, and maps (N, n) to (N, n). All that a new one needs is an entry in `ACTIVATIONS`.
"""

import torch
from torch import Tensor, nn

from models.functions import L1, Function


class Proximal(nn.Module):
    """η(v) = prox of θ · function, with a learnable step θ for every coordinate.

    For f = α‖·‖₁ it is the soft threshold sign(v) max(|v| − θα, 0).

    Args:
        function: one of models.functions.
        step: starting θ >= 0, shape (n,).
    """

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__()
        self.function = function
        self.theta = nn.Parameter(step.detach().clone())

    def forward(self, v: Tensor) -> Tensor:
        """(N, n) -> (N, n). The absolute value keeps the step >= 0, whatever was learned."""
        return self.function.prox(v, self.theta.abs())


class SharedProximal(Proximal):
    """The proximal operator with one learnable step for all coordinates; starts at the mean of the given ones."""

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__(function, step.mean())


class PiecewiseLinear(nn.Module):
    """A learnable, odd, non-decreasing, piecewise linear η that starts as the soft threshold.

    η(v) = sign(v) φ(|v|) with φ(0) = 0 and slope max(s_j, 0) between θ κ_j and θ κ_{j+1}: a threshold θ for every
    coordinate, knots κ = 0, ½, 1, 2, 4, and slopes s shared by the coordinates. With s = (0, 0, 1, 1, 1) it is the soft
    threshold.

    Args:
        function: an ℓ1 norm.
        step: starting θ / weight, shape (n,).

    Raises:
        ValueError: the function is no ℓ1 norm, whose proximal operators alone are soft thresholds.
    """

    KNOTS = (0.0, 0.5, 1.0, 2.0, 4.0)

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__()
        if not isinstance(function, L1):
            raise ValueError(f"activation is piecewise_linear, for a {type(function).__name__}; allowed: for an L1")
        self.theta = nn.Parameter(step.detach() * function.weight)
        self.slopes = nn.Parameter(torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0], dtype=step.dtype, device=step.device))

    def forward(self, v: Tensor) -> Tensor:
        """(N, n) -> (N, n)."""
        slopes = self.slopes.clamp(
            min=0
        )  # unlike the absolute value, it passes a gradient on at the slopes' start, zero
        changes = torch.diff(slopes, prepend=slopes.new_zeros(1))
        theta, magnitude = self.theta.abs(), v.abs()
        return v.sign() * sum(
            change * torch.relu(magnitude - knot * theta) for knot, change in zip(self.KNOTS, changes, strict=True)
        )


ACTIVATIONS = {"proximal": Proximal, "shared_proximal": SharedProximal, "piecewise_linear": PiecewiseLinear}
