"""Activations η and ζ of a D-LADMM layer: learnable generalisations of the proximal operators of f and g."""

from torch import Tensor, nn

from models.functions import soft_threshold


class SoftThreshold(nn.Module):
    """η(v) = sign(v) max(|v| − θ, 0) with a learnable θ per coordinate: the proximal operator of a weighted ℓ1 norm.

    An activation is any module that is built from the thresholds (n,) of the proximal operator it generalises, that
    equals this operator before training, and that maps (N, n) to (N, n). All that a new one needs is an entry in
    `ACTIVATIONS`.

    Args:
        theta: starting thresholds >= 0, shape (n,).
    """

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.detach().clone())

    def forward(self, v: Tensor) -> Tensor:
        """(N, n) -> (N, n). The absolute value keeps the threshold >= 0, whatever was learned."""
        return soft_threshold(v, self.theta.abs())


class SharedSoftThreshold(SoftThreshold):
    """The soft threshold with one learnable θ for all coordinates; starts at the mean of the given thresholds."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__(theta.mean())


ACTIVATIONS = {"soft_threshold": SoftThreshold, "shared_soft_threshold": SharedSoftThreshold}
