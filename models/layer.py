"""One iteration of linearized ADMM with learnable weights, its initial weights, LADMM, and exact ADMM to compare with.

The iteration is written here alone: classical LADMM, convergent weights and the safeguard use the same `Layer`. A new
initialization is a function (problem, β) -> W1 (m, n) and the steps of η (n,), and a line in `INITIALIZATIONS`.
"""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.activations import Proximal
from models.errors import InvalidArgument, check_positive
from models.operators import Matrix
from models.problem import Problem, State


class EStep(nn.Module):
    """W2 and ζ of a layer. W2 starts as LADMM's B / (β L_B), L_B = factor · ‖B‖₂², with a factor of 1 or more.

    For B = I, W2 is diagonal and kept as the vector (m,) of its entries, and without a factor the step is exact.
    """

    def __init__(self, problem: Problem, beta: float, activation: type[nn.Module], factor: float | None = None) -> None:
        super().__init__()
        self.exact = problem.B is None and factor is None
        scale = beta * (1.0 if factor is None else factor)
        if problem.B is None:
            W2 = step = problem.A.new_full(problem.sizes[:1], 1 / scale)
        else:
            scale = scale * torch.linalg.matrix_norm(problem.B, 2) ** 2
            W2, step = problem.B / scale, (1 / scale).expand(problem.B.shape[1])
        self.W2 = nn.Parameter(W2)
        self.zeta = activation(problem.g, step)


class Layer(nn.Module):
    """One iteration of LADMM with learnable weights (Xie et al. 2019, section 3, the D-LADMM update):

        T   = A Z + B E − X
        Z⁺  = η( Z − W1ᵀ(λ + β ∘ T) )
        T̂   = A Z⁺ + B E − X
        E⁺  = ζ( E − W2ᵀ(λ + β ∘ T̂) )
        λ⁺  = λ + β ∘ (A Z⁺ + B E⁺ − X)

    For B = I the E step is exact, as in the authors' code: with L_B = 1, E cancels, and E⁺ = ζ( X − A Z⁺ − W2 ∘ λ ).
    Where a mask says that X is not known, T and with it λ are zero: see Problem.known.

    Learned are W1, of A's shape, W2 (m, q), β (m,) and the activations η and ζ. With LADMM's weights it is an iteration
    of LADMM (Lin, Liu & Su 2011). W1, β > 0 and the steps of η, `step1` (n,), are given as they are before training;
    `activation` builds η and ζ from f and g and their steps; `factor`: see EStep. A layer does not keep its problem.

    With a `relaxation` ρ other than 1, for B = I alone, the steps of E and λ begin from Z⁺ := Z + ρ (Z⁺ − Z) and from
    λ + (ρ − 1) β ∘ (A Z + E − X) in place of λ: a relaxed proximal point iteration, see models.convergence.
    """

    def __init__(
        self, problem: Problem, W1: Tensor, step1: Tensor, beta: float, activation: type[nn.Module],
        factor: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.W1 = nn.Parameter(W1.detach().clone())
        self.beta = nn.Parameter(problem.A.new_full(problem.sizes[:1], beta))
        self.eta = activation(problem.f, step1)
        self.relaxation = 1.0
        self.e_step = EStep(problem, beta, activation, factor)

    def forward(self, problem: Problem, X: Tensor, state: State, mask: Tensor | None = None) -> State:
        """X (N, m) and the state before the iteration -> the state after it; mask: as `Problem.known` returns it."""
        beta, multiplier, T = self.beta.expand_as(X), state.multiplier, state.residual
        # The sign is inside, as the compiler then makes one step of the product and the sum.
        Z = self.eta(state.Z + problem.adjoint(-(multiplier + beta * T), self.W1), problem.f)
        if self.relaxation != 1:
            Z = state.Z + self.relaxation * (Z - state.Z)
            multiplier = multiplier + (self.relaxation - 1) * beta * T
        AZ = problem.apply_A(Z)
        if self.e_step.exact:
            v = X - AZ - self.e_step.W2 * multiplier
        else:
            gradient = multiplier + beta * (AZ + problem.apply_B(state.E) - X)
            v = state.E - (gradient * self.e_step.W2 if problem.B is None else gradient @ self.e_step.W2)
        E = self.e_step.zeta(v if mask is None else mask * v, problem.g)  # an activation may look at whole rows
        E, T = problem.fit_E(E, AZ, X, mask)
        return State(Z, E, multiplier + beta * T, AZ, T)


class DerivedLayer(nn.Module):
    """A `Layer` whose weights by name, `weights(problem)`, are computed from fewer numbers, which are learned."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.relaxation = 1.0  # ρ, see Layer
        # A template whose parameters functional_call replaces. In a tuple, as they are no parameters of this module.
        self.template = (layer,)

    def forward(self, problem: Problem, X: Tensor, state: State, mask: Tensor | None = None) -> State:
        """See Layer."""
        self.template[0].relaxation = self.relaxation
        return functional_call(self.template[0], self.weights(problem), (problem, X, state, mask))

    @torch.no_grad()
    def free(self, problem: Problem) -> Layer:
        """The layer with these weights, exact, as if they had been learned one by one."""
        layer = deepcopy(self.template[0])
        layer.relaxation = self.relaxation
        layer.load_state_dict(self.weights(problem))
        return layer


class ScalarLayer(DerivedLayer):
    """A layer with some thirteen numbers to learn, for few samples (kin of ALISTA: Liu, Chen, Wang & Yin, ICLR 2019).

    W1 is a multiple of A, and so is W2 of B, if B is not I. β, W2 = w I and each parameter of η and ζ have one value
    for all coordinates. The arguments are those of `Layer`. It begins as LADMM, whatever W1 and `step1` are.
    """

    def __init__(self, problem: Problem, W1: Tensor, step1: Tensor, beta: float, activation: type[nn.Module]) -> None:
        super().__init__(Layer(problem, *ladmm_initialization(problem, beta), beta, activation))
        self.learned = nn.ParameterDict()
        for name, weight in self.template[0].named_parameters():
            matrix = self._matrices(problem).get(name)
            start = weight.mean(dim=-1, keepdim=True) if matrix is None else weight.norm() / matrix.norm()
            self.learned[name.replace(".", "_")] = nn.Parameter(start.detach(), weight.requires_grad)

    def weights(self, problem: Problem) -> dict[str, Tensor]:
        """See DerivedLayer."""
        weights = {}
        for name, weight in self.template[0].named_parameters():
            value, matrix = self.learned[name.replace(".", "_")], self._matrices(problem).get(name)
            weights[name] = value.expand_as(weight) if matrix is None else value * matrix
        return weights

    @staticmethod
    def _matrices(problem: Problem) -> dict[str, Tensor | None]:
        """What the weights of that name are multiples of; None, as for all others: of ones."""
        return {"W1": problem.A, "e_step.W2": problem.B}


def ladmm_initialization(problem: Problem, beta: float, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """The weights of linearized ADMM (Lin, Liu & Su 2011): W1 = A / (β L_A), η = prox of f / (β L_A).

    L_A = factor · ‖A‖₂², the factor is 1 or more.
    """
    scale = beta * factor * problem.norm**2
    return problem.A / scale, (1 / scale).expand(problem.sizes[1])


def pseudo_inverse_initialization(problem: Problem, beta: float, ridge: float = 0.2) -> tuple[Tensor, Tensor]:
    """A better-conditioned initialization: W1ᵀ = P⁻¹ Aᵀ with the metric P = β (AᵀA + ridge ‖A‖₂² I), ridge > 0.

    LADMM's metric is β L_A I; P is a tighter majoriser of βAᵀA. W1 is a regularised pseudo-inverse of A. The proximal
    operator of f in the metric P has no closed form, so η begins with the steps diag(P⁻¹). It is for a matrix alone.
    """
    if problem.operator is not Matrix:
        raise InvalidArgument("initialization is pseudo_inverse, of a convolution; allowed: ladmm")
    A = problem.A
    inverse = torch.linalg.inv(beta * (A.T @ A + ridge * problem.norm**2 * torch.eye(A.shape[1]).to(A)))
    return A @ inverse, inverse.diagonal()


INITIALIZATIONS = {"ladmm": ladmm_initialization, "pseudo_inverse": pseudo_inverse_initialization}


@torch.no_grad()
def ladmm(
    problem: Problem, X: Tensor, beta: float, mask: Tensor | None = None, state: State | None = None
) -> Iterator[State]:
    """Yields the states after iteration 1, 2, … of LADMM (Lin, Liu & Su 2011), from the given state or from zero."""
    check_positive("beta", beta)
    layer = Layer(problem, *ladmm_initialization(problem, beta), beta, Proximal)
    X, mask = problem.data(X), problem.known(mask)
    state = problem.zero_state(X, mask) if state is None else state
    while True:
        state = layer(problem, X, state, mask)
        yield state


@torch.no_grad()
def exact_admm(problem: Problem, X: Tensor, rho: float, relaxation: float = 1.7, scale: float = 1.0) -> Iterator[State]:
    """Yields the state after iteration 1, 2, 3, … of ADMM for min f(U) + g(E) s.t. s Z = s U, A Z + E = X, from zero.

    With the scaled multipliers u of Z = U and w of A Z + E = X, both of penalty ρ, and relaxation ω an iteration is

        (s²I + AᵀA) Z = s²(U − u) + Aᵀ(X − E − w)
        P := ω Z + (1 − ω) U + u,              U := prox of f/(s²ρ) at P,    u := P − U
        Q := X − ω A Z − (1 − ω)(X − E) − w,   E := prox of g/ρ at Q,    w := E − Q

    By Woodbury's identity the first line is Z = U − u − Aᵀ Y and A Z = X − E − w + s²Y for

        Y = (s²I + A Aᵀ)⁻¹ (A(U − u) − (X − E − w)),

    with a matrix that is factorised once. A u is updated with u, so that an iteration multiplies once by each of A, Aᵀ
    and this inverse. The state has U as its Z, which is sparse and in the domain of f, and λ = ρ w.

    ρ > 0, ω in (0, 2). With s of the size of a column of A nothing depends on the unit of A. B other than I, and an A
    that is no matrix, raise InvalidArgument.

    Sources: Boyd et al., Distributed Optimization and Statistical Learning via ADMM, 2011, section 3.1.1 for the scaled
    form, 3.4.3 for relaxation between 1.5 and 1.8; Eckstein & Bertsekas, Mathematical Programming 55, 1992, for its
    convergence below 2.
    """
    check_positive("rho", rho)
    if problem.B is not None or problem.operator is not Matrix:
        raise InvalidArgument("B is another matrix than I, or A is no matrix; exact ADMM allows B = I and a matrix A")
    A, X = problem.A, problem.data(X)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(scale**2 * torch.eye(len(A)).to(A) + A @ A.T))
    U, E, w, AU, _ = problem.zero_state(X)
    u, Au = U, AU
    while True:
        c = X - E - w
        Y = (AU - Au - c) @ inverse
        P = torch.lerp(U, U - u - Y @ A, relaxation) + u
        AZ = c + scale**2 * Y
        relaxed_AZ = torch.lerp(AU, AZ, relaxation)
        Q = X - torch.lerp(X - E, AZ, relaxation) - w
        U, E = problem.f.prox(P, 1 / (scale**2 * rho)), problem.g.prox(Q, 1 / rho)
        u, w, AU = P - U, E - Q, problem.apply_A(U)
        Au = Au + relaxed_AZ - AU
        yield State(U, E, rho * w, AU, AU + E - X)
