"""Claims about the mathematics: the iteration, its proximal operators, its optimum, its gradients."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize_scalar
from torch import nn

from models import DLADMM, Problem, ladmm
from models.activations import ACTIVATIONS
from models.functions import L1, soft_threshold
from models.losses import LOSSES
from models.starts import STARTS

M, N_ATOMS, Q, PATCHES, ALPHA, BETA = 6, 9, 4, 7, 0.4, 0.7


@pytest.fixture
def A():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(M, N_ATOMS)))


@pytest.fixture
def X():
    return torch.from_numpy(np.random.default_rng(1).normal(size=(PATCHES, M)))


@pytest.fixture
def B():
    return torch.from_numpy(np.random.default_rng(2).normal(size=(M, Q)))


def numpy_ladmm(A, B, x, alpha, beta, iterations):
    """LADMM for one column x, written from Lin, Liu & Su (2011): Z, E and λ after every iteration."""

    def prox_of_l1(v, t):
        return np.sign(v) * np.maximum(np.abs(v) - t, 0)

    L_A, L_B = np.linalg.norm(A, 2) ** 2, np.linalg.norm(B, 2) ** 2
    Z, E, multiplier = np.zeros(A.shape[1]), np.zeros(B.shape[1]), np.zeros(len(x))
    trace = []
    for _ in range(iterations):
        T = A @ Z + B @ E - x
        Z = prox_of_l1(Z - A.T @ (multiplier + beta * T) / (beta * L_A), alpha / (beta * L_A))
        T_hat = A @ Z + B @ E - x
        E = prox_of_l1(E - B.T @ (multiplier + beta * T_hat) / (beta * L_B), 1 / (beta * L_B))
        multiplier = multiplier + beta * (A @ Z + B @ E - x)
        trace.append((Z, E, multiplier))
    return trace


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 15])
def test_fresh_network_and_solver_are_ladmm(A, B, X, depth, identity):
    network = DLADMM(A, depth, ALPHA, B=None if identity else B, beta=BETA)
    solver = ladmm(network.problem, X, BETA)
    expected = [numpy_ladmm(A.numpy(), np.eye(M) if identity else B.numpy(), x, ALPHA, BETA, depth) for x in X.numpy()]
    for layer, (state, iterate) in enumerate(zip(network(X), solver, strict=False)):
        for ours in (state, iterate):
            for i, name in enumerate(("Z", "E", "multiplier")):
                reference = np.stack([trace[layer][i] for trace in expected])
                np.testing.assert_allclose(getattr(ours, name).detach(), reference, rtol=1e-10, atol=1e-12)


def test_identity_given_as_matrix_is_the_identity(A, X):
    given, default = DLADMM(A, 3, ALPHA, B=torch.eye(M).double()), DLADMM(A, 3, ALPHA)
    assert torch.equal(given(X)[-1].E, default(X)[-1].E)


def test_state_carries_A_Z_and_the_residual(A, B, X):
    for state in DLADMM(A, 3, ALPHA, B=B)(X):
        torch.testing.assert_close(state.AZ, state.Z @ A.T)
        torch.testing.assert_close(state.residual, state.Z @ A.T + state.E @ B.T - X)


@pytest.mark.parametrize("start", STARTS)
def test_patches_do_not_depend_on_their_batch(A, X, start):
    network = DLADMM(A, 4, ALPHA, start=start)
    alone = torch.cat([network(x[None])[-1].Z for x in X])
    torch.testing.assert_close(network(X)[-1].Z, alone)


@pytest.mark.parametrize("v", [-2.0, -0.5, 0.0, 0.2, 0.50001, 3.0])
@pytest.mark.parametrize("theta", [0.0, 0.5, 1.7])
def test_soft_threshold_minimises_its_proximal_problem(v, theta):
    brute = minimize_scalar(lambda u: theta * abs(u) + (u - v) ** 2 / 2, bounds=(-4, 4), options={"xatol": 1e-10}).x
    assert soft_threshold(torch.tensor(v), theta).item() == pytest.approx(brute, abs=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_start_as_the_proximal_operator_and_keep_thresholds_positive(name):
    theta = torch.full((5,), 0.3)
    activation = ACTIVATIONS[name](theta)
    v = torch.linspace(-1, 1, 20).reshape(4, 5)
    expected = v.sign() * (v.abs() - 0.3).clamp(min=0)
    torch.testing.assert_close(activation(v), expected)
    for parameter in activation.parameters():
        parameter.data *= -1
    torch.testing.assert_close(activation(v), expected)


def test_an_activation_of_ones_own_goes_into_every_layer(A, X, monkeypatch):
    class Identity(nn.Module):
        def __init__(self, theta):
            super().__init__()

        def forward(self, v):
            return v

    monkeypatch.setitem(ACTIVATIONS, "identity", Identity)
    state = DLADMM(A, 2, ALPHA, beta=BETA, activation="identity")(X)[0]
    torch.testing.assert_close(state.Z, X @ A / torch.linalg.matrix_norm(A, 2) ** 2)


def test_pseudo_inverse_start_is_the_preconditioned_gradient(A):
    ridge = 0.2
    W1, theta1 = STARTS["pseudo_inverse"](Problem(A, ALPHA), BETA)
    a = A.numpy()
    P = BETA * (a.T @ a + ridge * np.linalg.norm(a, 2) ** 2 * np.eye(N_ATOMS))
    np.testing.assert_allclose(W1.T, np.linalg.solve(P, a.T))
    np.testing.assert_allclose(theta1, ALPHA * np.diag(np.linalg.inv(P)))


def optimum(A, x, alpha):
    """min alpha |z|_1 + |x - A z|_1 as a linear program in (z+, z-, e+, e-), solved by HiGHS."""
    m, n = A.shape
    costs = np.concatenate([np.full(2 * n, alpha), np.ones(2 * m)])
    return linprog(costs, A_eq=np.hstack([A, -A, np.eye(m), -np.eye(m)]), b_eq=x, method="highs").fun


def test_ladmm_reaches_the_optimum_of_the_linear_program(A, X):
    problem = Problem(A, ALPHA)
    state = next(islice(ladmm(problem, X, BETA), 20_000, None))
    expected = [optimum(A.numpy(), x, ALPHA) for x in X.numpy()]
    np.testing.assert_allclose(problem.objective(state.Z, X), expected, rtol=1e-6)
    np.testing.assert_allclose(problem.dual_objective(state.multiplier, X), expected, rtol=1e-6)
    np.testing.assert_allclose(problem.gap(state.Z, state.multiplier, X), 0, atol=1e-5)


def test_objectives_bracket_the_optimum_wherever_they_are_taken(A, X):
    problem = Problem(A, ALPHA)
    expected = np.array([optimum(A.numpy(), x, ALPHA) for x in X.numpy()])
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1, 1e3):
        Z = scale * torch.randn(PATCHES, N_ATOMS, generator=generator).double()
        multiplier = scale * torch.randn(PATCHES, M, generator=generator).double()
        assert (problem.objective(Z, X).numpy() >= expected - 1e-9).all()
        assert (problem.dual_objective(multiplier, X).numpy() <= expected + 1e-9).all()
        assert (problem.gap(Z, multiplier, X) >= 0).all()


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_agree_with_finite_differences(A, B, X, activation, identity):
    network = DLADMM(A, 3, ALPHA, B=None if identity else B, beta=BETA, activation=activation)
    names, values = zip(
        *((name, p.detach().clone().requires_grad_()) for name, p in network.named_parameters()), strict=True
    )

    def last_state(*parameters):
        state = torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), X[:2])[-1]
        return state.Z, state.E, state.multiplier

    assert {name.split(".", 2)[2] for name in names} == {"W1", "beta", "eta.theta", "e_step.W2", "e_step.zeta.theta"}
    assert torch.autograd.gradcheck(last_state, values)


def test_losses_agree_with_numpy(A, X):
    problem = Problem(A, ALPHA)
    state = DLADMM(A, 2, ALPHA, beta=BETA)(X)[-1]
    a, x, Z, E, multiplier = (t.detach().numpy() for t in (A, X, state.Z, state.E, state.multiplier))

    def q(v, t):
        return np.log1p(np.exp(v - t)) + np.log1p(np.exp(-v - t))

    primal = ALPHA * np.abs(Z).sum(1) + np.abs(x - Z @ a.T).sum(1)
    scaled = [lam / max(1, np.abs(lam).max(), np.abs(a.T @ lam).max() / ALPHA) for lam in multiplier]
    dual = np.array([-(lam @ row) for lam, row in zip(scaled, x, strict=True)])
    authors = ALPHA * np.abs(Z).mean(1) + np.abs(E).mean(1) + (multiplier * x).mean(1)
    authors += q(multiplier @ a, ALPHA).mean(1) + q(multiplier, 1).mean(1)
    for name, expected in {"objective": primal, "gap": primal - dual, "relaxed": authors}.items():
        np.testing.assert_allclose(LOSSES[name](problem, state, X).detach(), expected, err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"beta": -1.0}, "beta is -1.0"),
        ({"alpha": 0.0}, "is 0.0; allowed: > 0"),
        ({"start": "warm"}, "start is 'warm'; allowed: ladmm"),
        ({"activation": "relu"}, "activation is 'relu'; allowed: soft_threshold"),
        ({"A": torch.zeros(3, 4)}, "A has shape"),
        ({"A": torch.full((3, 4), torch.nan)}, "A has shape"),
        ({"B": torch.ones(2, 2)}, "B has 2 rows"),
    ],
)
def test_arguments_outside_what_is_allowed_are_refused(A, arguments, message):
    with pytest.raises(ValueError, match=message):
        DLADMM(**{"A": A, "depth": 2, "alpha": ALPHA} | arguments)


def test_certificates_are_refused_where_they_would_not_hold(A, B, X):
    problem = Problem(A, ALPHA, B)
    with pytest.raises(NotImplementedError, match="allowed: B = identity"):
        problem.gap(torch.zeros(PATCHES, N_ATOMS), X, X)


def test_conjugate_scale_is_the_smallest_that_is_feasible():
    w = torch.tensor([[0.1, -0.2], [3.0, -1.0]])
    torch.testing.assert_close(L1(0.5).conjugate_scale(w), torch.tensor([1.0, 6.0]))
