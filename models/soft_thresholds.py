"""Weighted sums of soft thresholds with all their gradients, in few passes over a batch.

By itself PyTorch would differentiate the formula operation by operation, and sum the gradient of every parameter down
the columns of a matrix that lies in memory row by row.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx

BLOCK = 25  # rows whose part of a column sum is added up at once: few enough for the fastest cache


def column_sums(rows: Tensor) -> Tensor:
    """(N, n) -> (n,): sums of blocks of rows, then the sum of these."""
    whole = len(rows) // BLOCK * BLOCK
    if whole == 0:
        return rows.sum(dim=0)
    blocks = rows[:whole].unflatten(0, (-1, BLOCK)).sum(dim=1).sum(dim=0)
    return blocks if whole == len(rows) else blocks + rows[whole:].sum(dim=0)


class _OverRows(Function):
    """See `over_rows`."""

    @staticmethod
    def forward(ctx: FunctionCtx, parameter: Tensor, count: int) -> Tensor:
        return parameter.expand(count, -1)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return column_sums(gradient), None


def over_rows(parameter: Tensor, count: int) -> Tensor:
    """A parameter (n,) as so many equal rows, (count, n). However often these are used, its gradient is one sum."""
    return _OverRows.apply(parameter, count)


class SoftThresholds(Function):
    """η(v) = sign(v) Σ_j s_j (p_j − p_{j+1}) with the soft thresholds p_j = max(|v| − κ_j t, 0) and p_{J+1} = 0.

    The slopes s_j are max(slopes_j, 0). Where p_j > 0 = p_{j+1}, on the j-th piece, the derivatives are

        ∂η/∂v   = s_j
        ∂η/∂t   = −sign(v) (κ_1 s_1 + κ_2 (s_2 − s_1) + … + κ_j (s_j − s_{j−1}))
        ∂η/∂s_i = sign(v) (p_i − p_{i+1})        for all i

    A slope below zero counts as zero, but gets the gradient of s, so that it can rise again.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, v: Tensor, t: Tensor, slopes: Tensor, knots: tuple[float, ...]) -> Tensor:
        """v (N, n), thresholds t >= 0 (n,) or (N, n), slopes (J, n) and knots κ (J,), which rise -> (N, n)."""
        ctx.save_for_backward(v, t, slopes)
        ctx.knots = knots
        # Nothing in place here: PyTorch 2.11 compiles that into a backward pass whose gradients are zero.
        parts = (rise * p_j for rise, p_j in zip(_rises(slopes), _exceeding(v, t, knots), strict=True))
        return torch.copysign(sum(parts), v)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of v, t and slopes, each of its shape."""
        v, t, slopes = ctx.saved_tensors
        p, signed = list(_exceeding(v, t, ctx.knots)), gradient * torch.copysign(torch.ones_like(v), v)
        slope, fall, at_v, at_t = 0.0, 0.0, torch.zeros_like(v), torch.zeros_like(v)
        for rise, knot, p_j in zip(_rises(slopes), ctx.knots, p, strict=True):
            slope, fall = slope + rise, fall + knot * rise
            at_v, at_t = torch.where(p_j > 0, slope, at_v), torch.where(p_j > 0, fall, at_t)
        pieces = [*(p_j - after for p_j, after in pairwise(p)), p[-1]]
        at_slopes = torch.stack([column_sums(signed * piece) for piece in pieces])
        at_t = -signed * at_t
        return gradient * at_v, at_t if t.ndim == 2 else column_sums(at_t), at_slopes, None


def _exceeding(v: Tensor, t: Tensor, knots: tuple[float, ...]) -> Iterator[Tensor]:
    """|v| − κ_j t where it is positive, zero elsewhere; for each knot a new tensor."""
    magnitude = v.abs()
    for knot in knots:
        yield torch.relu(magnitude - knot * t)


def _rises(slopes: Tensor) -> list[Tensor]:
    """s_1, s_2 − s_1, …: the slope that each soft threshold adds."""
    s = torch.relu(slopes).unbind()
    return [s[0], *(after - before for before, after in zip(s, s[1:], strict=False))]
