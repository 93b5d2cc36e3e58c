"""ADMM with an exact Z step, over-relaxed: the strongest classical solver that networks are compared with."""

from collections.abc import Iterator

import torch
from torch import Tensor

from models.errors import InvalidArgument
from models.problem import Problem, State


@torch.no_grad()
def exact_admm(problem: Problem, X: Tensor, rho: float, relaxation: float = 1.7) -> Iterator[State]:
    """Yields the state after iteration 1, 2, 3, … of ADMM for min f(U) + g(E) s.t. Z = U, A Z + E = X, from zero.

    With the scaled multipliers u of Z = U and w of A Z + E = X, both of penalty ρ, and relaxation ω an iteration is

        (I + AᵀA) Z = U − u + Aᵀ(X − E − w)
        P := ω Z + (1 − ω) U + u,              U := prox of f/ρ at P,    u := P − U
        Q := X − ω A Z − (1 − ω)(X − E) − w,   E := prox of g/ρ at Q,    w := E − Q

    By Woodbury's identity the first line is Z = U − u − Aᵀ Y and A Z = X − E − w + Y for

        Y = (I + A Aᵀ)⁻¹ (A(U − u) − (X − E − w)),

    with a matrix that is factorised once. A u is updated with u, so that an iteration multiplies once by each of A, Aᵀ
    and this inverse. The state has U as its Z, which is sparse and in the domain of f, and λ = ρ w.

    Sources: Boyd et al., Distributed Optimization and Statistical Learning via ADMM, 2011, section 3.1.1 for the scaled
    form, 3.4.3 for relaxation between 1.5 and 1.8; Eckstein & Bertsekas, Mathematical Programming 55, 1992, for its
    convergence below 2.

    Args:
        problem: B = I, m = length of a row of X.
        X: (N, m).
        rho: penalty ρ > 0, the same in every iteration.
        relaxation: ω in (0, 2); 1 stands for none.

    Raises:
        InvalidArgument: B is not I.
    """
    if problem.B is not None:
        raise InvalidArgument("B is another matrix than I; exact ADMM allows I")
    A = problem.A
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(torch.eye(len(A)).to(A) + A @ A.T))
    U, E, w, AU, _ = problem.zero_state(X)
    u, Au = U, AU
    while True:
        c = X - E - w
        Y = (AU - Au - c) @ inverse
        P = torch.lerp(U, U - u - Y @ A, relaxation) + u
        relaxed_AZ = torch.lerp(AU, c + Y, relaxation)
        Q = X - torch.lerp(X - E, c + Y, relaxation) - w
        U, E = problem.f.prox(P, 1 / rho), problem.g.prox(Q, 1 / rho)
        u, w, AU = P - U, E - Q, problem.apply_A(U)
        Au = Au + relaxed_AZ - AU
        yield State(U, E, rho * w, AU, AU + E - X)
