"""One iteration of linearized ADMM with learnable weights: the layer of a D-LADMM network, its initial weights, LADMM.

The iteration is written here alone: classical LADMM, convergent weights and the safeguard use the same `Layer`. A new
initialization is a function (problem, β) -> W1 (m, n) and the steps of η (n,), and a line in `INITIALIZATIONS`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models.activations import Proximal, over_rows
from models.problem import Problem, State


class LinearizedEStep(nn.Module):
    """E⁺ = ζ(E − W2ᵀ(λ + β ∘ T̂)) with T̂ = A Z⁺ + B E − X. W2 starts as LADMM's B / (β L_B), L_B = factor · ‖B‖₂².

    The factor is 1 or more. For B = I, W2 is diagonal and kept as the vector (m,) of its entries.
    """

    def __init__(self, problem: Problem, beta: float, activation: type[nn.Module], factor: float = 1.0) -> None:
        super().__init__()
        if problem.B is None:
            step = torch.full_like(problem.A[:, 0], 1 / (beta * factor))
            self.W2 = nn.Parameter(step.clone())
        else:
            scale = beta * factor * torch.linalg.matrix_norm(problem.B, 2) ** 2
            step = (1 / scale).expand(problem.B.shape[1])
            self.W2 = nn.Parameter(problem.B / scale)
        self.zeta = activation(problem.g, step)

    def forward(self, problem: Problem, X: Tensor, AZ: Tensor, E: Tensor, multiplier: Tensor, beta: Tensor) -> Tensor:
        """The argument of ζ, (N, q), from A Z⁺ and the state before; β comes in rows, (N, m)."""
        T_hat = AZ + problem.apply_B(E) - X
        gradient = multiplier + beta * T_hat
        return E - (gradient * self.W2 if problem.B is None else gradient @ self.W2)


class ExactEStep(nn.Module):
    """E⁺ = ζ(X − A Z⁺ − W2 ∘ λ): the E step for B = I, as in the authors' code. W2 is a vector (m,).

    W2 starts as LADMM's 1/β and ζ as the prox of g/β. That is the linearized step with L_B = 1, in which E cancels.
    """

    def __init__(self, problem: Problem, beta: float, activation: type[nn.Module]) -> None:
        super().__init__()
        self.W2 = nn.Parameter(torch.full_like(problem.A[:, 0], 1 / beta))
        self.zeta = activation(problem.g, self.W2)

    def forward(self, problem: Problem, X: Tensor, AZ: Tensor, E: Tensor, multiplier: Tensor, beta: Tensor) -> Tensor:
        """The argument of ζ, see LinearizedEStep; E and β have no part in it."""
        return X - AZ - over_rows(self.W2, len(X)) * multiplier


class Layer(nn.Module):
    """One iteration of LADMM with learnable weights (Xie et al. 2019, section 3, the D-LADMM update):

        T   = A Z + B E − X
        Z⁺  = η( Z − W1ᵀ(λ + β ∘ T) )
        T̂   = A Z⁺ + B E − X
        E⁺  = ζ( E − W2ᵀ(λ + β ∘ T̂) )
        λ⁺  = λ + β ∘ (A Z⁺ + B E⁺ − X)

    Where a mask says that X is not known, T and with it λ are zero: see Problem.known. For B = I see ExactEStep.

    Learned are W1 (m, n), W2 (m, q), β (m,) and the activations η and ζ. With LADMM's weights it is an iteration of
    LADMM (Lin, Liu & Su 2011). W1, β > 0 and the steps of η, `step1` (n,), are given as they are before training;
    `activation` builds η and ζ from f and g and their steps. A layer does not keep its problem: one comes with every
    call.

    With a `relaxation` ρ other than 1, for B = I alone, the steps of E and λ begin from Z⁺ := Z + ρ (Z⁺ − Z) and from
    λ + (ρ − 1) β ∘ (A Z + E − X) in place of λ: a relaxed proximal point iteration, see models.convergence.
    """

    def __init__(
        self, problem: Problem, W1: Tensor, step1: Tensor, beta: float, activation: type[nn.Module],
        e_step: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.W1 = nn.Parameter(W1.detach().clone())
        self.beta = nn.Parameter(torch.full_like(problem.A[:, 0], beta))
        self.eta = activation(problem.f, step1)
        self.relaxation = 1.0
        default = ExactEStep if problem.B is None else LinearizedEStep
        self.e_step = default(problem, beta, activation) if e_step is None else e_step

    def forward(self, problem: Problem, X: Tensor, state: State, mask: Tensor | None = None) -> State:
        """X (N, m) and the state before the iteration -> the state after it; mask: as `Problem.known` returns it."""
        beta, multiplier, T = over_rows(self.beta, len(X)), state.multiplier, state.residual
        # The sign is inside, as the compiler then makes one step of the product and the sum.
        Z = self.eta(state.Z + -(multiplier + beta * T) @ self.W1, problem.f)
        if self.relaxation != 1:
            Z = state.Z + self.relaxation * (Z - state.Z)
            multiplier = multiplier + (self.relaxation - 1) * beta * T
        AZ = problem.apply_A(Z)
        v = self.e_step(problem, X, AZ, state.E, multiplier, beta)
        E = self.e_step.zeta(v if mask is None else mask * v, problem.g)  # an activation may look at whole rows
        E, T = problem.fit_E(E, AZ, X, mask)
        return State(Z, E, multiplier + beta * T, AZ, T)


def ladmm_initialization(problem: Problem, beta: float, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """The weights of linearized ADMM (Lin, Liu & Su 2011): W1 = A / (β L_A), η = prox of f / (β L_A).

    With them K layers of the network are K iterations of LADMM. L_A = factor · ‖A‖₂², the factor is 1 or more.
    """
    scale = beta * factor * torch.linalg.matrix_norm(problem.A, 2) ** 2
    return problem.A / scale, (1 / scale).expand(problem.A.shape[1])


def pseudo_inverse_initialization(problem: Problem, beta: float, ridge: float = 0.2) -> tuple[Tensor, Tensor]:
    """A better-conditioned initialization: W1ᵀ = P⁻¹ Aᵀ with the metric P = β (AᵀA + ridge ‖A‖₂² I), ridge > 0.

    LADMM's metric is β L_A I: its step is 1 / (β‖A‖₂²) in all directions. P is a tighter majoriser of βAᵀA. W1 is a
    regularised pseudo-inverse of A. The proximal operator of f in the metric P has no closed form, so η uses the steps
    diag(P⁻¹), and training goes on from there.
    """
    U, S, Vh = torch.linalg.svd(problem.A, full_matrices=False)
    floor = ridge * S[0] ** 2
    W1 = (U * (S / (S**2 + floor))) @ Vh / beta
    inverse_diagonal = (1 - (Vh**2 * (S**2 / (S**2 + floor))[:, None]).sum(dim=0)) / (beta * floor)
    return W1, inverse_diagonal


INITIALIZATIONS = {"ladmm": ladmm_initialization, "pseudo_inverse": pseudo_inverse_initialization}


@torch.no_grad()
def ladmm(problem: Problem, X: Tensor, beta: float, mask: Tensor | None = None) -> Iterator[State]:
    """Yields the states after iteration 1, 2, … of LADMM (Lin, Liu & Su 2011) from zero, with X (N, m) and β > 0."""
    layer = Layer(problem, *ladmm_initialization(problem, beta), beta, Proximal)
    mask = problem.known(mask)
    state = problem.zero_state(X, mask)
    while True:
        state = layer(problem, X, state, mask)
        yield state
