"""Differentiable linearized ADMM: one iteration with learnable weights, and the network that is K of them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from models.activations import ACTIVATIONS
from models.functions import Function
from models.problem import Problem, State
from models.starts import STARTS


class LinearizedEStep(nn.Module):
    """E⁺ = ζ(E − W2ᵀ(λ + β ∘ T̂)) with T̂ = A Z⁺ + B E − X; starts at LADMM's W2 = B / (β L_B), L_B = L ‖B‖₂².

    For B = I, W2 is diagonal and kept as the vector (m,) of its entries.

    Args:
        L: L_B in units of ‖B‖₂², 1 or more.
    """

    def __init__(self, problem: Problem, beta: float, activation: type[nn.Module], L: float = 1.0) -> None:
        super().__init__()
        if problem.B is None:
            step = torch.full_like(problem.A[:, 0], 1 / (beta * L))
            self.W2 = nn.Parameter(step.clone())
        else:
            scale = beta * L * torch.linalg.matrix_norm(problem.B, 2) ** 2
            step = (1 / scale).expand(problem.B.shape[1])
            self.W2 = nn.Parameter(problem.B / scale)
        self.zeta = activation(problem.g, step)

    def forward(self, problem: Problem, X: Tensor, state: State, AZ: Tensor, beta: Tensor) -> Tensor:
        """E⁺, (N, q), from X (N, m), the state before the iteration, A Z⁺ (N, m) and β (m,)."""
        T_hat = AZ + problem.apply_B(state.E) - X
        gradient = state.multiplier + beta * T_hat
        v = state.E - (gradient * self.W2 if problem.B is None else gradient @ self.W2)
        return self.zeta(problem.hide(v), problem.g)


class ExactEStep(nn.Module):
    """E⁺ = ζ(X − A Z⁺ − W2 ∘ λ): the E step for B = I, where W2 is diagonal and kept as the vector (m,) of its entries.

    Starts at LADMM's W2 = 1/β and ζ = prox of g/β: the linearized step with L_B = 1, in which E cancels.
    """

    def __init__(self, problem: Problem, beta: float, activation: type[nn.Module]) -> None:
        super().__init__()
        self.W2 = nn.Parameter(torch.full_like(problem.A[:, 0], 1 / beta))
        self.zeta = activation(problem.g, self.W2)

    def forward(self, problem: Problem, X: Tensor, state: State, AZ: Tensor, beta: Tensor) -> Tensor:
        """E⁺, (N, m), from X (N, m), the state before the iteration and A Z⁺ (N, m); β has no part in it."""
        return self.zeta(problem.hide(X - AZ - self.W2 * state.multiplier), problem.g)


class Layer(nn.Module):
    """One iteration of LADMM with learnable weights (Xie et al. 2019, the D-LADMM update):

        T   = A Z + B E − X
        Z⁺  = η( Z − W1ᵀ(λ + β ∘ T) )
        T̂   = A Z⁺ + B E − X
        E⁺  = ζ( E − W2ᵀ(λ + β ∘ T̂) )
        λ⁺  = λ + β ∘ (A Z⁺ + B E⁺ − X)

    with W1 (m, n), W2 (m, q), β (m,) and the activations η, ζ learned. With LADMM's weights it is an iteration of LADMM
    (Lin, Liu & Su 2011).

    Args:
        problem: the problem whose A, B, f and g the layer starts from; it is not kept, and comes with every call.
        W1: (m, n) starting weights.
        step1: (n,) starting steps of η, the proximal operator of step · f.
        beta: the starting penalty β > 0.
        activation: builds η and ζ from f and g and their starting steps.
        e_step: the E step; None stands for the exact one if B = I, else for the linearized one.
    """

    def __init__(
        self,
        problem: Problem,
        W1: Tensor,
        step1: Tensor,
        beta: float,
        activation: type[nn.Module],
        e_step: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.W1 = nn.Parameter(W1.detach().clone())
        self.beta = nn.Parameter(torch.full_like(problem.A[:, 0], beta))
        self.eta = activation(problem.f, step1)
        default = ExactEStep if problem.B is None else LinearizedEStep
        self.e_step = default(problem, beta, activation) if e_step is None else e_step

    def forward(self, problem: Problem, X: Tensor, state: State) -> State:
        """X (N, m) and the state before the iteration -> the state after it."""
        Z = self.eta(state.Z - (state.multiplier + self.beta * state.residual) @ self.W1, problem.f)
        AZ = problem.apply_A(Z)
        E, residual = problem.close(self.e_step(problem, X, state, AZ, self.beta), AZ, X)
        return State(Z, E, state.multiplier + self.beta * residual, AZ, residual)


# What of a state is the restored data (N, m). Training on the objective, which takes E := X − A Z, leaves the last
# layer's own E untrained; where E is trained, X − B E keeps what is not corrupted as it is.
RESTORED: dict[str, Callable[[State], Tensor]] = {
    "AZ": lambda state: state.AZ,
    "X-BE": lambda state: state.uncorrupted,
}


class DLADMM(nn.Module):
    """K layers, each with weights of its own (Xie et al. 2019): X -> the state after every layer.

    Args:
        A: (m, n) float tensor.
        depth: number of layers K >= 1.
        alpha, B, f, g: see models.problem.Problem; by default B = I and g = ‖·‖₁, and alpha stands for f = alpha‖·‖₁.
        beta: starting penalty β > 0 of every layer.
        start: a name in models.starts.STARTS; with "ladmm" the fresh network is K iterations of LADMM.
        activation: a name in models.activations.ACTIVATIONS.
        restored: a name in `RESTORED`: what of the last state is the answer, see `restore`.

    Raises:
        ValueError: an argument is outside what is allowed above.
    """

    def __init__(
        self,
        A: Tensor,
        depth: int,
        alpha: float | None = None,
        B: Tensor | None = None,
        f: Function | None = None,
        g: Function | None = None,
        beta: float = 1.0,
        start: str = "ladmm",
        activation: str = "proximal",
        restored: str = "AZ",
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth is {depth}; allowed: 1 or more")
        if not beta > 0:
            raise ValueError(f"beta is {beta}; allowed: > 0")
        choices = (("start", start, STARTS), ("activation", activation, ACTIVATIONS), ("restored", restored, RESTORED))
        for what, name, table in choices:
            if name not in table:
                raise ValueError(f"{what} is {name!r}; allowed: {', '.join(table)}")
        self.problem = Problem(A, alpha, B, f, g)
        self.activation = activation
        self.restored = restored
        W1, step1 = STARTS[start](self.problem, beta)
        self.layers = nn.ModuleList(Layer(self.problem, W1, step1, beta, ACTIVATIONS[activation]) for _ in range(depth))

    def forward(self, X: Tensor, weights: Tensor | None = None) -> list[State]:
        """X (N, m) -> K states, one per layer, with .Z (N, n), .E (N, q), .multiplier (N, m).

        Args:
            weights: (N, m), zero where X is known to be corrupted and else one; None if nothing is known.
        """
        return list(self.iterate(X, self.problem.weighted(weights)))

    def restore(self, state: State) -> Tensor:
        """The restored data (N, m) in a state."""
        return RESTORED[self.restored](state)

    def iterate(self, X: Tensor, problem: Problem | None = None, layers: int | None = None) -> Iterator[State]:
        """Yields the states of `forward` one by one, for whoever need not keep them all.

        Args:
            problem: the network's own, by default, or what its `weighted` makes of it for the batch X.
            layers: how many, by default K; beyond K the last layer is repeated.
        """
        problem = self.problem if problem is None else problem
        state = problem.zero_state(X)
        for number in range(len(self.layers) if layers is None else layers):
            state = self.layer(number)(problem, X, state)
            yield state

    def layer(self, number: int) -> Layer:
        """The layer of that number, from 0; the last one for any number beyond."""
        return self.layers[min(number, len(self.layers) - 1)]
