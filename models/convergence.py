"""Layers that provably converge when they are repeated: by their weights, or by the safeguard."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from models.activations import Proximal
from models.errors import InvalidArgument
from models.layer import DerivedLayer, Layer, ladmm_initialization
from models.operators import Matrix
from models.problem import Problem, State, by_problem

# L_A / ‖A‖₂² and L_B / ‖B‖₂² of the operator T. With L_A = ‖A‖₂² its metric is singular in the direction in which A is
# largest, and with L_B = ‖B‖₂² it is not averaged in E: both have to be larger. See `Metric`.
FACTOR_A, FACTOR_B = 1.05, 2.0


class Metric(NamedTuple):
    """The metric in which a layer with convergent weights converges: D (n,), D2 (q,) and β (m,), all positive.

    If W1 = A D⁻¹, W2 = B D2⁻¹, and η and ζ are the proximal operators of D⁻¹ f and D2⁻¹ g, the layer's map of
    u = (Z, E, λ) to u⁺ is an iteration of proximal ADMM:

        Z⁺ = argmin f(Z) + ⟨λ, A Z⟩ + ½‖A Z + B E − X‖²_β + ½‖Z − Z_k‖²_P,        P  = D − Aᵀ diag(β) A
        E⁺ = argmin g(E) + ⟨λ, B E⟩ + ½‖A Z⁺ + B E − X‖²_β + ½‖E − E_k‖²_P2,      P2 = D2 − Bᵀ diag(β) B
        λ⁺ = λ + β ∘ (A Z⁺ + B E⁺ − X)

    For B = I, D2 is β, and W2 = 1/β belongs to the exact E step. Let P and P2 be positive semidefinite, and

        ‖u‖² = ‖Z‖²_P + ‖E‖²_D2 + ‖λ‖²_{1/β}

    Then the iterates converge to a solution from wherever they start (Fazel, Pong, Sun & Tseng 2013, Theorem B.1), and
    from the second iteration on none leads away from any solution u* (He & Yuan 2012; for B = I, P2 = 0):

        ‖u⁺ − u*‖² + ‖E⁺ − E‖²_P2 <= ‖u − u*‖² + ‖E − E_before‖²_P2 − ‖u⁺ − u‖²

    That diagonal metrics keep the steps cheap is from Pock & Chambolle 2011. For B = I the layer is also a proximal
    point iteration of (Z, μ) with μ = λ − β ∘ (A Z + E − X), the multiplier before, in the metric

        ‖(Z, μ)‖² = ‖Z‖²_D + 2⟨A Z, μ⟩ + ‖μ‖²_{1/β}

    which is positive semidefinite if P is (Chambolle & Pock 2011 of the dual; He & Yuan 2012, Convergence analysis of
    primal-dual algorithms). So it can be relaxed, 0 < ρ < 2, see models.layer.Layer, and from the second iteration on

        ‖u⁺ − u*‖² <= ‖u − u*‖² − (2 − ρ)/ρ ‖u⁺ − u‖²
    """

    D: Tensor
    D2: Tensor
    beta: Tensor

    @classmethod
    def of(cls, layer: Layer) -> "Metric":
        """The metric that belongs to the steps of η and ζ, which are the inverses of D and D2, and to β."""
        return cls(1 / layer.eta.theta.detach(), 1 / layer.e_step.zeta.theta.detach(), layer.beta.detach())

    def distance(self, one: State, other: State) -> Tensor:
        """‖u − v‖ of two states u and v, per row, (N,)."""
        Z, E, multiplier, AZ, _ = ((a - b).square() for a, b in zip(one, other, strict=True))
        terms = Z @ self.D - AZ @ self.beta, E @ self.D2, multiplier @ (1 / self.beta)
        of_Z, *others = (term if term.ndim == 1 else term.flatten(1).sum(dim=1) for term in terms)
        return (of_Z.clamp(min=0) + others[0] + others[1]).sqrt()  # of_Z is negative by rounding alone


class ConvergentLayer(DerivedLayer):
    """A layer with convergent weights, for which the theorem of `Metric` holds: repeated, it converges from any state.

    Learned are the logarithms of D (n,), β (m,) and, if B is not I, D2 (q,), relative to those at the start. They are
    measured from 1, as a tensor's learning rate is relative to its size at the start. D and D2 are scaled so that P and
    P2 are positive semidefinite and no larger than needed, see `_scaled`.

    This departs from the paper (Xie et al. 2019, section 3), which shows that there are weights with which D-LADMM
    converges: here all weights that can be learned are such, but W1 has n degrees of freedom and not m n, and η and ζ
    have to be proximal operators. Metrics that change for ever from layer to layer would have to settle down (He, Liao,
    Han & Yang 2002). As only K layers differ, nothing is asked of them: whatever state they hand on, the last layer
    repeated converges from it.

    The arguments are those of models.layer.Layer. `step1` is D⁻¹ to begin with, but for its scale: with LADMM's the
    untrained layer is LADMM's. W1 does not count. Another activation than `Proximal` raises InvalidArgument, and so
    does an A that is no matrix.
    """

    def __init__(
        self, problem: Problem, W1: Tensor, step1: Tensor, beta: float, activation: type[nn.Module] = Proximal
    ) -> None:
        if activation is not Proximal:
            raise InvalidArgument(f"activation is {activation.__name__}, with convergent weights; allowed: proximal")
        if problem.operator is not Matrix:
            raise InvalidArgument("A is no matrix, with convergent weights; allowed: a matrix")
        super().__init__(Layer(problem, W1, step1, beta, Proximal))
        self.log_beta = nn.Parameter(torch.ones_like(problem.A[:, 0]))
        self.log_D = nn.Parameter(torch.ones_like(step1))
        self.register_buffer("start_D", (1 / step1).clone())
        self.register_buffer("start_beta", problem.A.new_tensor(beta))
        self.register_buffer("direction", _largest_direction(problem.A / self.start_D.sqrt()))
        if problem.B is not None:
            self.log_D2 = nn.Parameter(torch.ones_like(problem.B[0]))
            self.register_buffer("direction2", _largest_direction(problem.B))

    def weights(self, problem: Problem) -> dict[str, Tensor]:
        """See DerivedLayer."""
        beta = self.start_beta * (self.log_beta - 1).exp()
        D = _scaled(self.start_D * (self.log_D - 1).exp(), problem.A, beta, self.direction)
        weights = {"W1": problem.A / D, "beta": beta, "eta.theta": 1 / D}
        if problem.B is None:
            return weights | {"e_step.W2": 1 / beta, "e_step.zeta.theta": 1 / beta}
        D2 = _scaled((self.log_D2 - 1).exp(), problem.B, beta, self.direction2)
        return weights | {"e_step.W2": problem.B / D2, "e_step.zeta.theta": 1 / D2}


def _scaled(D: Tensor, A: Tensor, beta: Tensor, direction: Tensor) -> Tensor:
    """D (n,) times ‖M‖₂² with M = diag(β)^½ A D^-½, which makes D − Aᵀ diag(β) A positive semidefinite.

    Then ‖diag(β)^½ A D^-½‖₂ = 1. Without gradients the norm is exact. With gradients, in training, a step of the power
    iteration turns the unit vector `direction` (m,) to that in which M is largest: ‖M‖₂² is ‖Mᵀ direction‖² then.
    """
    M = beta.sqrt()[:, None] * A / D.sqrt()
    if not torch.is_grad_enabled():
        return D * torch.linalg.matrix_norm(M, 2) ** 2
    with torch.no_grad():
        direction.copy_(normalize(M @ (direction @ M), dim=0))
    return D * (direction.clone() @ M).square().sum()  # a clone, as the next call turns it while this one's graph lives


def _largest_direction(M: Tensor) -> Tensor:
    """The unit vector u (m,) with the largest ‖Mᵀ u‖."""
    return torch.linalg.svd(M, full_matrices=False).U[:, 0].contiguous()


class Safeguarded(NamedTuple):
    """The result of a layer of the safeguarded network."""

    state: State
    replaced: Tensor  # (N,) bool: whether the patch has LADMM's update in place of the layer's


def averaged_ladmm(problem: Problem, beta: float) -> Layer:
    """LADMM as an averaged operator T of u = (Z, E, λ) in its `Metric`, for a penalty β > 0.

    Repeating T is a Krasnosel'skii–Mann iteration, which converges to a fixed point. ‖u − T(u)‖ is zero only at the
    fixed points of T, which are the optima.
    """
    return Layer(problem, *ladmm_initialization(problem, beta, FACTOR_A), beta, Proximal, FACTOR_B)


@torch.no_grad()
def safeguarded(
    network: nn.Module, X: Tensor, layers: int, beta: float, mask: Tensor | None = None,
    decrease: float = 0.9, smoothing: float = 0.5,
) -> Iterator[Safeguarded]:  # fmt: skip
    """Runs so many layers of a models.DLADMM, and replaces a layer's update by LADMM's where it makes no progress.

    X is (N, m); mask: see Problem.known. The last layer is repeated beyond the network's depth. This is Safe-L2O of
    Heaton, Chen, Wang & Yin (AAAI 2023, Algorithm 2) with the exponential moving average. With S(u) = u − T(u) for the
    averaged LADMM operator T, and y the layer's update of u, patch by patch:

        u⁺ = y if ‖S(y)‖ <= decrease · μ, else T(u)
        μ⁺ = smoothing · ‖S(y)‖ + (1 − smoothing) · μ if u⁺ = y, else μ;      μ starts as ‖S(0)‖

    The penalty β > 0 is that of T, `decrease` the paper's α in [0, 1), `smoothing` its θ in (0, 1]. If the layers'
    updates are accepted for ever, μ and with it the residual go to zero. If only finitely many are accepted, the rest
    is LADMM. Either way it converges to the optimum, whatever the network and X are.
    """
    problem = network.problem
    X, mask = problem.data(X), problem.known(mask)
    T = averaged_ladmm(problem, beta)
    distance, state = Metric.of(T).distance, problem.zero_state(X, mask)
    fallback = T(problem, X, state, mask)
    mu = distance(state, fallback)
    for number in range(layers):
        update = network.layer(number)(problem, X, state, mask)
        next_of_update = T(problem, X, update, mask)
        residual = distance(update, next_of_update)
        accepted = residual <= decrease * mu  # false for an update that is not a number
        state = _choose(accepted, update, fallback)
        mu = torch.where(accepted, smoothing * residual + (1 - smoothing) * mu, mu)
        fallback = _choose(accepted, next_of_update, T(problem, X, state, mask))
        yield Safeguarded(state, ~accepted)


def _choose(condition: Tensor, one: State, other: State) -> State:
    """Row by row, one state where the condition holds and the other elsewhere."""
    return State(*(torch.where(by_problem(condition, a), a, b) for a, b in zip(one, other, strict=True)))
