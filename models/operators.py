"""What A is in `A Z + B E = X`: a matrix, or a convolution, with which a whole picture is one problem."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pixel_shuffle, pixel_unshuffle

from models.errors import InvalidArgument

Array = Any  # a tensor, or what PyTorch makes one of: a NumPy array


def as_tensor(values: Array, name: str) -> Tensor:
    """A tensor of floats; what is none and no array of numbers raises InvalidArgument, with this name."""
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise InvalidArgument(f"{name} is a {type(values).__name__}; allowed: a tensor or an array") from None
    return tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())


class Matrix:
    """A matrix (m, n): A Z for every row of Z (N, n), each a problem of its own.

    An operator acts on the last dimension of Z (N, …, n), and returns (N, …, m). It is given by `weight`, a tensor. W1
    of a layer is of the same kind: a tensor of the same shape, and W1ᵀ X is `adjoint(W1, X)`. A new kind is a subclass.
    """

    data, dimensions = "rows (N, m)", 2  # what X is, and how many dimensions it has

    def __init__(self, weight: Array) -> None:
        self.weight = as_tensor(weight, "A")
        self.check(tuple(self.weight.shape))
        if not torch.isfinite(self.weight).all() or not self.weight.any():
            raise InvalidArgument("A holds NaN or infinite values, or only zeros; allowed: a finite A that is not zero")

    @staticmethod
    def check(shape: tuple[int, ...]) -> None:
        """Refuses a weight of that shape, if there is none; (m, n, …) are allowed at most."""
        if len(shape) != 2:
            raise InvalidArgument(f"A has shape {shape}; allowed: a matrix (m, n), or an operator")

    @staticmethod
    def product(weight: Tensor, Z: Tensor) -> Tensor:
        """A Z."""
        return Z @ weight.T

    @staticmethod
    def adjoint(weight: Tensor, X: Tensor) -> Tensor:
        """Aᵀ X: ⟨A Z, X⟩ = ⟨Z, Aᵀ X⟩ for all Z and X."""
        return X @ weight

    @staticmethod
    def norm(weight: Tensor) -> Tensor:
        """‖A‖₂, or a bound of it from above, with which LADMM converges as well."""
        return torch.linalg.matrix_norm(weight, 2)


class Convolution(Matrix):
    """A picture, in blocks of p × p pixels, as the sum of n latent maps that have one value a block each.

    With the blocks x_b (m,), m = p², the latent values z_b (n,) and matrices K_o (m, n) for the offsets o of k × k
    neighbouring blocks, and zeros beyond the rim of the picture (convolutional sparse coding: Papyan, Sulam & Elad
    2017):

        (A Z)_b = Σ_o K_o z_{b+o}          (Aᵀ X)_b = Σ_o K_oᵀ x_{b−o}

    The weight is (m, n, k, k), k odd: an atom has p k × p k pixels, and there is one at every block. X is (N, h, w, m),
    as `blocks` makes it of pictures; a picture is one problem. With one block or k = 1 it is a matrix.
    """

    data, dimensions = "pictures in blocks, (N, h, w, m), see Convolution.blocks", 4

    @staticmethod
    def check(shape: tuple[int, ...]) -> None:
        """See Matrix."""
        if len(shape) != 4 or shape[2] != shape[3] or shape[2] % 2 == 0 or math.isqrt(shape[0]) ** 2 != shape[0]:
            raise InvalidArgument(f"A has shape {shape}; allowed for a convolution: (p², n, k, k), k odd")

    @staticmethod
    def product(weight: Tensor, Z: Tensor) -> Tensor:
        """See Matrix."""
        return conv2d(Z.movedim(-1, 1), weight, padding=weight.shape[-1] // 2).movedim(1, -1)

    @staticmethod
    def adjoint(weight: Tensor, X: Tensor) -> Tensor:
        """See Matrix."""
        return conv_transpose2d(X.movedim(-1, 1), weight, padding=weight.shape[-1] // 2).movedim(1, -1)

    @staticmethod
    def norm(weight: Tensor, frequencies: int = 64) -> Tensor:
        """A bound for pictures of any size: that of an endless picture, on which A is a matrix for every frequency.

        ‖A‖₂² is the maximum of a trigonometric polynomial there, of degree k − 1 in each of two directions. N × N
        frequencies miss no more of it than the factor cos(π (k − 1) / N)⁻² (Ehlich & Zeller 1964).
        """
        missed = math.cos(math.pi * (weight.shape[-1] - 1) / frequencies)
        by_frequency = torch.fft.fft2(weight, (frequencies, frequencies)).movedim((0, 1), (2, 3))
        return torch.linalg.matrix_norm(by_frequency, 2).max() / missed

    @staticmethod
    def blocks(pictures: Tensor, side: int) -> Tensor:
        """Pictures (N, height, width), multiples of the side, in blocks: (N, height / side, width / side, side²)."""
        return pixel_unshuffle(pictures[:, None], side).movedim(1, -1).contiguous()

    @staticmethod
    def pictures(blocks: Tensor) -> Tensor:
        """The pictures (N, height, width) that are these blocks."""
        return pixel_shuffle(blocks.movedim(-1, 1), math.isqrt(blocks.shape[-1]))[:, 0]
