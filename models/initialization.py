"""Initializations: functions (problem, β) -> the weights W1 and the steps of η that every layer starts with.

A new one is a function and a line in `INITIALIZATIONS`.
"""

import torch
from torch import Tensor

from models.problem import Problem


def ladmm_initialization(problem: Problem, beta: float, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """The weights of linearized ADMM (Lin, Liu & Su 2011): W1 = A / (β L_A), η = prox of f / (β L_A).

    With them K layers of the network are K iterations of LADMM.

    Args:
        problem: gives A.
        beta: penalty β > 0.
        factor: L_A / ‖A‖₂², 1 or more.

    Returns:
        W1, shape (m, n), and the steps of η, shape (n,).
    """
    scale = beta * factor * torch.linalg.matrix_norm(problem.A, 2) ** 2
    return problem.A / scale, (1 / scale).expand(problem.A.shape[1])


def pseudo_inverse_initialization(problem: Problem, beta: float, ridge: float = 0.2) -> tuple[Tensor, Tensor]:
    """A better-conditioned initialization: W1ᵀ = P⁻¹ Aᵀ with the metric P = β (AᵀA + ridge ‖A‖₂² I).

    LADMM's metric is β L_A I: its step is 1 / (β‖A‖₂²) in all directions. P is a tighter majoriser of βAᵀA. W1 is a
    regularised pseudo-inverse of A. The proximal operator of f in the metric P has no closed form, so η uses the steps
    diag(P⁻¹), and training goes on from there.

    Args:
        problem: gives A.
        beta: penalty β > 0.
        ridge: > 0, relative to ‖A‖₂².

    Returns:
        W1, shape (m, n), and the steps of η, shape (n,).
    """
    U, S, Vh = torch.linalg.svd(problem.A, full_matrices=False)
    floor = ridge * S[0] ** 2
    W1 = (U * (S / (S**2 + floor))) @ Vh / beta
    inverse_diagonal = (1 - (Vh**2 * (S**2 / (S**2 + floor))[:, None]).sum(dim=0)) / (beta * floor)
    return W1, inverse_diagonal


INITIALIZATIONS = {"ladmm": ladmm_initialization, "pseudo_inverse": pseudo_inverse_initialization}
