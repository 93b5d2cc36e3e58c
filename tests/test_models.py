"""Claims about the mathematics: the iteration, its proximal operators, its optimum, its gradients."""

import itertools
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.stats import norm

from data.patches import overlap_weights
from models import DLADMM, Problem, ladmm
from models.activations import ACTIVATIONS, Adaptive, PiecewiseLinear
from models.errors import InvalidArgument
from models.functions import L1, L21, Box, NonNegativeL1, SquaredL2, WeightedL1
from models.layer import INITIALIZATIONS
from models.losses import IMAGE, LOSSES, pick_loss
from tests.helpers import numpy_ladmm, solved

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


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_patches_do_not_depend_on_their_batch(A, X, initialization):
    network = DLADMM(A, 4, ALPHA, initialization=initialization)
    alone = torch.cat([network(x[None])[-1].Z for x in X])
    torch.testing.assert_close(network(X)[-1].Z, alone)


STEPS = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
SOME_WEIGHTS = torch.tensor([0.6, 0.0, 0.3, 1.0, 0.5])


@pytest.mark.parametrize(
    "function",
    [
        L1(0.6),
        WeightedL1(torch.tensor([0.6, 0.0, 0.3, 1.0, 0.5])),
        NonNegativeL1(0.6),
        SquaredL2(0.6),
        L21(0.6, group=5),
    ],
    ids=lambda function: type(function).__name__,
)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_start_as_the_proximal_operator(name, function):
    """With a step for every coordinate, or one for all."""
    v, steps = torch.linspace(-2, 2, 40).reshape(8, 5), STEPS.mean() if name == "shared_proximal" else STEPS
    torch.testing.assert_close(ACTIVATIONS[name](function, STEPS)(v, function), function.prox(v, steps))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_learned_steps_stay_positive(name):
    activation = ACTIVATIONS[name](L1(0.6), torch.full((5,), 0.5))
    v = torch.linspace(-1, 1, 20).reshape(4, 5)
    before = activation(v, L1(0.6))
    activation.theta.data *= -1
    torch.testing.assert_close(activation(v, L1(0.6)), before)


@pytest.mark.parametrize("function", [L1(0.6), NonNegativeL1(0.6)], ids=["l1", "l1+"])
def test_piecewise_linear_activation_is_monotone_and_odd_or_not_negative_whatever_was_learned(function):
    v, generator = torch.linspace(-3, 3, 601).double()[:, None].expand(-1, 5), torch.Generator().manual_seed(0)
    for _ in range(50):
        activation = PiecewiseLinear(function, torch.full((5,), 0.5))
        for parameter in activation.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).double()
        learned = activation(v, function)
        assert (learned.diff(dim=0) >= -1e-12).all()
        if isinstance(function, NonNegativeL1):
            assert (learned >= 0).all()
        else:
            torch.testing.assert_close(learned, -activation(-v, function))


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


def test_adaptive_steps_grow_with_the_median_of_a_row():
    activation = Adaptive(L1(2.0), torch.tensor([0.25, 0.5, 1.0]))
    activation.spread.data = torch.tensor([1.5, 1.0, 0.2])
    rows = torch.tensor([[0.1, -0.2, 4.0], [-3.0, 0.0, 2.0]])
    expected = torch.tensor([[0.25 + 0.5 * 0.2, 0.5, 1.0 - 0.8 * 0.2], [0.25 + 0.5 * 2, 0.5, 0.0]])
    torch.testing.assert_close(activation.steps(rows), expected)
    thresholds = 2 * expected  # at the start, slopes are those of the soft threshold
    torch.testing.assert_close(activation(rows, L1(2.0)), rows.sign() * (rows.abs() - thresholds).clamp(min=0))


def test_pseudo_inverse_initialization_is_the_preconditioned_gradient(A):
    ridge = 0.2
    W1, steps = INITIALIZATIONS["pseudo_inverse"](Problem(A, ALPHA), BETA)
    a = A.numpy()
    P = BETA * (a.T @ a + ridge * np.linalg.norm(a, 2) ** 2 * np.eye(N_ATOMS))
    np.testing.assert_allclose(W1.T, np.linalg.solve(P, a.T))
    np.testing.assert_allclose(steps, np.diag(np.linalg.inv(P)))


def linear_program(A, B, x, costs, bounds=(0, None)):
    """min ⟨costs, (z⁺, z⁻, e⁺, e⁻)⟩ s.t. A (z⁺ − z⁻) + B (e⁺ − e⁻) = x, by HiGHS; None where no point is feasible."""
    found = linprog(costs, A_eq=np.hstack([A, -A, B, -B]), b_eq=x, bounds=bounds, method="highs")
    return None if found.status == 2 else found.fun


def quadratic_program(A, B, x):
    """min ¼ |z|² + |e|² s.t. A z + B e = x, in closed form."""
    return x @ np.linalg.solve(2 * A @ A.T + B @ B.T / 2, x) / 2


def group_lasso(A, B, x):
    """min 0.8 Σ ‖z_G‖₂ + |e|² for groups of three and B = I, by proximal gradient steps."""
    z, step = np.zeros(A.shape[1]), 1 / (2 * np.linalg.norm(A, 2) ** 2)
    for _ in range(5000):
        v = (z - 2 * step * A.T @ (A @ z - x)).reshape(-1, 3)
        norms = np.linalg.norm(v, axis=1, keepdims=True)
        z = (v * np.maximum(1 - step * 0.8 / norms, 0)).ravel()
    return 0.8 * np.linalg.norm(z.reshape(-1, 3), axis=1).sum() + np.sum((A @ z - x) ** 2)


def known_mask(seed=5):
    """A third of the positions are known to be corrupted, others in every row."""
    return torch.from_numpy(np.random.default_rng(seed).random((PATCHES, M)) > 1 / 3).double()


@pytest.mark.parametrize("weights", [known_mask(), torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0, 0.5]).double()])
def test_ladmm_solves_the_problem_with_known_positions_and_certifies_it(A, X, weights):
    """Known for every row, by a mask, or for all, by weights of g that are zero: there λ stays zero."""
    mask, g = (weights, L1()) if weights.ndim == 2 else (None, WeightedL1(weights))
    problem = Problem(A, ALPHA, g=g)
    state = solved(problem, X, BETA, mask)
    objective, dual = problem.objective(state, X, mask), problem.dual_objective(state, X, mask)
    for row, of_row in enumerate(weights.expand(X.shape)):
        costs = np.concatenate([np.full(2 * N_ATOMS, ALPHA), of_row, of_row])
        optimum = linear_program(A.numpy(), np.eye(M), X[row].numpy(), costs)
        assert dual[row] - 1e-9 <= optimum <= objective[row] + 1e-9
        assert objective[row] == pytest.approx(optimum, rel=1e-5) and dual[row] == pytest.approx(optimum, rel=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_at_positions_known_to_be_corrupted_do_not_matter(A, X, activation):
    mask, other = known_mask(), torch.where(known_mask() == 0, 7.0, X)
    network = DLADMM(A, 3, ALPHA, beta=BETA, activation=activation)
    for parameter in network.parameters():
        parameter.data *= 1 + 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)).double()
    problem = network.problem
    ours = zip(network(X, mask), network(other, mask), strict=True)
    solvers = zip(islice(ladmm(problem, X, BETA, mask), 5), ladmm(problem, other, BETA, mask), strict=False)
    for one, two in (*ours, *solvers):
        torch.testing.assert_close(one.Z, two.Z)
        assert (one.multiplier[mask == 0] == 0).all()
        torch.testing.assert_close(problem.objective(one, X, mask), problem.objective(two, other, mask))
        torch.testing.assert_close(problem.gap(one, X, mask), problem.gap(two, other, mask))
        assert torch.isfinite(problem.gap(one, X, mask)).all() and (problem.gap(one, X, mask) >= 0).all()


def test_a_mask_of_ones_and_the_identity_given_as_a_matrix_change_nothing(A, X):
    plain, given = (DLADMM(A, 3, ALPHA, B, beta=BETA, activation="piecewise_linear") for B in (None, torch.eye(M)))
    for one, two in zip(plain(X), given(X, torch.ones_like(X)), strict=True):
        assert all(map(torch.equal, one, two))


def test_at_positions_known_to_be_corrupted_E_is_what_A_Z_leaves_of_the_data(A, X):
    mask, network = known_mask(), DLADMM(A, 2, ALPHA, beta=BETA)
    problem = network.problem
    for state in (problem.zero_state(X, mask), *network(X, mask), next(ladmm(problem, X, BETA, mask))):
        torch.testing.assert_close(state.E[mask == 0], (X - state.Z @ A.T)[mask == 0])
        torch.testing.assert_close(state.residual, state.Z @ A.T + state.E - X)


def test_a_mask_keeps_the_weight_of_g(A, X):
    mask, Z = known_mask(), torch.ones(PATCHES, N_ATOMS).double()
    problem = Problem(A, ALPHA, g=L1(2.5))
    objective = problem.objective(problem.state(Z, torch.zeros_like(X), X, X, mask), X, mask)
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


# name: (f, g, with B = I?, the optimum by a solver of another kind)
POLYHEDRAL = {  # (f or g, its weights, lowest and highest value of a coordinate)
    "l1": (L1(0.6), 0.6, -np.inf, np.inf),
    "weighted_l1": (lambda n: WeightedL1(torch.linspace(0.2, 1, n).double()), None, -np.inf, np.inf),
    "non_negative_l1": (NonNegativeL1(0.6), 0.6, 0, np.inf),
    "box": (Box(0.5), 0.0, -0.5, 0.5),
}
SMOOTH = {  # (f, g, the optimum)
    "wide": (SquaredL2(0.5), SquaredL2(2.0), quadratic_program),
    "identity": (L21(0.8, group=3), SquaredL2(2.0), group_lasso),
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


def problem_and_optima(f, g, b, A, X):
    """The problem with this f, g and B, and the optimum of every row, None where no point is feasible."""
    B = B_MATRICES[b]
    if f in POLYHEDRAL:
        (f, f_costs, f_bounds), (g, g_costs, g_bounds) = built(f, N_ATOMS), built(g, B.shape[1])
        program = {"costs": np.concatenate([f_costs, g_costs]), "bounds": f_bounds + g_bounds}
        optimum = partial(linear_program, **program)
    else:
        f, g, optimum = SMOOTH[b]
    return Problem(A, B=torch.from_numpy(B), f=f, g=g), [optimum(A.numpy(), B, x) for x in X.numpy()]


def allowed(f, g, B):
    """Whether certificates are promised, from what is said in Problem.feasible_point."""
    full = np.linalg.matrix_rank(B) == M
    if f in ("non_negative_l1", "box"):
        return g not in ("non_negative_l1", "box") and full
    return True  # A has full row rank


# LADMM is followed until it has the optimum of these.
EXACT = [(f, g, "identity") for f, g in (("l1", "l1"), ("weighted_l1", "weighted_l1"), ("box", "l1"))]
EXACT += [("l1", "l1", "wide"), ("non_negative_l1", "l1", "wide")]
EXACT += [("squared_l2", "squared_l2", "wide"), ("l21", "squared_l2", "identity")]
OTHERS = [each for each in itertools.product(POLYHEDRAL, POLYHEDRAL, B_MATRICES) if each not in EXACT]


@pytest.mark.parametrize(("f", "g", "b"), EXACT + OTHERS)
def test_ladmm_goes_to_the_optimum_that_another_solver_finds_and_certificates_enclose_it(f, g, b, A, X):
    """On its way, at its end, where the dual is infeasible, and at any point."""
    X = X[:3]
    problem, optima = problem_and_optima(f, g, b, A, X)
    if not allowed(f, g, B_MATRICES[b]):
        with pytest.raises(InvalidArgument, match="certificates need"):
            problem.gap(problem.zero_state(X), X)
        return
    exact = (f, g, b) in EXACT
    last = solved(problem, X, BETA, iterations=20_000 if exact else 1500)
    early = next(islice(ladmm(problem, X, BETA), 5, None))
    infeasible = problem.state(last.Z, last.E, 1.3 * last.multiplier, X)
    states = [(1, state) for state in (early, last, infeasible)]
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 0.1, 1, 1e3):
        anywhere = (scale * torch.randn(v.shape, generator=generator).double() for v in last[:3])
        states.append((scale, problem.state(*anywhere, X)))
    for row, optimum in enumerate(optima):
        if optimum is None:
            continue
        for scale, state in states:
            tolerance = 1e-7 * (1 + scale**2)
            assert problem.dual_objective(state, X)[row] <= optimum + tolerance
            assert optimum <= problem.objective(state, X)[row] + tolerance
        assert torch.isfinite(problem.objective(last, X)[row])
        for value in (problem.objective, problem.dual_objective) if exact else (problem.objective,):
            accuracy = {"rel": 1e-5, "abs": 1e-8} if exact else {"rel": 0.02, "abs": 0.01}
            assert value(last, X)[row] == pytest.approx(optimum, **accuracy)


def test_a_problem_leaves_the_functions_of_its_caller_as_they_were(A):
    f, g = WeightedL1(torch.ones(N_ATOMS)), WeightedL1(torch.ones(M))
    double, single = Problem(A, f=f, g=g), Problem(A.float(), f=f, g=g)
    assert f.weight.dtype == g.weight.dtype == torch.float32
    assert double.f.weight.dtype == torch.float64 and single.f.weight.dtype == torch.float32


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_agree_with_finite_differences(A, B, X, activation, identity):
    network = DLADMM(A, 2, ALPHA, B=None if identity else B, beta=BETA, activation=activation)
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
        np.testing.assert_allclose(LOSSES[name].value(problem, state, X, None).detach(), expected, err_msg=name)
    target, flags = torch.flip(X, (0,)), (torch.flip(X, (1,)) > 0).double()
    errors = np.abs(x - E - target.numpy())
    for trusted in (torch.ones_like(X), flags):
        value = LOSSES["absolute_error"].value(problem, state, X, None, target, trusted).detach()
        np.testing.assert_allclose(value, (trusted.numpy() * errors).sum(1), rtol=1e-5)


def test_central_error_counts_pixels_as_they_count_where_patches_overlap():
    problem, X = Problem(torch.eye(256), ALPHA), torch.zeros(256, 256)
    value, state = LOSSES["central_error"].value, problem.zero_state(X)
    errors = value(problem, state, X, None, torch.eye(256), torch.ones_like(X)).reshape(16, 16)
    along = norm.pdf(np.arange(16), 7.5, 4)
    expected = np.outer(along, along)
    np.testing.assert_allclose(errors, np.sqrt(expected / expected.mean() + 1e-4), rtol=1e-5)
    weights = overlap_weights(16)
    np.testing.assert_allclose(errors.square() - 1e-4, torch.outer(weights, weights), rtol=1e-4)
    trusted = (torch.arange(256) % 3 > 0).float()
    where_trusted = value(problem, state, X, None, torch.eye(256), trusted.expand(256, 256))
    expected = (trusted * (errors.flatten() ** 2 - 1e-4) + 1e-4).sqrt()
    np.testing.assert_allclose(where_trusted, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "targets", "weight", "masked", "message"),
    [
        ("objective", IMAGE, 1.0, False, "loss is objective; allowed for this training: "),
        ("absolute_error", (), 1.0, False, "loss is absolute_error; allowed for this training: "),
        ("mse", (), 1.0, False, "loss is mse; allowed for this training: "),
        ("relaxed", (), 2.0, False, "allowed: f = l1, g = l1 of weight 1"),
        ("relaxed", (), 1.0, True, "unknown positions"),
    ],
)
def test_a_loss_that_does_not_fit_its_samples_or_problem_is_refused(A, name, targets, weight, masked, message):
    with pytest.raises(InvalidArgument, match=message):
        pick_loss(name, "this", targets, Problem(A, ALPHA, g=L1(weight)), masked)


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
        ({"restored": "Z"}, "restored is 'Z'; allowed: AZ, X-BE"),
        ({"alpha": None, "f": Box(1.0), "activation": "adaptive"}, "for a Box; allowed: a function with a step"),
        ({"alpha": None, "f": L21(1.0, group=2)}, "a divisor of 9"),
        ({"alpha": None, "f": WeightedL1(torch.ones(8))}, "here: 9"),
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
    with pytest.raises(InvalidArgument, match="rank 1; certificates need 6"):
        problem.gap(problem.zero_state(X), X)
