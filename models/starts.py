"""Starts: the weights W1 and the steps of η that a freshly built D-LADMM network has in every layer."""

import torch
from torch import Tensor

from models.problem import Problem


def ladmm_start(problem: Problem, beta: float, L: float = 1.0) -> tuple[Tensor, Tensor]:
    """The weights of linearized ADMM (Lin, Liu & Su 2011): W1 = A / (β L_A) and η = prox of f / (β L_A), L_A = L ‖A‖₂².

    With them K layers of the network are K iterations of LADMM.

    Returns:
        W1, shape (m, n), and the steps of η, shape (n,).
    """
    scale = beta * L * torch.linalg.matrix_norm(problem.A, 2) ** 2
    return problem.A / scale, (1 / scale).expand(problem.A.shape[1])


def pseudo_inverse_start(problem: Problem, beta: float, ridge: float = 0.2) -> tuple[Tensor, Tensor]:
    """A better-conditioned start: W1ᵀ = P⁻¹ Aᵀ with the metric P = β (AᵀA + ridge ‖A‖₂² I) in place of LADMM's β L_A I.

    P majorises βAᵀA as LADMM's metric does, but closely: directions in which A is small are not slowed down to the pace
    that ‖A‖₂ dictates. The proximal operator of f in this metric has no closed form; steps of diag(P⁻¹) keep the
    metric's diagonal, and training goes on from there.

    Returns:
        W1, shape (m, n), and the steps of η, shape (n,).
    """
    U, S, Vh = torch.linalg.svd(problem.A, full_matrices=False)
    floor = ridge * S[0] ** 2
    W1 = (U * (S / (S**2 + floor))) @ Vh / beta
    inverse_diagonal = (1 - (Vh**2 * (S**2 / (S**2 + floor))[:, None]).sum(dim=0)) / (beta * floor)
    return W1, inverse_diagonal


STARTS = {"ladmm": ladmm_start, "pseudo_inverse": pseudo_inverse_start}
