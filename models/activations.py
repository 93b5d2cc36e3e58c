"""Activations η and ζ of a D-LADMM layer: learnable generalisations of the proximal operators of f and g.

An activation is a module. It is built from a function and steps (n,), and maps v (N, n) and a function to (N, n).
Before training it is the proximal operator of step · function. The function comes with every call: a layer keeps none.
A new activation is a class and a line in `ACTIVATIONS`.
"""

import torch
from torch import Tensor, nn

from models.errors import InvalidArgument
from models.functions import Function
from models.soft_thresholds import over_rows


class Proximal(nn.Module):
    """η(v) = prox of θ · function, with a learnable step θ for every coordinate (Xie et al. 2019).

    For f = α‖·‖₁ it is the soft threshold sign(v) max(|v| − θα, 0).

    Args:
        function: one of models.functions.
        step: initial θ >= 0, shape (n,).
    """

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(step.detach().clone())

    def forward(self, v: Tensor, function: Function) -> Tensor:
        """(N, n) -> (N, n). The absolute value keeps the step >= 0, whatever was learned."""
        return function.prox(v, self.theta.abs())


class SharedProximal(Proximal):
    """The proximal operator with one learnable step for all coordinates; starts at the mean of all."""

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__(function, step.mean())


class FixedProximal(Proximal):
    """The proximal operator with the steps that it starts with, which are not learned: as in the authors' code."""

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__(function, step)
        self.theta.requires_grad_(False)


class PiecewiseLinear(nn.Module):
    """A learnable combination of proximal operators; for f = α‖·‖₁ an odd, non-decreasing, piecewise linear function.

    With a step θ for every coordinate, knots κ = ½, 1, 2, 4, p_j = prox of κ_j θ · function, and p₅ = 0,

        η(v) = Σ_j s_j (p_j(v) − p_{j+1}(v)),    s_j = max(slopes_j, 0).

    For f = α‖·‖₁, p_j is the soft threshold at κ_j θ α, so that η is zero below ½ θ α and has the slope s_j from
    κ_j θ α to κ_{j+1} θ α. Every coordinate has slopes of its own. They start at (0, 1, 1, 1): the proximal operator.

    Args:
        function: one of models.functions whose proximal operator depends on the step.
        step: initial θ >= 0, shape (n,).

    Raises:
        InvalidArgument: the proximal operator of the function does not depend on the step.
    """

    KNOTS = (0.5, 1.0, 2.0, 4.0)

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__()
        if not function.has_step:
            raise InvalidArgument(
                f"activation is piecewise linear, for a {type(function).__name__}; allowed: a function with a step"
            )
        self.theta = nn.Parameter(step.detach().clone())
        proximal = torch.tensor([0.0, 1.0, 1.0, 1.0]).to(step)
        self.slopes = nn.Parameter(proximal[:, None].repeat(1, len(step)))

    def forward(self, v: Tensor, function: Function) -> Tensor:
        """(N, n) -> (N, n)."""
        return function.combined_prox(v, self.steps(v), self.slopes, self.KNOTS)

    def steps(self, v: Tensor) -> Tensor:
        """The steps for rows v (N, n): (n,), or (N, n) where every row has its own."""
        return self.theta.abs()


class Adaptive(PiecewiseLinear):
    """PiecewiseLinear whose steps grow with the median of a row: max(θ + (spread − 1) · medianᵢ |vᵢ|, 0).

    A value that stands out in a smooth patch is lost in a textured one, so the threshold has to know the patch. The
    learned spread starts at 1: the proximal operator. It is not measured from 0, as a tensor's learning rate is
    relative to its size at the start.
    """

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__(function, step)
        self.spread = nn.Parameter(torch.ones_like(step))

    def steps(self, v: Tensor) -> Tensor:
        """(N, n) -> (N, n)."""
        median = v.abs().median(dim=1, keepdim=True).values
        theta, spread = (over_rows(parameter, len(v)) for parameter in (self.theta.abs(), self.spread))
        return (theta + (spread - 1) * median).clamp(min=0)


ACTIVATIONS = {
    "proximal": Proximal,
    "shared_proximal": SharedProximal,
    "fixed_proximal": FixedProximal,
    "piecewise_linear": PiecewiseLinear,
    "adaptive": Adaptive,
}
