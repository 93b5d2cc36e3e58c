"""The problem `min α‖Z‖₁ + ‖E‖₁ s.t. A Z + B E = X`: constraint, objective, dual and duality gap."""

import torch
from torch import Tensor, nn

from models.functions import L1


class Problem(nn.Module):
    """min f(Z) + g(E) s.t. A Z + B E = X, with f = alpha‖·‖₁ and g = ‖·‖₁, one problem per row of X.

    Every batch is stored in rows: X is (N, m), Z is (N, n), E is (N, q), multipliers are (N, m),
    so that `A Z` for a whole batch is the product `Z @ A.T`.

    Args:
        A: (m, n) float tensor.
        alpha: weight of the l1 norm of Z, > 0.
        B: (m, q) float tensor; None, or a matrix equal to it, stands for the identity (q = m).

    Raises:
        ValueError: A or B is not a finite matrix, their heights differ, A is zero, or alpha is not positive.
    """

    def __init__(self, A: Tensor, alpha: float, B: Tensor | None = None) -> None:
        super().__init__()
        for name, matrix in (("A", A),) if B is None else (("A", A), ("B", B)):
            if matrix.ndim != 2 or not torch.isfinite(matrix).all() or not matrix.any():
                raise ValueError(f"{name} has shape {tuple(matrix.shape)}; allowed: a finite matrix that is not zero")
        if B is not None and B.shape[0] != A.shape[0]:
            raise ValueError(f"B has {B.shape[0]} rows; allowed: {A.shape[0]}, as many as A")
        if B is not None and B.shape[0] == B.shape[1] and torch.equal(B, torch.eye(len(B)).to(B)):
            B = None
        self.register_buffer("A", A.detach().clone())
        self.register_buffer("B", None if B is None else B.detach().clone())
        self.alpha = float(alpha)
        self.f = L1(self.alpha)
        self.g = L1(1.0)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(m, n, q): the lengths of a row of X, of Z and of E."""
        m, n = self.A.shape
        return m, n, m if self.B is None else self.B.shape[1]

    def apply_A(self, Z: Tensor) -> Tensor:
        """A Z for every row: (N, n) -> (N, m)."""
        return Z @ self.A.T

    def apply_B(self, E: Tensor) -> Tensor:
        """B E for every row: (N, q) -> (N, m)."""
        return E if self.B is None else E @ self.B.T

    def objective(self, Z: Tensor, X: Tensor, AZ: Tensor | None = None) -> Tensor:
        """f(Z) + g(E) at the feasible E = X − A Z, per row: (N, n), (N, m) -> (N,). Give A Z where it is at hand.

        An upper bound on the optimum whatever Z is. Needs B = I, where every Z has its feasible E.

        Raises:
            NotImplementedError: B is not the identity.
        """
        self._require_identity("the objective at E = X - A Z")
        return self.f(Z) + self.g(X - (self.apply_A(Z) if AZ is None else AZ))

    def dual_objective(self, multiplier: Tensor, X: Tensor) -> Tensor:
        """−⟨λ, X⟩ at the multiplier scaled down into the feasible set, per row: (N, m), (N, m) -> (N,).

        The dual of the problem with B = I is d(λ) = −⟨λ, X⟩ where ‖λ‖_∞ <= 1 and ‖Aᵀλ‖_∞ <= alpha, and −∞ elsewhere.
        Every λ becomes feasible when it is divided by max(1, ‖λ‖_∞, ‖Aᵀλ‖_∞ / alpha), so the value is a lower bound on
        the optimum whatever λ is.

        Raises:
            NotImplementedError: B is not the identity.
        """
        self._require_identity("the dual objective")
        scale = torch.maximum(self.g.conjugate_scale(multiplier), self.f.conjugate_scale(multiplier @ self.A))
        return -(multiplier * X).sum(dim=1) / scale

    def gap(self, Z: Tensor, multiplier: Tensor, X: Tensor) -> Tensor:
        """Duality gap of (Z, X − A Z) and the scaled multiplier, per row: a certified bound, >= 0, on the distance to
        the optimum that holds without knowing the optimum. (N, n), (N, m), (N, m) -> (N,)."""
        return self.objective(Z, X) - self.dual_objective(multiplier, X)

    def _require_identity(self, what: str) -> None:
        if self.B is not None:
            raise NotImplementedError(f"{what} with a B of shape {tuple(self.B.shape)}; allowed: B = identity")
