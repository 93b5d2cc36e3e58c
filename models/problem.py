"""The problem `min f(Z) + g(E) s.t. A Z + B E = X`: constraint, objective, dual objective and the gap between them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.errors import InvalidArgument
from models.functions import FUNCTIONS, L1, Function
from models.operators import Array, Matrix, as_tensor


class State(NamedTuple):
    """The variables after an iteration, one problem per row."""

    Z: Tensor  # (N, n)
    E: Tensor  # (N, q)
    multiplier: Tensor  # λ, (N, m)
    AZ: Tensor  # A Z, (N, m), which the objective needs too
    residual: Tensor  # A Z + B E − X where X is known, zero elsewhere, (N, m): the λ step and the next Z step need it

    @property
    def uncorrupted(self) -> Tensor:
        """X − B E, (N, m): the data without the corruption; A Z where X is not known."""
        return self.AZ - self.residual


def by_problem(values: Tensor, like: Tensor) -> Tensor:
    """A value a problem, (N,), in a shape that goes with tensors like this one, (N, 1) or (N, 1, 1, 1)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


class Problem(nn.Module):
    """min f(Z) + g(E) s.t. A Z + B E = X, one problem per row of X.

    Batches are stored in rows: X is (N, m), Z is (N, n), E is (N, q), multipliers and masks are (N, m), so that `A Z`
    for a whole batch is the product `Z @ A.T`. What is said per row is (N,). With a convolution a problem is not a row
    but a picture, and all these have two dimensions more: see models.operators.

    A is a matrix (m, n) or an operator, B (m, q); None, or a matrix equal to it, stands for the identity (q = m). f and
    g are functions of models.functions: in place of f there may be alpha > 0, short for f = L1(alpha), and for g, None
    is the ℓ1 norm. A is given, or `learned` with the weights of a network. What is not allowed or does not fit each
    other raises InvalidArgument.
    """

    def __init__(
        self, A: Array | Matrix, alpha: float | None = None, B: Array | None = None,
        f: Function | None = None, g: Function | None = None, learned: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        operator = A if isinstance(A, Matrix) else Matrix(A)
        A, self.operator = operator.weight, type(operator)
        if (alpha is None) == (f is None):
            raise InvalidArgument(f"alpha is {alpha} and f is {f}; allowed: one of the two")
        for name, function in (("f", f), ("g", g)):
            if not isinstance(function, Function | None):
                classes = ", ".join(cls.__name__ for cls in FUNCTIONS.values())
                raise InvalidArgument(f"{name} is {function!r}; allowed: a Function of models.functions: {classes}")
        A, B = A.detach().clone(), _checked_B(B, A)
        if learned:
            self.A = nn.Parameter(A)
        else:
            self.register_buffer("A", A)
        self.register_buffer("norm", self.operator.norm(A), persistent=False)  # ‖A‖₂, or a bound of it
        self.register_buffer("B", B)
        self.f, self.g = L1(alpha) if f is None else f, L1() if g is None else g
        self.f.check(self.sizes[1])
        self.g.check(self.sizes[2])
        # The matrix whose pseudo-inverse leads to a feasible point: see `feasible_point`.
        corrected = [matrix for matrix, function in ((self.A, self.f), (self.B, self.g)) if function.finite]
        needless = self.B is None and self.g.finite  # E := X − A Z
        if self.operator is not Matrix and not needless:
            raise InvalidArgument("A is no matrix, and B not I or g infinite somewhere; allowed: B = I and a finite g")
        matrix = None if needless or not corrected else torch.cat(corrected, dim=1)
        self.rank = len(A) if matrix is None else int(torch.linalg.matrix_rank(matrix))
        inverse = None if matrix is None else torch.linalg.pinv(matrix)
        self.register_buffer("pseudo_inverse", inverse, persistent=False)

    def data(self, X: Array) -> Tensor:
        """X as a tensor of A's type, on A's device; InvalidArgument if it has another shape than data for A have."""
        X = as_tensor(X, "X").to(self.A)
        m, shape = self.sizes[0], tuple(X.shape)
        if X.ndim != self.operator.dimensions or shape[-1] != m or X.shape[0] == 0:
            raise InvalidArgument(f"X has shape {shape}; allowed: {self.operator.data}, N > 0 and m = {m}")
        return X

    def known(self, mask: Tensor | None) -> Tensor | None:
        """The mask M of the known values of X: 1 where X is good, 0 where it is corrupted; None: nothing is known.

        With it the problem is min f(Z) + g(M ∘ E) s.t. M ∘ (A Z + E − X) = 0: M multiplies the residual and the weight
        of g. Where it is zero Eᵢ costs nothing and takes up whatever Xᵢ is. The iteration does not depend on that Xᵢ.
        A mask raises InvalidArgument if g is no L1 or B is not I.
        """
        if mask is None:
            return None
        if type(self.g) is not L1 or self.B is not None:
            raise InvalidArgument("positions are known, which is for g = l1 and B = I; allowed here: unknown positions")
        return as_tensor(mask, "the mask").to(self.A)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(m, n, q): the lengths of a row of X, of Z and of E."""
        m, n = self.A.shape[:2]
        return m, n, m if self.B is None else self.B.shape[1]

    def apply_A(self, Z: Tensor) -> Tensor:
        """A Z for every row, of Z's type also where factors are rounded to another."""
        return self.operator.product(self.A, Z).to(Z)

    def adjoint(self, X: Tensor, W1: Tensor | None = None) -> Tensor:
        """Aᵀ X for every row, or W1ᵀ X."""
        return self.operator.adjoint(self.A if W1 is None else W1, X)

    def apply_B(self, E: Tensor) -> Tensor:
        """B E for every row."""
        return E if self.B is None else (E @ self.B.T).to(E)

    def state(self, Z: Tensor, E: Tensor, multiplier: Tensor, X: Tensor, mask: Tensor | None = None) -> State:
        """The state at these variables."""
        AZ = self.apply_A(Z)
        E, residual = self.fit_E(E, AZ, X, self.known(mask))
        return State(Z, E, multiplier, AZ, residual)

    def zero_state(self, X: Tensor, mask: Tensor | None = None) -> State:
        """The state Z = 0, E = 0, λ = 0; mask: as `known` returns it."""
        _, n, q = self.sizes
        zero = torch.zeros_like(X)
        E, residual = self.fit_E(X.new_zeros(*X.shape[:-1], q), zero, X, mask)
        return State(X.new_zeros(*X.shape[:-1], n), E, zero, zero, residual)

    def fit_E(self, E: Tensor, AZ: Tensor, X: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """E and the residual M ∘ (A Z + B E − X) for the mask M of `known`; where M is zero, E becomes X − A Z.

        That is its minimiser. As the residual is zero there, so is λ for ever.
        """
        residual = AZ + self.apply_B(E) - X
        return (E, residual) if mask is None else (torch.where(mask == 0, X - AZ, E), mask * residual)

    def check_feasible(self) -> None:
        """Raises InvalidArgument if a feasible point in the domains of f and g cannot be computed for every X."""
        if not self.f.finite and not self.g.finite:
            raise InvalidArgument("f and g are both infinite somewhere; certificates need one that is not: l1 or l21")
        if self.rank < len(self.A):
            matrix = "A" if not self.g.finite else "[A B]" if self.f.finite else "B"
            raise InvalidArgument(f"{matrix} has rank {self.rank}; certificates need {len(self.A)}, its number of rows")

    def feasible_point(self, state: State, X: Tensor) -> tuple[Tensor, Tensor]:
        """(Z, E) with A Z + B E = X near the state's. The state's residual R = A Z + B E − X is taken away:

            B = I, g finite:       E := X − A Z
            f and g finite:        (Z, E) := (Z, E) − [A B]⁺ R      the projection onto the constraint
            only g finite:         E := E − B⁺ R                    Z stays in the domain of f
            only f finite:         Z := Z − A⁺ R                    E stays in the domain of g

        Proximal operators return points in the domains, so that Z and E of a layer are there. See `check_feasible`.
        """
        self.check_feasible()
        if self.pseudo_inverse is None:
            return state.Z, X - state.AZ
        correction = state.residual @ self.pseudo_inverse.T
        n = state.Z.shape[1] if self.f.finite else 0
        Z = state.Z - correction[:, :n] if self.f.finite else state.Z
        return Z, state.E - correction[:, n:] if self.g.finite else state.E

    def objective(self, state: State, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """f(Z) + g(E) at the state's feasible point, per row: up to rounding an upper bound on the optimum.

        For f = α‖·‖₁, g = ‖·‖₁ and B = I that is α‖Z‖₁ + ‖X − A Z‖₁. It is infinite where the state's Z or E is outside
        the domain of f or g. With a mask it is f(Z) + g(M ∘ E): see `known`.
        """
        Z, E = self.feasible_point(state, as_tensor(X, "X"))
        return self.f(Z) + self.g(E if mask is None else mask * E)

    def dual_objective(self, state: State, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """The dual d(λ) = −⟨λ, X⟩ − f*(−Aᵀλ) − g*(−Bᵀλ) at a feasible λ, per row: a lower bound on the optimum.

        The state's λ becomes feasible when it is divided by the smallest s >= 1 that brings −Aᵀλ/s and −Bᵀλ/s into the
        domains of f* and g*. For f = α‖·‖₁, g = ‖·‖₁ and B = I that is s = max(1, ‖λ‖_∞, ‖Aᵀλ‖_∞ / α), and
        d = −⟨λ, X⟩ / s. With a mask M, M ∘ λ takes the place of λ: see `known`.
        """
        X, multiplier = as_tensor(X, "X"), state.multiplier if mask is None else mask * state.multiplier
        for_f, for_g = self.adjoint(-multiplier), -multiplier if self.B is None else -multiplier @ self.B
        scale = torch.maximum(self.f.conjugate_scale(for_f), self.g.conjugate_scale(for_g))
        conjugates = sum(
            function.conjugate(w / by_problem(scale, w)) for function, w in ((self.f, for_f), (self.g, for_g))
        )
        return -(multiplier * X).flatten(1).sum(dim=1) / scale - conjugates

    def gap(self, state: State, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Objective less dual objective, per row: a bound, >= 0 but for rounding, on the distance to the optimum."""
        return self.objective(state, X, mask) - self.dual_objective(state, X, mask)


def _checked_B(B: Array | None, A: Tensor) -> Tensor | None:
    """B as A is stored, if it fits A; None for the identity."""
    if B is None:
        return None
    B = as_tensor(B, "B").detach().to(A, copy=True)
    if B.ndim != 2 or not torch.isfinite(B).all() or not B.any():
        raise InvalidArgument(f"B has shape {tuple(B.shape)}; allowed: a finite matrix that is not zero")
    if len(B) != len(A):
        raise InvalidArgument(f"B has {len(B)} rows; allowed: {len(A)}, as many as A")
    return None if torch.equal(B, torch.eye(len(B)).to(B)) else B
