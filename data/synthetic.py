"""The synthetic data of the paper: a Gaussian dictionary, and X = A Z + E with sparse Gaussian Z and E."""

import torch
from torch import Tensor


def gaussian_dictionary(m: int, n: int, generator: torch.Generator) -> Tensor:
    """A (m, n) with independent Gaussian entries, its columns scaled to length 1."""
    A = torch.randn(m, n, generator=generator)
    return A / torch.linalg.vector_norm(A, dim=0)


def sparse_samples(
    A: Tensor, count: int, generator: torch.Generator, rate: float = 0.1
) -> tuple[Tensor, Tensor, Tensor]:
    """X = A Z + E (count, m), Z (count, n), E (count, m), whose entries are Bernoulli(rate) × N(0, 1)."""
    Z, E = (
        (torch.rand(count, size, generator=generator) < rate) * torch.randn(count, size, generator=generator)
        for size in (A.shape[1], A.shape[0])
    )
    return Z @ A.T + E, Z, E
