"""Activations η and ζ of a D-LADMM layer: learnable generalisations of the proximal operators of f and g.

An activation is a module. It is built from a function of models.functions and its initial steps >= 0, (n,), and maps
v (N, n) and a function to (N, n). Before training it is the proximal operator of step · function. The function comes
with every call: a layer keeps none. A new activation is a class and a line in `ACTIVATIONS`.
"""

from itertools import pairwise

import torch
from torch import Tensor, autograd, nn
from torch.autograd.function import FunctionCtx

from models.errors import InvalidArgument
from models.functions import L1, Function


class SoftThresholds(autograd.Function):
    """η(v) = sign(v) Σ_j s_j (p_j − p_{j+1}) with the soft thresholds p_j = max(|v| − κ_j t, 0) and p_{J+1} = 0.

    The slopes s_j are max(slopes_j, 0). Where p_j > 0 = p_{j+1}, on the j-th piece, the derivatives are

        ∂η/∂v   = s_j
        ∂η/∂t   = −sign(v) (κ_1 s_1 + κ_2 (s_2 − s_1) + … + κ_j (s_j − s_{j−1}))
        ∂η/∂s_i = sign(v) (p_i − p_{i+1})        for all i

    in few passes over a batch. A slope below zero counts as zero, but gets the gradient of s, and so can rise again.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, v: Tensor, t: Tensor, slopes: Tensor, knots: tuple[float, ...]) -> Tensor:
        """v (N, n), thresholds t >= 0 (n,) or (N, n), slopes (J, n) and knots κ (J,), which rise -> (N, n)."""
        ctx.save_for_backward(v, t, slopes)
        ctx.knots = knots
        # Nothing in place here: PyTorch 2.11 compiles that into a backward pass whose gradients are zero.
        magnitude = v.abs()
        parts = (rise * torch.relu(magnitude - knot * t) for rise, knot in zip(_rises(slopes), knots, strict=True))
        return v.sign() * sum(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of v, t and slopes."""
        v, t, slopes = ctx.saved_tensors
        magnitude, signed = v.abs(), gradient * v.sign()
        p = [torch.relu(magnitude - knot * t) for knot in ctx.knots]
        slope, fall, at_v, at_t = 0.0, 0.0, torch.zeros_like(v), torch.zeros_like(v)
        for rise, knot, p_j in zip(_rises(slopes), ctx.knots, p, strict=True):
            slope, fall = slope + rise, fall + knot * rise
            at_v, at_t = torch.where(p_j > 0, slope, at_v), torch.where(p_j > 0, fall, at_t)
        pieces = [*(p_j - after for p_j, after in pairwise(p)), p[-1]]
        at_slopes = torch.stack([(signed * piece).sum_to_size(v.shape[-1:]) for piece in pieces])
        return gradient * at_v, (-signed * at_t).sum_to_size(t.shape), at_slopes, None


def _rises(slopes: Tensor) -> list[Tensor]:
    """s_1, s_2 − s_1, …: the slope that each soft threshold adds."""
    s = torch.relu(slopes).unbind()
    return [s[0], *(after - before for before, after in pairwise(s))]


class Proximal(nn.Module):
    """η(v) = prox of θ · function, with a learnable step θ for every coordinate (Xie et al. 2019).

    For f = α‖·‖₁ it is the soft threshold sign(v) max(|v| − θα, 0).
    """

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(step.detach().clone())

    def forward(self, v: Tensor, function: Function) -> Tensor:
        """η(v). The absolute value keeps the step >= 0, whatever was learned."""
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


class PiecewiseLinear(Proximal):
    """η = Σ_j s_j (p_j − p_{j+1}): p_j is the proximal operator of κ_j θ · function, the one after the last is zero.

    Learned are a step θ and slopes s >= 0 for every coordinate. For f = α‖·‖₁, η is odd, non-decreasing and piecewise
    linear, see SoftThresholds: zero below ½ θ α, with the slope s_j from κ_j θ α to κ_{j+1} θ α. The slopes start at
    (0, 1, 1, 1): the proximal operator. A function whose proximal operator has no step raises InvalidArgument.
    """

    KNOTS = (0.5, 1.0, 2.0, 4.0)

    def __init__(self, function: Function, step: Tensor) -> None:
        super().__init__(function, step)
        if not function.has_step:
            name = type(function).__name__
            raise InvalidArgument(f"activation is piecewise linear, for a {name}; allowed: a function with a step")
        proximal = torch.tensor([0.0, 1.0, 1.0, 1.0]).to(step)
        self.slopes = nn.Parameter(proximal[:, None].repeat(1, len(step)))

    def forward(self, v: Tensor, function: Function) -> Tensor:
        """η(v)."""
        step = self.steps(v)
        if type(function) is L1:
            return SoftThresholds.apply(v, step * function.weight, self.slopes, self.KNOTS)
        slopes = self.slopes + (self.slopes.clamp(min=0) - self.slopes).detach()  # their gradients: see SoftThresholds
        p = [function.prox(v, knot * step) for knot in self.KNOTS]
        # Differences of neighbours cannot be rounded to below zero, where a NonNegativeL1 is infinite.
        between = sum(s * (p_j - after) for s, (p_j, after) in zip(slopes, pairwise(p), strict=False))
        return slopes[-1] * p[-1] + between

    def steps(self, v: Tensor) -> Tensor:
        """The steps for rows v: (n,), or (N, n) where every row has its own."""
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
        """A step for every row and coordinate."""
        median = v.abs().median(dim=-1, keepdim=True).values
        return (self.theta.abs() + (self.spread - 1) * median).clamp(min=0)


ACTIVATIONS = {
    "proximal": Proximal,
    "shared_proximal": SharedProximal,
    "fixed_proximal": FixedProximal,
    "piecewise_linear": PiecewiseLinear,
    "adaptive": Adaptive,
}
