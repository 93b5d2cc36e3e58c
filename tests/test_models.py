"""Claims about the mathematics: the iteration, its optimum, its gradients, the functions f and g."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from data.patches import overlap_weights
from models import DLADMM, Problem, ladmm
from models.activations import ACTIVATIONS, Adaptive, PiecewiseLinear
from models.errors import InvalidArgument
from models.functions import FUNCTIONS, L1, L21, Box, NonNegativeL1, SquaredL2
from models.layer import exact_admm
from models.losses import LOSSES, pick_loss
from tests.helpers import certified, numpy_ladmm, solved

M, N_ATOMS, Q, PATCHES, ALPHA, BETA = 6, 9, 4, 7, 0.4, 0.7
A, X, B = (torch.from_numpy(np.random.default_rng(i).normal(size=shape))
           for i, shape in enumerate(((M, N_ATOMS), (PATCHES, M), (M, Q))))  # fmt: skip


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("depth", [1, 15])
def test_untrained_network_and_solver_are_ladmm(depth, identity):
    network = DLADMM(A, depth, ALPHA, B=None if identity else B, beta=BETA)
    matrix = np.eye(M) if identity else B.numpy()
    expected = [numpy_ladmm(A.numpy(), matrix, x, ALPHA, BETA, depth) for x in X.numpy()]
    for layer, states in enumerate(zip(network(X), ladmm(network.problem, X, BETA), strict=False)):
        for state in states:
            for ours, theirs in zip(state[:3], zip(*(trace[layer] for trace in expected), strict=True), strict=True):
                np.testing.assert_allclose(ours.detach(), np.stack(theirs), rtol=1e-10, atol=1e-12)


def numpy_relaxed(A, x, omega, rho, iterations):
    """Relaxed ADMM for min φ(Z) + ψ(W) s.t. K Z + W = k as in Boyd et al., 3.4.3, with K = (−I, A), W = (U, E): U, E
    and the unscaled multiplier of A Z + E = x."""
    m, n = A.shape
    K, k = np.vstack([-np.eye(n), A]), np.concatenate([np.zeros(n), x])
    W, scaled = np.zeros(n + m), np.zeros(n + m)
    thresholds = np.concatenate([np.full(n, ALPHA), np.ones(m)]) / rho
    for _ in range(iterations):
        Z = np.linalg.solve(K.T @ K, -K.T @ (W - k + scaled))
        relaxed = omega * K @ Z - (1 - omega) * (W - k)
        v = k - relaxed - scaled
        W = np.sign(v) * np.maximum(np.abs(v) - thresholds, 0)
        scaled = scaled + relaxed + W - k
        yield W[:n], W[n:], rho * scaled[n:]


@pytest.mark.parametrize("relaxation", [1.7, 1.0])
def test_an_iteration_of_exact_admm_is_that_of_its_sources(relaxation):
    a, states = A.numpy(), list(islice(exact_admm(Problem(A, ALPHA), X, 2.0, relaxation), 40))
    for place, x in enumerate(X.numpy()):
        for state, (U, E, multiplier) in zip(states, numpy_relaxed(a, x, relaxation, 2.0, 40), strict=True):
            for ours, theirs in zip(state, (U, E, multiplier, a @ U, a @ U + E - x), strict=True):
                np.testing.assert_allclose(ours[place], theirs, atol=1e-10)


STEPS = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])


@pytest.mark.parametrize("function", [L1(0.6), NonNegativeL1(0.6), SquaredL2(0.6), L21(0.6, 5)], ids=type)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_start_as_the_proximal_operator_and_learned_steps_stay_positive(name, function):
    v, steps = torch.linspace(-2, 2, 40).reshape(8, 5), STEPS.mean() if name == "shared_proximal" else STEPS
    activation = ACTIVATIONS[name](function, STEPS)
    torch.testing.assert_close(activation(v, function), function.prox(v, steps))
    activation.theta.data *= -1
    torch.testing.assert_close(activation(v, function), function.prox(v, steps))


@pytest.mark.parametrize("function", [L1(0.6), NonNegativeL1(0.6)], ids=["l1", "l1+"])
def test_piecewise_linear_activation_is_monotone_and_in_the_domain_of_its_function_whatever_was_learned(function):
    v, generator = torch.linspace(-3, 3, 601).double()[:, None].expand(-1, 5), torch.Generator().manual_seed(0)
    for _ in range(50):
        activation = PiecewiseLinear(function, torch.full((5,), 0.5))
        for parameter in activation.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).double()
        learned = activation(v, function)
        assert (learned.diff(dim=0) >= -1e-12).all() and function(learned).isfinite().all()


def test_piecewise_linear_activation_has_its_slopes_between_its_knots():
    activation = PiecewiseLinear(L1(2.0), torch.tensor([0.25, 0.5]))
    slopes = np.array([[0.1, 0.3, 0.4, 0.5], [2.0, -0.5, 1.5, 1.0]])
    activation.slopes.data = torch.from_numpy(slopes.T).float()
    v = np.linspace(-5, 5, 41)
    ours = activation(torch.from_numpy(v)[:, None].float().expand(-1, 2), L1(2.0))
    for coordinate, threshold in enumerate((0.5, 1.0)):
        knots = threshold * np.array([0, 0.5, 1, 2, 4, 6])
        values = np.concatenate([[0, 0], np.cumsum(slopes[coordinate].clip(0) * np.diff(knots)[1:])])
        expected = np.sign(v) * np.interp(np.abs(v), knots, values)
        inside = np.abs(v) <= knots[-1]
        np.testing.assert_allclose(ours.detach()[inside, coordinate], expected[inside], atol=1e-6)
    ours[26, 1].backward()  # v = 1.5, in the middle of the piece of the slope below zero
    assert activation.slopes.grad[1, 1] == 0.5


def test_adaptive_steps_grow_with_the_median_of_a_row():
    activation = Adaptive(L1(2.0), torch.tensor([0.25, 0.5, 1.0]))
    activation.spread.data = torch.tensor([1.5, 1.0, 0.2])
    rows = torch.tensor([[0.1, -0.2, 4.0], [-3.0, 0.0, 2.0]])
    steps = torch.tensor([[0.25 + 0.5 * 0.2, 0.5, 1.0 - 0.8 * 0.2], [0.25 + 0.5 * 2, 0.5, 0.0]])
    torch.testing.assert_close(activation(rows, L1(2.0)), L1(2.0).prox(rows, steps))


def linear_program(A, B, x, costs, bounds=(0, None)):
    """min ⟨costs, (z⁺, z⁻, e⁺, e⁻)⟩ s.t. A (z⁺ − z⁻) + B (e⁺ − e⁻) = x, by HiGHS."""
    return linprog(costs, A_eq=np.hstack([A, -A, B, -B]), b_eq=x, bounds=bounds, method="highs").fun


def known_mask(seed=5):
    """A third of the positions are known to be corrupted, others in every row."""
    return torch.from_numpy(np.random.default_rng(seed).random((PATCHES, M)) > 1 / 3).double()


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_ladmm_solves_the_problem_with_known_positions_and_certifies_it(weight):
    problem, mask = Problem(A, ALPHA, g=L1(weight)), known_mask()
    state = solved(problem, X, BETA, mask)
    objective, dual = problem.objective(state, X, mask), problem.dual_objective(state, X, mask)
    costs = [np.concatenate([np.full(2 * N_ATOMS, ALPHA), row, row]) for row in weight * mask]
    optima = [linear_program(A.numpy(), np.eye(M), x, cost) for x, cost in zip(X.numpy(), costs, strict=True)]
    np.testing.assert_allclose(torch.stack([objective, dual]), [optima, optima], rtol=1e-5)
    assert (dual.numpy() - 1e-9 <= optima).all() and (optima <= objective.numpy() + 1e-9).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_at_positions_known_to_be_corrupted_do_not_matter(activation):
    mask, other = known_mask(), torch.where(known_mask() == 0, 7.0, X)
    network = DLADMM(A, 3, ALPHA, beta=BETA, activation=activation)
    for parameter in network.parameters():
        parameter.data *= 1 + 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)).double()
    problem = network.problem
    starts = [(problem.zero_state(X, mask), problem.zero_state(other, mask))]
    ours = zip(network(X, mask), network(other, mask), strict=True)
    solvers = zip(islice(ladmm(problem, X, BETA, mask), 5), ladmm(problem, other, BETA, mask), strict=False)
    for one, two in (*starts, *ours, *solvers):
        torch.testing.assert_close(one.Z, two.Z)
        assert (one.multiplier[mask == 0] == 0).all()
        torch.testing.assert_close(problem.objective(one, X, mask), problem.objective(two, other, mask))
        torch.testing.assert_close(problem.gap(one, X, mask), problem.gap(two, other, mask))
        assert torch.isfinite(problem.gap(one, X, mask)).all() and (problem.gap(one, X, mask) >= 0).all()
        torch.testing.assert_close(one.E[mask == 0], (X - one.Z @ A.T)[mask == 0])
        torch.testing.assert_close(one.residual, one.Z @ A.T + one.E - X)


def test_a_mask_of_ones_and_the_identity_as_a_matrix_change_nothing_and_a_mask_without_meaning_is_refused():
    plain, given = (DLADMM(A, 3, ALPHA, B, beta=BETA, activation="piecewise_linear") for B in (None, torch.eye(M)))
    for one, two in zip(plain(X), given(X, torch.ones_like(X)), strict=True):
        assert all(map(torch.equal, one, two))
    for parts in ({"g": SquaredL2(1.0)}, {"B": torch.ones(M, 2)}):
        with pytest.raises(ValueError, match="positions are known, which is for g = l1 and B = I"):
            DLADMM(A, 1, ALPHA, **parts)(X, torch.ones_like(X))


@pytest.mark.parametrize("B", [torch.eye(M).double(), B])
def test_restored_data_are_a_z_or_what_is_left_without_the_corruption(B):
    for restored, expected in (("AZ", lambda state: state.Z @ A.T), ("X-BE", lambda state: X - state.E @ B.T)):
        network = DLADMM(A, 2, ALPHA, B=B, beta=BETA, restored=restored)
        state = network(X)[-1]
        torch.testing.assert_close(network.restore(state), expected(state))


WIDTHS = {"wide": 8, "square": M, "narrow": 2}
B_MATRICES = {name: np.random.default_rng(q).normal(size=(M, q)) for name, q in WIDTHS.items()} | {"I": np.eye(M)}
CHOICES = {  # if it is polyhedral, its factor, lowest and highest value of a coordinate
    "l1": (L1(0.6), 0.6, -np.inf, np.inf),
    "non_negative_l1": (NonNegativeL1(0.6), 0.6, 0, np.inf),
    "box": (Box(0.5), 0, -0.5, 0.5),
    "squared_l2": (SquaredL2(2.0),),
    "l21": (L21(0.8, group=3),),
}


def problem_of(f, g, b):
    return Problem(A, B=B_MATRICES[b], f=CHOICES[f][0], g=CHOICES[g][0])


def optimum(f, g, b, x):
    matrix, costs, bounds = B_MATRICES[b], [], []
    for name, n in ((f, N_ATOMS), (g, matrix.shape[1])):
        _, weight, low, high = CHOICES[name]
        costs += 2 * n * [weight]
        bounds += [(0, max(high, 0))] * n + [(0, max(-low, 0))] * n
    return linear_program(A.numpy(), matrix, x, costs, bounds)


@pytest.mark.parametrize(
    ("f", "g", "b"),
    [("l1", "l1", "I"), ("box", "l1", "I"), ("l1", "l1", "wide"), ("non_negative_l1", "l1", "wide"),
     ("l1", "box", "I"), ("l1", "non_negative_l1", "I"), ("l1", "box", "wide"), ("box", "l1", "wide"),
     ("l1", "l1", "square"), ("l1", "non_negative_l1", "narrow"), ("squared_l2", "squared_l2", "wide"),
     ("l21", "squared_l2", "I")],
)  # fmt: skip
def test_solvers_go_to_the_optimum_that_another_one_finds_and_certificates_enclose_it(f, g, b):
    """On the way, at the end, where the dual is infeasible, and at any point. What is no linear program has its optimum
    where objective and dual objective, whose parts are compared with their definitions below, meet."""
    problem, data = problem_of(f, g, b), X[:3]
    last, early = solved(problem, data, BETA), next(islice(ladmm(problem, data, BETA), 5, None))
    linear = g != "squared_l2"
    optima = X.new_tensor([optimum(f, g, b, x) for x in data.numpy()]) if linear else problem.objective(last, data)
    exact = [certified(problem, islice(exact_admm(problem, data, 2.0), 20_000), data)] if b == "I" else []
    for state in (last, *exact):
        for value in (problem.objective, problem.dual_objective):
            torch.testing.assert_close(value(state, data), optima, rtol=1e-5, atol=1e-8)
    states = [(1, early), (1, last), (1, problem.state(last.Z, last.E, 1.3 * last.multiplier, data))]
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 0.1, 1, 1e3):
        anywhere = (scale * torch.randn(v.shape, generator=generator).double() for v in last[:3])
        states.append((scale, problem.state(*anywhere, data)))
    for scale, state in states:
        tolerance = 1e-7 * (1 + scale**2)
        assert (problem.dual_objective(state, data) <= optima + tolerance).all()
        assert (optima <= problem.objective(state, data) + tolerance).all()


def test_where_an_X_may_have_no_feasible_point_there_is_no_certificate():
    low = Problem(torch.ones(M, 2).double(), ALPHA, torch.ones(M, 1).double())
    names = ("box", "l1", "narrow"), ("non_negative_l1", "box", "I"), ("box", "box", "wide")
    for problem in (low, *(problem_of(*choice) for choice in names)):
        with pytest.raises(InvalidArgument, match="certificates need"):
            problem.gap(problem.zero_state(X), X)


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_agree_with_finite_differences(activation, identity):
    network = DLADMM(A, 2, ALPHA, B=None if identity else B, beta=BETA, activation=activation)
    values = {name: (p.detach() + 0.01).requires_grad_() for name, p in network.named_parameters()}

    def last_state(*parameters):
        return torch.func.functional_call(network, dict(zip(values, parameters, strict=True)), X[:2])[-1][:3]

    assert torch.autograd.gradcheck(last_state, tuple(values.values()))


def test_losses_agree_with_numpy():
    problem = Problem(A, ALPHA)
    state = DLADMM(A, 2, ALPHA, beta=BETA)(X)[-1]
    a, x, Z, E, multiplier = (t.detach().numpy() for t in (A, X, state.Z, state.E, state.multiplier))

    def q(v, t):
        return np.logaddexp(0, v - t) + np.logaddexp(0, -v - t)

    def value(name, *targets):
        return LOSSES[name].value(problem, state, X, None, *targets).detach().numpy()

    authors = ALPHA * np.abs(Z).mean(1) + np.abs(E).mean(1) + (multiplier * x).mean(1)
    authors += q(multiplier @ a, ALPHA).mean(1) + q(multiplier, 1).mean(1)
    np.testing.assert_allclose(value("objective_and_gap"), value("objective") + value("gap") / 50)
    np.testing.assert_allclose(value("relaxed"), authors)
    with pytest.raises(InvalidArgument, match="allowed: f = l1, g = l1, B = I"):
        pick_loss("relaxed", lambda loss: True, "", Problem(A, ALPHA, g=SquaredL2()), masked=False)
    target, trusted = X.flip(0), (X.flip(1) > 0).double()
    errors = (trusted.numpy() * np.abs(x - E - target.numpy())).sum(1)
    np.testing.assert_allclose(value("absolute_error", target, trusted), errors)
    errors = ((Z - Z[::-1]) ** 2).sum(1) + ((E - E[::-1]) ** 2).sum(1)
    np.testing.assert_allclose(value("squared_error", state.Z.flip(0), state.E.flip(0)), errors)


def test_central_error_counts_pixels_as_they_count_where_patches_overlap():
    problem, nothing, value = Problem(torch.eye(256), ALPHA), torch.zeros(256, 256), LOSSES["central_error"].value
    trusted, state = np.float32(np.arange(256) % 3 > 0), problem.zero_state(nothing)
    along = np.exp(-(((np.arange(16) - 7.5) / 4) ** 2) / 2)
    weights = np.outer(along, along) / np.outer(along, along).mean()
    for trust in (np.ones(256, dtype=np.float32), trusted):
        errors = value(problem, state, nothing, None, torch.eye(256), torch.from_numpy(trust).expand(256, 256))
        np.testing.assert_allclose(errors, np.sqrt(trust * weights.ravel() + 1e-4), rtol=1e-4)
    np.testing.assert_allclose(weights, np.outer(overlap_weights(16), overlap_weights(16)), rtol=1e-4)


def test_objective_is_exact_where_E_is_far_away():
    """A diverging E must not spoil the bound: for B = I it is taken at E = X − A Z, whatever the state's E is."""
    problem, data = Problem(A.float(), ALPHA), X.float()
    state = problem.state(torch.zeros(PATCHES, N_ATOMS), torch.full((PATCHES, M), 1e12), data, data)
    torch.testing.assert_close(problem.objective(state, data), data.abs().sum(dim=1))


SIZE = 4
EXAMPLES = {  # each with its value written out for one row v
    "l1": (L1(0.7), lambda v: 0.7 * np.abs(v).sum()),
    "non_negative_l1": (NonNegativeL1(0.4), lambda v: 0.4 * v.sum()),
    "squared_l2": (SquaredL2(1.3), lambda v: 0.65 * v @ v),
    "l21": (L21(0.6, group=2), lambda v: 0.6 * (np.hypot(v[0], v[1]) + np.hypot(v[2], v[3]))),
    "box": (Box(0.8), lambda v: 0.0),
}
DOMAINS = {"non_negative_l1": (0, np.inf), "box": (-0.8, 0.8)}
EVERY_FUNCTION = pytest.mark.parametrize("name", FUNCTIONS)


def rows(count=6, scale=1.5, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, SIZE)) * scale)


def in_domain(name, v):
    return v.clamp(*DOMAINS[name]) if name in DOMAINS else v


@EVERY_FUNCTION
def test_values_are_those_of_the_definition(name):
    (function, value), v = EXAMPLES[name], in_domain(name, rows())
    assert type(function) is FUNCTIONS[name]
    np.testing.assert_allclose(function(v), [value(row) for row in v.numpy()], rtol=1e-12, atol=1e-12)
    if name in DOMAINS:
        assert torch.isinf(function(-torch.ones(1, SIZE).double())).all()


@EVERY_FUNCTION
def test_prox_takes_a_step_for_every_coordinate_with_gradients_and_without(name):
    """In each coordinate that of its step; for groups, whose norm is shrunk, that of the mean step of the group."""
    (function, _), v = EXAMPLES[name], rows(200)
    steps = torch.tensor([0.1, 0.9, 0.3, 0.6], dtype=v.dtype)
    used = steps.reshape(2, 2).mean(dim=1).repeat_interleave(2) if name == "l21" else steps
    expected = torch.stack([function.prox(v, step.item())[:, i] for i, step in enumerate(used)], dim=1)
    for given in (steps, steps.expand(len(v), -1)):
        torch.testing.assert_close(function.prox(v, given), expected)
        with torch.no_grad():
            without = function.prox(v, given)
        assert torch.equal(function.prox(v, given), without)


@pytest.mark.parametrize("step", [0.3, 2.0])
@EVERY_FUNCTION
def test_prox_minimises_its_problem_and_conjugate_meets_the_fenchel_young_inequality(name, step):
    """⟨w, v⟩ <= f(v) + f*(w), with equality where w is a subgradient of f. At u that is (v − u) / step if, and only if,
    u minimises step · f(u) + ½‖u − v‖²."""
    (function, _), v = EXAMPLES[name], rows()
    point = function.prox(v, step)
    assert function(point).isfinite().all() and torch.equal(function.prox(v, 0.0), in_domain(name, v))
    w = (v - point) / step
    torch.testing.assert_close(function.conjugate_scale(w), torch.ones(len(w)).double())
    torch.testing.assert_close((w * point).sum(dim=1), function(point) + function.conjugate(w))
    for other in in_domain(name, rows(200, seed=1)):
        assert (w @ other <= function(other[None]) + function.conjugate(w) + 1e-9).all()


@pytest.mark.parametrize("name", ["l1", "non_negative_l1", "l21"])
def test_conjugate_scale_is_the_smallest_that_is_feasible(name):
    """Beyond the domain of f* the supremum of ⟨w, v⟩ − f(v) is infinite: some direction has a positive slope."""
    (function, _), w = EXAMPLES[name], rows(scale=3)
    scale = function.conjugate_scale(w)
    assert (scale > 1).any()
    parts = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]])
    steepest = (w[:, None] * parts).reshape(-1, SIZE)  # of each coordinate and of each group
    directions = in_domain(name, torch.cat([rows(1000, seed=2), steepest]))
    directions = directions[directions.norm(dim=1) > 0]
    slopes = (w @ directions.T / scale[:, None] - function(directions)) / directions.norm(dim=1)
    assert slopes.max() <= 1e-12
    assert (slopes[scale > 1].amax(dim=1) >= -1e-12).all()


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
@EVERY_FUNCTION
def test_weights_outside_what_is_allowed_are_refused(name, weight):
    with pytest.raises(InvalidArgument, match="allowed: a finite number > 0"):
        FUNCTIONS[name](weight)


@pytest.mark.parametrize("count", [0, 1, 61])
@pytest.mark.parametrize("activation", [PiecewiseLinear, Adaptive])
def test_soft_thresholds_have_the_value_and_gradients_of_any_combination_of_proximal_operators(activation, count):
    """Which is differentiated operation by operation; some slopes are < 0."""
    generator = torch.Generator().manual_seed(count)
    eta = activation(L1(), torch.ones(SIZE))
    for parameter in eta.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double()
    v, found = torch.randn(count, SIZE, generator=generator).double().requires_grad_(), []
    for function in (L1(0.6), type("Own", (L1,), {})(0.6)):
        value = eta(v, function)
        found.append((value, *torch.autograd.grad((value * value.detach().cos()).sum(), (v, *eta.parameters()))))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
