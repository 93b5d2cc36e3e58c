"""Claims about the mathematics: the iteration, its proximal operators, its optimum, its gradients."""

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


A, X, B = (torch.from_numpy(np.random.default_rng(i).normal(size=shape))
           for i, shape in enumerate(((M, N_ATOMS), (PATCHES, M), (M, Q))))  # fmt: skip


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("depth", [1, 15])
def test_untrained_network_and_solver_are_ladmm(depth, identity):
    """For every row of a batch by itself."""
    network = DLADMM(A, depth, ALPHA, B=None if identity else B, beta=BETA)
    matrix = np.eye(M) if identity else B.numpy()
    expected = [numpy_ladmm(A.numpy(), matrix, x, ALPHA, BETA, depth) for x in X.numpy()]
    for layer, states in enumerate(zip(network(X), ladmm(network.problem, X, BETA), strict=False)):
        for state in states:
            for ours, theirs in zip(state[:3], zip(*(trace[layer] for trace in expected), strict=True), strict=True):
                np.testing.assert_allclose(ours.detach(), np.stack(theirs), rtol=1e-10, atol=1e-12)


STEPS = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
STEPPED = [L1(0.6), WeightedL1(torch.tensor([0.6, 0, 0.3, 1, 0.5])), NonNegativeL1(0.6), SquaredL2(0.6), L21(0.6, 5)]


@pytest.mark.parametrize("function", STEPPED, ids=lambda function: type(function).__name__)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_start_as_the_proximal_operator_and_learned_steps_stay_positive(name, function):
    """With a step for every coordinate, or one for all."""
    v, steps = torch.linspace(-2, 2, 40).reshape(8, 5), STEPS.mean() if name == "shared_proximal" else STEPS
    activation = ACTIVATIONS[name](function, STEPS)
    torch.testing.assert_close(activation(v, function), function.prox(v, steps))
    activation.theta.data *= -1
    torch.testing.assert_close(activation(v, function), function.prox(v, steps))


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
    """A slope below zero counts as zero, and can come back."""
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
    expected = torch.tensor([[0.25 + 0.5 * 0.2, 0.5, 1.0 - 0.8 * 0.2], [0.25 + 0.5 * 2, 0.5, 0.0]])
    torch.testing.assert_close(activation.steps(rows), expected)
    thresholds = 2 * expected  # at the start, slopes are those of the soft threshold
    torch.testing.assert_close(activation(rows, L1(2.0)), rows.sign() * (rows.abs() - thresholds).clamp(min=0))


def test_pseudo_inverse_initialization_is_the_preconditioned_gradient():
    ridge = 0.2
    W1, steps = INITIALIZATIONS["pseudo_inverse"](Problem(A, ALPHA), BETA)
    a = A.numpy()
    P = BETA * (a.T @ a + ridge * np.linalg.norm(a, 2) ** 2 * np.eye(N_ATOMS))
    np.testing.assert_allclose(W1.T, np.linalg.solve(P, a.T))
    np.testing.assert_allclose(steps, np.diag(np.linalg.inv(P)))


def linear_program(A, B, x, costs, bounds=(0, None)):
    """min ⟨costs, (z⁺, z⁻, e⁺, e⁻)⟩ s.t. A (z⁺ − z⁻) + B (e⁺ − e⁻) = x, by HiGHS."""
    return linprog(costs, A_eq=np.hstack([A, -A, B, -B]), b_eq=x, bounds=bounds, method="highs").fun


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


@pytest.mark.parametrize("weights", [known_mask(), 2.5 * known_mask(), torch.tensor([1.0, 0, 2, 1, 0, 0.5]).double()])
def test_ladmm_solves_the_problem_with_known_positions_and_certifies_it(weights):
    """Known for every row, by a mask, whatever the weight of g, or for all, by weights of g that are zero."""
    weight = weights.max().item()
    mask, g = (weights / weight, L1(weight)) if weights.ndim == 2 else (None, WeightedL1(weights))
    problem = Problem(A, ALPHA, g=g)
    state = solved(problem, X, BETA, mask)
    objective, dual = problem.objective(state, X, mask), problem.dual_objective(state, X, mask)
    costs = [np.concatenate([np.full(2 * N_ATOMS, ALPHA), row, row]) for row in weights.expand(X.shape)]
    optima = [linear_program(A.numpy(), np.eye(M), x, cost) for x, cost in zip(X.numpy(), costs, strict=True)]
    np.testing.assert_allclose(torch.stack([objective, dual]), [optima, optima], rtol=1e-5)
    assert (dual.numpy() - 1e-9 <= optima).all() and (optima <= objective.numpy() + 1e-9).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_at_positions_known_to_be_corrupted_do_not_matter(activation):
    """There E is what A Z leaves of the data."""
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


def test_a_mask_of_ones_and_the_identity_given_as_a_matrix_change_nothing():
    plain, given = (DLADMM(A, 3, ALPHA, B, beta=BETA, activation="piecewise_linear") for B in (None, torch.eye(M)))
    for one, two in zip(plain(X), given(X, torch.ones_like(X)), strict=True):
        assert all(map(torch.equal, one, two))


def test_a_mask_is_refused_where_it_has_no_meaning():
    for parts in ({"g": SquaredL2(1.0)}, {"B": torch.ones(M, 2)}):
        with pytest.raises(ValueError, match="positions are known, which is for g = l1 and B = I"):
            DLADMM(A, 1, ALPHA, **parts)(X, torch.ones_like(X))


@pytest.mark.parametrize("B", [None, torch.ones(M, 2).double()])
def test_restored_data_are_a_z_or_what_is_left_without_the_corruption(B):
    for restored, expected in (("AZ", lambda s: s.Z @ A.T), ("X-BE", lambda s: X - (s.E if B is None else s.E @ B.T))):
        network = DLADMM(A, 2, ALPHA, B=B, beta=BETA, restored=restored)
        state = network(X)[-1]
        torch.testing.assert_close(network.restore(state), expected(state))


B_MATRICES = {
    "I": np.eye(M),
    "wide": np.random.default_rng(3).normal(size=(M, 8)),
    "square": np.random.default_rng(4).normal(size=(M, M)),
    "narrow": np.random.default_rng(5).normal(size=(M, 2)),
}
POLYHEDRAL = {  # f or g, its weights, lowest and highest value of a coordinate
    "l1": (lambda n: L1(0.6), lambda n: np.full(n, 0.6), -np.inf, np.inf),
    "weighted_l1": (
        lambda n: WeightedL1(torch.linspace(0.2, 1, n).double()), lambda n: np.linspace(0.2, 1, n), -np.inf, np.inf,
    ),
    "non_negative_l1": (lambda n: NonNegativeL1(0.6), lambda n: np.full(n, 0.6), 0, np.inf),
    "box": (lambda n: Box(0.5), np.zeros, -0.5, 0.5),
}  # fmt: skip
SMOOTH = {  # the optimum, by a solver of another kind
    ("squared_l2", "squared_l2"): (SquaredL2(0.5), SquaredL2(2.0), quadratic_program),
    ("l21", "squared_l2"): (L21(0.8, group=3), SquaredL2(2.0), group_lasso),
}


def problem_and_optimum(f, g, b):
    """The problem with this f, g and B, and the optimum as a function of a row x: of a linear program, if it is one."""
    matrix = B_MATRICES[b]
    if (f, g) in SMOOTH:
        f, g, optimum = SMOOTH[f, g]
        return Problem(A, B=torch.from_numpy(matrix), f=f, g=g), partial(optimum, A.numpy(), matrix)
    functions, costs, bounds = [], [], []
    for name, n in ((f, N_ATOMS), (g, matrix.shape[1])):
        function, weights, low, high = POLYHEDRAL[name]
        functions.append(function(n))
        costs += [weights(n), weights(n)]
        bounds += [(0, max(high, 0))] * n + [(0, max(-low, 0))] * n
    problem = Problem(A, B=torch.from_numpy(matrix), f=functions[0], g=functions[1])
    return problem, partial(linear_program, A.numpy(), matrix, costs=np.concatenate(costs), bounds=bounds)


@pytest.mark.parametrize(
    ("f", "g", "b"),
    [("l1", "l1", "I"), ("weighted_l1", "weighted_l1", "I"), ("box", "l1", "I"), ("l1", "l1", "wide"),
     ("non_negative_l1", "l1", "wide"), ("l1", "box", "I"), ("weighted_l1", "non_negative_l1", "I"),
     ("l1", "box", "wide"), ("box", "weighted_l1", "wide"), ("l1", "weighted_l1", "square"),
     ("l1", "non_negative_l1", "narrow"), ("squared_l2", "squared_l2", "wide"), ("l21", "squared_l2", "I")],
)  # fmt: skip
def test_ladmm_goes_to_the_optimum_that_another_solver_finds_and_certificates_enclose_it(f, g, b):
    """On its way, at its end, where the dual is infeasible, and at any point."""
    problem, optimum = problem_and_optimum(f, g, b)
    data = X[:3]
    optima = torch.tensor([optimum(x=x) for x in data.numpy()], dtype=X.dtype)
    last, early = solved(problem, data, BETA), next(islice(ladmm(problem, data, BETA), 5, None))
    for value in (problem.objective, problem.dual_objective):
        torch.testing.assert_close(value(last, data), optima, rtol=1e-5, atol=1e-8)
    states = [(1, early), (1, last), (1, problem.state(last.Z, last.E, 1.3 * last.multiplier, data))]
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 0.1, 1, 1e3):
        anywhere = (scale * torch.randn(v.shape, generator=generator).double() for v in last[:3])
        states.append((scale, problem.state(*anywhere, data)))
    for scale, state in states:
        tolerance = 1e-7 * (1 + scale**2)
        assert (problem.dual_objective(state, data) <= optima + tolerance).all()
        assert (optima <= problem.objective(state, data) + tolerance).all()


@pytest.mark.parametrize(
    ("f", "g", "b"), [("box", "l1", "narrow"), ("non_negative_l1", "box", "I"), ("box", "box", "wide")]
)
def test_where_an_X_may_have_no_feasible_point_there_is_no_certificate(f, g, b):
    low = Problem(torch.ones(M, 2).double(), ALPHA, torch.ones(M, 1).double())
    for problem, message in ((problem_and_optimum(f, g, b)[0], "certificates need"), (low, "rank 1; certificates")):
        with pytest.raises(InvalidArgument, match=message):
            problem.gap(problem.zero_state(X), X)


def test_a_problem_leaves_the_functions_of_its_caller_as_they_were():
    f, g = WeightedL1(torch.ones(N_ATOMS)), WeightedL1(torch.ones(M))
    double, single = Problem(A, f=f, g=g), Problem(A.float(), f=f, g=g)
    assert f.weight.dtype == g.weight.dtype == torch.float32
    assert double.f.weight.dtype == torch.float64 and single.f.weight.dtype == torch.float32


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
        return np.log1p(np.exp(v - t)) + np.log1p(np.exp(-v - t))

    def value(name, *targets):
        return LOSSES[name].value(problem, state, X, None, *targets).detach().numpy()

    primal = ALPHA * np.abs(Z).sum(1) + np.abs(x - Z @ a.T).sum(1)
    scaled = [lam / max(1, np.abs(lam).max(), np.abs(a.T @ lam).max() / ALPHA) for lam in multiplier]
    gap = primal + np.array([lam @ row for lam, row in zip(scaled, x, strict=True)])
    authors = ALPHA * np.abs(Z).mean(1) + np.abs(E).mean(1) + (multiplier * x).mean(1)
    authors += q(multiplier @ a, ALPHA).mean(1) + q(multiplier, 1).mean(1)
    expected = {"objective": primal, "gap": gap, "objective_and_gap": primal + gap / 50, "relaxed": authors}
    for name, values in expected.items():
        np.testing.assert_allclose(value(name), values, err_msg=name)
    target, trusted = X.flip(0), (X.flip(1) > 0).double()
    errors = (trusted.numpy() * np.abs(x - E - target.numpy())).sum(1)
    np.testing.assert_allclose(value("absolute_error", target, trusted), errors)
    errors = ((Z - Z[::-1]) ** 2).sum(1) + ((E - E[::-1]) ** 2).sum(1)
    np.testing.assert_allclose(value("squared_error", state.Z.flip(0), state.E.flip(0)), errors)


def test_central_error_counts_pixels_as_they_count_where_patches_overlap():
    problem, nothing, trusted = (
        Problem(torch.eye(256), ALPHA),
        torch.zeros(256, 256),
        np.float32(np.arange(256) % 3 > 0),
    )
    value, state = LOSSES["central_error"].value, problem.zero_state(nothing)
    along = norm.pdf(np.arange(16), 7.5, 4)
    weights = np.outer(along, along) / np.outer(along, along).mean()
    for trust in (np.ones(256, dtype=np.float32), trusted):
        errors = value(problem, state, nothing, None, torch.eye(256), torch.from_numpy(trust).expand(256, 256))
        np.testing.assert_allclose(errors, np.sqrt(trust * weights.ravel() + 1e-4), rtol=1e-4)
    np.testing.assert_allclose(weights, np.outer(overlap_weights(16), overlap_weights(16)), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "targets", "weight", "masked", "message"),
    [
        ("objective", IMAGE, 1.0, False, "loss is objective; allowed for this training: "),
        ("absolute_error", (), 1.0, False, "loss is absolute_error; allowed for this training: "),
        ("relaxed", (), 2.0, False, "allowed: f = l1, g = l1 of weight 1"),
        ("relaxed", (), 1.0, True, "unknown positions"),
    ],
)
def test_a_loss_that_does_not_fit_its_samples_or_problem_is_refused(name, targets, weight, masked, message):
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
        ({"restored": "Z"}, "restored is 'Z'; allowed: AZ, X-BE"),
        ({"weights": "tied"}, "weights is 'tied'; allowed: free, convergent"),
        ({"A": torch.zeros(3, 4)}, "A has shape"),
        ({"A": torch.full((3, 4), torch.nan)}, "A has shape"),
        ({"B": torch.ones(2, 2)}, "B has 2 rows"),
        ({"alpha": None, "f": Box(1.0), "activation": "adaptive"}, "for a Box; allowed: a function with a step"),
        ({"activation": "adaptive", "weights": "convergent"}, "Adaptive, with convergent weights; allowed: proximal"),
        ({"alpha": None, "f": L21(1.0, group=2)}, "a divisor of 9"),
        ({"alpha": None, "f": WeightedL1(torch.ones(8))}, "here: 9"),
    ],
)
def test_arguments_outside_what_is_allowed_are_refused(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        DLADMM(**{"A": A, "depth": 2, "alpha": ALPHA} | arguments)


def test_objective_is_exact_where_E_is_far_away():
    """A diverging E must not spoil the bound: for B = I it is taken at E = X − A Z, whatever the state's E is."""
    problem, data = Problem(A.float(), ALPHA), X.float()
    state = problem.state(torch.zeros(PATCHES, N_ATOMS), torch.full((PATCHES, M), 1e12), data, data)
    torch.testing.assert_close(problem.objective(state, data), data.abs().sum(dim=1))
