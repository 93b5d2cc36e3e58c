"""Claims about the mathematics: the iteration, its proximal operators, its optimum, its gradients."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.stats import norm
from torch import nn

from data.patches import overlap_weights
from models import DLADMM, Problem, ladmm
from models.activations import ACTIVATIONS, Adaptive, PiecewiseLinear
from models.errors import InvalidArgument
from models.functions import L1, L21, Box, NonNegativeL1, SquaredL2, WeightedL1
from models.initialization import INITIALIZATIONS
from models.losses import LOSSES, pick_loss
from tests.helpers import numpy_ladmm

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


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 15])
def test_untrained_network_and_solver_are_ladmm(A, B, X, depth, identity):
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


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_patches_do_not_depend_on_their_batch(A, X, initialization):
    network = DLADMM(A, 4, ALPHA, initialization=initialization)
    alone = torch.cat([network(x[None])[-1].Z for x in X])
    torch.testing.assert_close(network(X)[-1].Z, alone)


STEPS = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
SOME_WEIGHTS = torch.tensor([0.6, 0.0, 0.3, 1.0, 0.5])


@pytest.mark.parametrize(
    ("function", "weights"), [(L1(0.6), 0.6), (WeightedL1(SOME_WEIGHTS), SOME_WEIGHTS)], ids=["l1", "weighted_l1"]
)
@pytest.mark.parametrize("name", ["proximal", "piecewise_linear", "adaptive"])
def test_activations_start_as_the_soft_threshold_of_every_coordinate(name, function, weights):
    v = torch.linspace(-2, 2, 40).reshape(8, 5)
    expected = v.sign() * (v.abs() - STEPS * weights).clamp(min=0)
    torch.testing.assert_close(ACTIVATIONS[name](function, STEPS)(v, function), expected)


@pytest.mark.parametrize("function", [NonNegativeL1(0.6), SquaredL2(0.6), L21(0.6, group=5)], ids=["l1+", "l2", "l21"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_start_as_the_proximal_operator(name, function):
    activation = ACTIVATIONS[name](function, torch.full((5,), 0.5))
    v = torch.linspace(-1, 1, 20).reshape(4, 5)
    torch.testing.assert_close(activation(v, function), function.prox(v, 0.5))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_learned_steps_stay_positive(name):
    activation = ACTIVATIONS[name](L1(0.6), torch.full((5,), 0.5))
    v = torch.linspace(-1, 1, 20).reshape(4, 5)
    before = activation(v, L1(0.6))
    activation.theta.data *= -1
    torch.testing.assert_close(activation(v, L1(0.6)), before)


def learned_at_random(function):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        activation = PiecewiseLinear(function, torch.full((5,), 0.5))
        for parameter in activation.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).double()
        yield activation


def test_piecewise_linear_activation_is_odd_and_monotone_whatever_was_learned():
    v = torch.linspace(-3, 3, 601).double()[:, None].expand(-1, 5)
    for activation in learned_at_random(L1(0.6)):
        learned = activation(v, L1(0.6))
        torch.testing.assert_close(learned, -activation(-v, L1(0.6)))
        assert (learned.diff(dim=0) >= -1e-12).all()


def test_piecewise_linear_activation_stays_non_negative_where_the_function_needs_it():
    v = torch.linspace(-3, 3, 601)[:, None].expand(-1, 5)
    for activation in learned_at_random(NonNegativeL1(0.6)):
        assert (activation(v, NonNegativeL1(0.6)) >= 0).all()


def test_piecewise_linear_activation_has_its_slopes_between_its_knots():
    activation = PiecewiseLinear(L1(2.0), torch.tensor([0.25, 0.5]))
    slopes = np.array([[0.1, 0.3, 0.4, 0.5], [2.0, 0.0, 1.5, 1.0]])
    activation.slopes.data = torch.from_numpy(slopes.T).float()
    v = np.linspace(-5, 5, 41)
    ours = activation(torch.from_numpy(v)[:, None].float().expand(-1, 2), L1(2.0)).detach().numpy()
    for coordinate, threshold in enumerate((0.5, 1.0)):
        knots = threshold * np.array([0, 0.5, 1, 2, 4, 6])
        values = np.concatenate([[0, 0], np.cumsum(slopes[coordinate] * np.diff(knots)[1:])])
        expected = np.sign(v) * np.interp(np.abs(v), knots, values)
        inside = np.abs(v) <= knots[-1]
        np.testing.assert_allclose(ours[inside, coordinate], expected[inside], atol=1e-6)


def test_a_slope_below_zero_counts_as_zero_and_can_come_back():
    activation = PiecewiseLinear(L1(1.0), torch.ones(1))
    activation.slopes.data[1] = -0.5
    value = activation(torch.tensor([[1.5]]), L1(1.0))
    value.backward()
    assert value == 0 and activation.slopes.grad[1] == 0.5


@pytest.mark.parametrize("name", ["piecewise_linear", "adaptive"])
def test_piecewise_linear_activations_are_refused_for_a_box(name):
    with pytest.raises(ValueError, match="for a Box; allowed: a function with a step"):
        DLADMM(torch.eye(2), 1, f=Box(1.0), activation=name)


def test_adaptive_steps_grow_with_the_median_of_a_row():
    activation = Adaptive(L1(2.0), torch.tensor([0.25, 0.5, 1.0]))
    activation.spread.data = torch.tensor([1.5, 1.0, 0.2])
    rows = torch.tensor([[0.1, -0.2, 4.0], [-3.0, 0.0, 2.0]])
    expected = torch.tensor([[0.25 + 0.5 * 0.2, 0.5, 1.0 - 0.8 * 0.2], [0.25 + 0.5 * 2, 0.5, 0.0]])
    torch.testing.assert_close(activation.steps(rows), expected)
    thresholds = 2 * expected  # at the start, slopes are those of the soft threshold
    torch.testing.assert_close(activation(rows, L1(2.0)), rows.sign() * (rows.abs() - thresholds).clamp(min=0))


def test_an_adaptive_activation_without_steps_of_its_own_scales_with_its_rows():
    activation = Adaptive(L1(0.6), torch.zeros(5))
    activation.spread.data += torch.rand(5, generator=torch.Generator().manual_seed(0))
    v = torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(activation(7 * v, L1(0.6)), 7 * activation(v, L1(0.6)))


def test_an_activation_of_ones_own_goes_into_every_layer(A, X, monkeypatch):
    class Identity(nn.Module):
        def __init__(self, function, step):
            super().__init__()

        def forward(self, v, function):
            return v

    monkeypatch.setitem(ACTIVATIONS, "identity", Identity)
    state = DLADMM(A, 2, ALPHA, beta=BETA, activation="identity")(X)[0]
    torch.testing.assert_close(state.Z, X @ A / torch.linalg.matrix_norm(A, 2) ** 2)


def test_pseudo_inverse_initialization_is_the_preconditioned_gradient(A):
    ridge = 0.2
    W1, steps = INITIALIZATIONS["pseudo_inverse"](Problem(A, ALPHA), BETA)
    a = A.numpy()
    P = BETA * (a.T @ a + ridge * np.linalg.norm(a, 2) ** 2 * np.eye(N_ATOMS))
    np.testing.assert_allclose(W1.T, np.linalg.solve(P, a.T))
    np.testing.assert_allclose(steps, np.diag(np.linalg.inv(P)))


def linear_program(A, B, x, f_weights, g_weights, f_low=None):
    """min Σ f_weightsᵢ |zᵢ| + Σ g_weightsᵢ |eᵢ| s.t. A z + B e = x (f_low = 0: z >= 0), by HiGHS."""
    n, q = A.shape[1], B.shape[1]
    costs = np.concatenate([f_weights, f_weights, g_weights, g_weights])
    bounds = [(0, None)] * n + [(0, f_low)] * n + [(0, None)] * (2 * q)
    result = linprog(costs, A_eq=np.hstack([A, -A, B, -B]), b_eq=x, bounds=bounds, method="highs")
    return result.fun


def box_program(A, B, x, bound, g_weights):
    """min Σ g_weightsᵢ |eᵢ| s.t. A z + B e = x, |zᵢ| <= bound, by HiGHS."""
    n, q = A.shape[1], B.shape[1]
    costs = np.concatenate([np.zeros(n), g_weights, g_weights])
    bounds = [(-bound, bound)] * n + [(0, None)] * (2 * q)
    return linprog(costs, A_eq=np.hstack([A, B, -B]), b_eq=x, bounds=bounds, method="highs").fun


def quadratic_program(A, B, x, f_weight, g_weight):
    """min ½ f_weight |z|² + ½ g_weight |e|² s.t. A z + B e = x, in closed form."""
    K = A @ A.T / f_weight + B @ B.T / g_weight
    return x @ np.linalg.solve(K, x) / 2


def group_lasso(A, B, x, f_weight, g_weight):
    """min f_weight Σ ‖z_G‖₂ + ½ g_weight |e|² for groups of three and B = I, by proximal gradient steps."""
    z, step = np.zeros(A.shape[1]), 1 / (g_weight * np.linalg.norm(A, 2) ** 2)
    for _ in range(20_000):
        v = (z - step * g_weight * A.T @ (A @ z - x)).reshape(-1, 3)
        norms = np.linalg.norm(v, axis=1, keepdims=True)
        z = (v * np.maximum(1 - step * f_weight / norms, 0)).ravel()
    return f_weight * np.linalg.norm(z.reshape(-1, 3), axis=1).sum() + g_weight / 2 * np.sum((A @ z - x) ** 2)


def known_mask(seed=5):
    """A third of the positions are known to be corrupted, others in every row."""
    return torch.from_numpy(np.random.default_rng(seed).random((PATCHES, M)) > 1 / 3).double()


def test_ladmm_solves_the_problem_with_known_positions_and_certifies_it(A, X):
    mask = known_mask()
    problem = Problem(A, ALPHA).masked(mask)
    with torch.no_grad():
        state = next(islice(ladmm(problem, X, BETA), 20_000, None))
    objective, dual = problem.objective(state, X), problem.dual_objective(state, X)
    for row in range(PATCHES):
        optimum = linear_program(A.numpy(), np.eye(M), X[row].numpy(), np.full(N_ATOMS, ALPHA), mask[row].numpy())
        assert dual[row] - 1e-9 <= optimum <= objective[row] + 1e-9
        assert objective[row] == pytest.approx(optimum, rel=1e-5) and dual[row] == pytest.approx(optimum, rel=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_at_positions_known_to_be_corrupted_do_not_matter(A, X, activation):
    mask, other = known_mask(), torch.where(known_mask() == 0, 7.0, X)
    network = DLADMM(A, 3, ALPHA, beta=BETA, activation=activation)
    for parameter in network.parameters():
        parameter.data *= 1 + 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)).double()
    problem = network.problem.masked(mask)
    ours = zip(network(X, mask), network(other, mask), strict=True)
    solvers = zip(islice(ladmm(problem, X, BETA), 5), ladmm(problem, other, BETA), strict=False)
    for one, two in (*ours, *solvers):
        torch.testing.assert_close(one.Z, two.Z)
        assert (one.multiplier[mask == 0] == 0).all()
        torch.testing.assert_close(problem.objective(one, X), problem.objective(two, other))
        torch.testing.assert_close(problem.gap(one, X), problem.gap(two, other))
        assert torch.isfinite(problem.gap(one, X)).all() and (problem.gap(one, X) >= 0).all()


def test_a_mask_of_ones_changes_nothing(A, X):
    network = DLADMM(A, 3, ALPHA, beta=BETA, activation="piecewise_linear")
    for one, two in zip(network(X), network(X, torch.ones_like(X)), strict=True):
        assert all(map(torch.equal, one, two))


def test_at_positions_known_to_be_corrupted_E_is_what_A_Z_leaves_of_the_data(A, X):
    mask, network = known_mask(), DLADMM(A, 2, ALPHA, beta=BETA)
    problem = network.problem.masked(mask)
    for state in (problem.zero_state(X), *network(X, mask), next(ladmm(problem, X, BETA))):
        torch.testing.assert_close(state.E[mask == 0], (X - state.Z @ A.T)[mask == 0])
        torch.testing.assert_close(state.residual, state.Z @ A.T + state.E - X)


def test_a_mask_keeps_the_weight_of_g(A, X):
    mask, Z = known_mask(), torch.ones(PATCHES, N_ATOMS).double()
    problem = Problem(A, ALPHA, g=L1(2.5)).masked(mask)
    objective = problem.objective(problem.state(Z, torch.zeros_like(X), X, X), X)
    expected = ALPHA * N_ATOMS + 2.5 * (mask * (X - A.sum(dim=1)).abs()).sum(dim=1)
    torch.testing.assert_close(objective, expected)


@pytest.mark.parametrize("parts", [{"g": SquaredL2(1.0)}, {"B": torch.ones(M, 2)}])
def test_a_mask_is_refused_where_it_has_no_meaning(A, X, parts):
    with pytest.raises(ValueError, match="positions are known, which is for g = l1 and B = I"):
        DLADMM(A, 1, ALPHA, **parts)(X, torch.ones_like(X))


@pytest.mark.parametrize("B", [None, torch.ones(M, 2).double()])
def test_restored_data_are_a_z_or_what_is_left_without_the_corruption(A, X, B):
    for restored, expected in (("AZ", lambda s: s.Z @ A.T), ("X-BE", lambda s: X - (s.E if B is None else s.E @ B.T))):
        network = DLADMM(A, 2, ALPHA, B=B, beta=BETA, restored=restored)
        state = network(X)[-1]
        torch.testing.assert_close(network.restore(state), expected(state))
    with pytest.raises(ValueError, match="restored is 'Z'; allowed: AZ, X-BE"):
        DLADMM(A, 2, ALPHA, restored="Z")


WEIGHTS = np.linspace(0.2, 1.0, N_ATOMS)
WIDE = 8  # columns of a B with which every X can be reached
# name: (f, g, with B = I?, the optimum by a solver of another kind)
PROBLEMS = {
    "l1 + l1": (L1(0.4), L1(), True, lambda A, B, x: linear_program(A, B, x, np.full(N_ATOMS, 0.4), np.ones(M))),
    "l1 + l1, B": (L1(0.4), L1(), False, lambda A, B, x: linear_program(A, B, x, np.full(N_ATOMS, 0.4), np.ones(WIDE))),
    "weighted l1 + l1": (
        WeightedL1(torch.from_numpy(WEIGHTS)), L1(), True, lambda A, B, x: linear_program(A, B, x, WEIGHTS, np.ones(M)),
    ),
    "non-negative l1 + l1": (
        NonNegativeL1(0.4), L1(), True, lambda A, B, x: linear_program(A, B, x, np.full(N_ATOMS, 0.4), np.ones(M), 0),
    ),
    "box + l1": (Box(0.2), L1(), True, lambda A, B, x: box_program(A, B, x, 0.2, np.ones(M))),
    "l2 + l2, B": (SquaredL2(0.5), SquaredL2(2.0), False, lambda A, B, x: quadratic_program(A, B, x, 0.5, 2.0)),
    "l21 + l2": (L21(0.8, group=3), SquaredL2(2.0), True, lambda A, B, x: group_lasso(A, B, x, 0.8, 2.0)),
}  # fmt: skip


def problem_and_optima(name, A, X):
    f, g, identity, optimum = PROBLEMS[name]
    B = torch.eye(M).double() if identity else torch.from_numpy(np.random.default_rng(3).normal(size=(M, WIDE)))
    expected = np.array([optimum(A.numpy(), B.numpy(), x) for x in X.numpy()])
    return Problem(A, B=B, f=f, g=g), expected


@pytest.mark.parametrize("name", PROBLEMS)
def test_ladmm_reaches_the_optimum_that_another_solver_finds(name, A, X):
    problem, expected = problem_and_optima(name, A, X)
    state = next(islice(ladmm(problem, X, BETA), 20_000, None))
    np.testing.assert_allclose(problem.objective(state, X), expected, rtol=1e-5)
    np.testing.assert_allclose(problem.dual_objective(state, X), expected, rtol=1e-5)
    np.testing.assert_allclose(problem.gap(state, X), 0, atol=1e-4)


@pytest.mark.parametrize("name", PROBLEMS)
def test_certificates_bracket_the_optimum_wherever_they_are_taken(name, A, X):
    problem, expected = problem_and_optima(name, A, X)
    generator = torch.Generator().manual_seed(0)
    _, n, q = problem.sizes
    for scale in (1e-3, 0.1, 1, 1e3):
        Z, E, multiplier = (scale * torch.randn(PATCHES, k, generator=generator).double() for k in (n, q, M))
        state = problem.state(Z, E, multiplier, X)
        tolerance = 1e-9 * (1 + scale**2)
        assert (problem.objective(state, X).numpy() >= expected - tolerance).all()
        assert (problem.dual_objective(state, X).numpy() <= expected + tolerance).all()
        assert (problem.gap(state, X) >= 0).all()


POLYHEDRAL = {  # (f or g, its weights, lowest and highest value of a coordinate)
    "l1": (L1(0.6), 0.6, -np.inf, np.inf),
    "weighted_l1": (lambda n: WeightedL1(torch.linspace(0.2, 1, n).double()), None, -np.inf, np.inf),
    "non_negative_l1": (NonNegativeL1(0.6), 0.6, 0, np.inf),
    "box": (Box(0.5), 0.0, -0.5, 0.5),
}
B_MATRICES = {
    "identity": np.eye(M),
    "wide": np.random.default_rng(3).normal(size=(M, 8)),
    "square": np.random.default_rng(4).normal(size=(M, M)),
    "narrow": np.random.default_rng(5).normal(size=(M, 2)),
}


def built(name, n):
    """A function of n coordinates with the costs and bounds that make it a linear program in (v⁺, v⁻), v = v⁺ − v⁻."""
    function, weight, low, high = POLYHEDRAL[name]
    weights = np.linspace(0.2, 1, n) if weight is None else np.full(n, weight)
    function = function(n) if weight is None else function
    return function, np.concatenate([weights, weights]), [(0, max(high, 0))] * n + [(0, max(-low, 0))] * n


def allowed(f, g, B):
    """Whether certificates are promised, from what is said in Problem.feasible_point."""
    full = np.linalg.matrix_rank(B) == M
    if f in ("non_negative_l1", "box"):
        return g not in ("non_negative_l1", "box") and full
    return True  # A has full row rank


@pytest.mark.parametrize("b", B_MATRICES)
@pytest.mark.parametrize("g", POLYHEDRAL)
@pytest.mark.parametrize("f", POLYHEDRAL)
def test_certificates_of_every_pair_enclose_the_optimum_of_a_linear_program(f, g, b, A, X):
    B = B_MATRICES[b]
    (f_function, f_costs, f_bounds), (g_function, g_costs, g_bounds) = built(f, N_ATOMS), built(g, B.shape[1])
    problem = Problem(A, B=None if b == "identity" else torch.from_numpy(B), f=f_function, g=g_function)
    X = X[:3]
    state = next(islice(ladmm(problem, X, BETA), 1500, None))
    if not allowed(f, g, B):
        with pytest.raises(InvalidArgument, match="certificates need"):
            problem.gap(state, X)
        return
    equal = np.hstack([A.numpy(), -A.numpy(), B, -B])
    early = next(islice(ladmm(problem, X, BETA), 5, None))
    for row, x in enumerate(X.numpy()):
        found = linprog(
            np.concatenate([f_costs, g_costs]), A_eq=equal, b_eq=x, bounds=f_bounds + g_bounds, method="highs"
        )
        if found.status == 2:  # no feasible point in the domains
            continue
        for each in (early, state):
            assert problem.dual_objective(each, X)[row] <= found.fun + 1e-7
            assert found.fun <= problem.objective(each, X)[row] + 1e-7
        assert torch.isfinite(problem.objective(state, X)[row])
        assert problem.objective(state, X)[row] == pytest.approx(found.fun, rel=0.02, abs=1e-2)


def test_a_problem_leaves_the_functions_of_its_caller_as_they_were(A):
    f, g = WeightedL1(torch.ones(N_ATOMS)), WeightedL1(torch.ones(M))
    double, single = Problem(A, f=f, g=g), Problem(A.float(), f=f, g=g)
    assert f.weight.dtype == g.weight.dtype == torch.float32
    assert double.f.weight.dtype == torch.float64 and single.f.weight.dtype == torch.float32


def test_the_loss_of_the_authors_is_for_the_weights_that_it_is_written_for(A):
    with pytest.raises(InvalidArgument, match="allowed: f = l1, g = l1 of weight 1"):
        pick_loss("relaxed", "this", (), Problem(A, ALPHA, g=L1(2.0)))


@pytest.mark.parametrize("identity", [True, False])
def test_feasible_points_fulfil_the_constraint(A, X, identity):
    B = None if identity else torch.from_numpy(np.random.default_rng(3).normal(size=(M, WIDE)))
    problem = Problem(A, ALPHA, B)
    Z, E = torch.ones(PATCHES, N_ATOMS).double(), torch.ones(PATCHES, problem.sizes[2]).double()
    Z, E = problem.feasible_point(problem.state(Z, E, X, X), X)
    torch.testing.assert_close(problem.apply_A(Z) + problem.apply_B(E), X)


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_agree_with_finite_differences(A, B, X, activation, identity):
    network = DLADMM(A, 3, ALPHA, B=None if identity else B, beta=BETA, activation=activation)
    names, values = zip(
        *((name, (p.detach() + 0.01).requires_grad_()) for name, p in network.named_parameters()), strict=True
    )

    def last_state(*parameters):
        state = torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), X[:2])[-1]
        return state.Z, state.E, state.multiplier

    learned = {name.split(".", 2)[2] for name in names}
    assert learned >= {"W1", "beta", "eta.theta", "e_step.W2", "e_step.zeta.theta"}
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
        np.testing.assert_allclose(LOSSES[name].value(problem, state, X).detach(), expected, err_msg=name)
    observed, trusted = torch.flip(X, (0,)), (torch.flip(X, (1,)) > 0).float()
    errors = np.abs(x - E - observed.numpy())
    for name, targets, weights in (
        ("absolute_error", (observed,), 1),
        ("error_where_trusted", (observed, trusted), trusted.numpy()),
    ):
        value = LOSSES[name].value(problem, state, X, *targets).detach()
        np.testing.assert_allclose(value, (weights * errors).sum(1), rtol=1e-5, err_msg=name)


def test_central_error_counts_pixels_as_they_count_where_patches_overlap():
    problem, X = Problem(torch.eye(256), ALPHA), torch.zeros(256, 256)
    errors = LOSSES["central_error"].value(problem, problem.zero_state(X), X, torch.eye(256)).reshape(16, 16)
    along = norm.pdf(np.arange(16), 7.5, 4)
    expected = np.outer(along, along)
    np.testing.assert_allclose(errors, np.sqrt(expected / expected.mean() + 1e-4), rtol=1e-5)
    weights = overlap_weights(16)
    np.testing.assert_allclose(errors.square() - 1e-4, torch.outer(weights, weights), rtol=1e-4)
    trusted = (torch.arange(256) % 3 > 0).float()
    where_trusted = LOSSES["central_error_where_trusted"].value(
        problem, problem.zero_state(X), X, torch.eye(256), trusted.expand(256, 256)
    )
    expected = (trusted * (errors.flatten() ** 2 - 1e-4) + 1e-4).sqrt()
    np.testing.assert_allclose(where_trusted, expected, rtol=1e-4)


@pytest.mark.parametrize(("name", "targets"), [("objective", ("clean",)), ("absolute_error", ()), ("mse", ())])
def test_a_loss_that_does_not_fit_its_samples_is_refused(A, name, targets):
    with pytest.raises(ValueError, match=f"loss is {name}; allowed for this training: "):
        pick_loss(name, "this", targets, Problem(A, ALPHA))


def test_the_default_loss_is_the_first_that_fits_the_samples(A):
    assert pick_loss("auto", "this", (), Problem(A, ALPHA)) is LOSSES["objective"]
    assert pick_loss("auto", "this", ("clean",), Problem(A, ALPHA)) is LOSSES["absolute_error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"beta": -1.0}, "beta is -1.0"),
        ({"alpha": 0.0}, "is 0.0; allowed: a finite number > 0"),
        ({"alpha": None}, "alpha is None and f is None; allowed: one of the two"),
        ({"f": L1(1.0)}, "allowed: one of the two"),
        ({"initialization": "warm"}, "initialization is 'warm'; allowed: ladmm"),
        ({"activation": "relu"}, "activation is 'relu'; allowed: proximal"),
        ({"A": torch.zeros(3, 4)}, "A has shape"),
        ({"A": torch.full((3, 4), torch.nan)}, "A has shape"),
        ({"B": torch.ones(2, 2)}, "B has 2 rows"),
    ],
)
def test_arguments_outside_what_is_allowed_are_refused(A, arguments, message):
    with pytest.raises(ValueError, match=message):
        DLADMM(**{"A": A, "depth": 2, "alpha": ALPHA} | arguments)


def test_objective_is_exact_where_E_is_far_away(A, X):
    """A diverging E must not spoil the bound: for B = I it is taken at E = X − A Z, whatever the state's E is."""
    A, X = A.float(), X.float()
    problem, Z = Problem(A, ALPHA), torch.zeros(PATCHES, N_ATOMS)
    state = problem.state(Z, torch.full((PATCHES, M), 1e12), X, X)
    torch.testing.assert_close(problem.objective(state, X), X.abs().sum(dim=1))


def test_certificates_are_refused_where_an_X_has_no_feasible_point(X):
    problem = Problem(torch.ones(M, 2).double(), ALPHA, torch.ones(M, 1).double())
    with pytest.raises(ValueError, match="rank 1; certificates need 6"):
        problem.gap(problem.zero_state(X), X)


@pytest.mark.parametrize(
    ("f", "message"), [(L21(1.0, group=2), "a divisor of 9"), (WeightedL1(torch.ones(8)), "here: 9")]
)
def test_functions_that_do_not_fit_are_refused(A, f, message):
    with pytest.raises(ValueError, match=message):
        Problem(A, f=f)
