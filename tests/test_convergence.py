"""Claims about convergence: by weights that meet the condition of a theorem, and by the safeguard for any weights."""

from functools import cache

import numpy as np
import pytest
import torch

from data.patches import PatchGrid
from models import DLADMM, Problem, State
from models.convergence import Metric, averaged_ladmm, safeguarded
from models.functions import L1, SquaredL2
from tests.helpers import certified, fixed, solved, train_now
from utils.running.checkpoints import load_network, save_network

ALPHA = 0.7
A, X, B = (
    torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for seed, shape in enumerate(((20, 30), (16, 20), (20, 25)))
)
CONSTRAINTS = pytest.mark.parametrize("B", [None, B], ids=["B = I", "B"])


def convergent(A, depth=3, beta=2.0, **choices):
    return DLADMM(A, depth, ALPHA, beta=beta, weights="convergent", **choices)


def scattered(network, size=0.5, seed=1):
    """The network with learned parameters replaced by random ones: D, β and D2 differ by factors of e."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data = 1 + size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return network


def norms(network):
    """‖diag(β)^½ A D^-½‖₂ of every layer, and ‖diag(β)^½ B D2^-½‖₂ for a B; by NumPy, of W1, W2, θ and β alone."""
    found, (A, B) = [], (network.problem.A, network.problem.B)
    for layer in network.layers:
        E, root = layer.e_step, layer.beta.detach().sqrt()[:, None]
        parts = [(A, layer.W1, layer.eta.theta), *([] if B is None else [(B, E.W2, E.zeta.theta)])]
        for matrix, W, theta in parts:
            found.append(np.linalg.norm(root * matrix * theta.detach().sqrt(), 2))
            torch.testing.assert_close(W, matrix * theta, rtol=1e-6, atol=0)
        for inverse in (E.W2, E.zeta.theta) if B is None else ():
            torch.testing.assert_close(inverse, 1 / layer.beta, rtol=1e-6, atol=0)
    return found


@cache
def solved_by_ladmm(constrained):
    """The rows of the small data that LADMM solves to nine digits, with B or for B = I, and their solution."""
    problem = Problem(A, ALPHA, B if constrained else None)
    solution = solved(problem, X, tolerance=1e-10, iterations=20_000)
    there = problem.gap(solution, X) < 1e-9
    assert there.sum() >= 5
    return X[there], State(*(variable[there] for variable in solution))


def relative_gap(network, X, mask=None):
    """The mean certified gap over the mean objective, after 20,000 layers, or as soon as it is 0.1 % for every row."""
    problem, state = network.problem, certified(network.problem, network.iterate(X, mask, 20_000), X, mask, 1e-3)
    return problem.gap(state, X, mask).mean() / problem.objective(state, X, mask).mean()


@CONSTRAINTS
@pytest.mark.parametrize("gradients", [True, False], ids=["training", "without gradients"])
def test_untrained_they_are_ladmm_to_the_last_digit(B, gradients):
    with torch.set_grad_enabled(gradients):
        ours, theirs = (DLADMM(A, 3, ALPHA, B, beta=2.0, weights=weights)(X) for weights in ("convergent", "free"))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("B", "loss"), [(None, "objective"), (None, "gap"), (B, "objective_and_gap")])
def test_trained_weights_meet_the_condition_lower_the_loss_and_are_never_compiled(B, loss, compiler):
    network, short = convergent(A, B=B), {"epochs": 30, "samples_per_epoch": 16, "batch_size": 8}
    losses = train_now(network, fixed(X), loss, compiled=True, learning_rate=0.05, **short)
    assert losses[-1] < 0.98 * losses[0] and compiler == []
    np.testing.assert_allclose(norms(network.free()), 1, rtol=1e-12)
    assert all((parameter - 1).abs().max() > 0.1 for name, parameter in network.layers[1].named_parameters())


@CONSTRAINTS
def test_the_norm_that_training_estimates_is_the_exact_one_also_its_gradient(B):
    network = scattered(convergent(A, 1, B=B))
    layer, problem = network.layers[0], network.problem
    for _ in range(300):  # steps of the power iteration
        weights = layer.weights(problem)
    log_D, log_beta = (parameter.detach().clone().requires_grad_() for parameter in (layer.log_D, layer.log_beta))
    start_D, beta = layer.start_D * (log_D - 1).exp(), layer.start_beta * (log_beta - 1).exp()
    D = start_D * torch.linalg.matrix_norm(beta.sqrt()[:, None] * A / start_D.sqrt(), 2) ** 2
    torch.testing.assert_close(1 / weights["eta.theta"], D, rtol=1e-9, atol=0)
    direction = torch.linspace(-1, 2, 30, dtype=torch.float64)
    ours = torch.autograd.grad((1 / weights["eta.theta"]) @ direction, (layer.log_D, layer.log_beta))
    exact = torch.autograd.grad(D @ direction, (log_D, log_beta))
    for one, other in zip(ours, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


@CONSTRAINTS
@torch.no_grad()
def test_no_layer_leads_away_from_a_solution(B):
    network = scattered(convergent(A, 6, B=B)).free()
    problem, (X, solution) = network.problem, solved_by_ladmm(B is not None)
    state = problem.state(*(1 - part for part in solution[:3]), X)
    for layer in network.layers:
        metric, before = Metric.of(layer), state

        def merit(now, before, metric=metric):
            E = now.E - before.E
            norm_P2 = E.square() @ metric.D2 - problem.apply_B(E).square() @ metric.beta  # zero for B = I
            return metric.distance(now, solution) ** 2 + norm_P2

        state = layer(problem, X, before)
        for _ in range(20):
            after = layer(problem, X, state)
            old, new = merit(state, before), merit(after, state)
            assert (new <= old - metric.distance(after, state) ** 2 + 1e-8 * old).all()
            before, state = state, after


@pytest.mark.parametrize(("B", "known"), [(None, False), (None, True), (B, False)], ids=["I", "I, known", "B"])
def test_random_weights_that_meet_the_condition_reach_the_optimum(B, known):
    generator = torch.Generator().manual_seed(2)
    mask = (torch.rand(X.shape, generator=generator, dtype=X.dtype) > 0.2).to(X) if known else None
    assert relative_gap(scattered(convergent(A, 4, B=B), 0.2).free(), X, mask) <= 1e-3


def test_a_file_rounds_what_is_learned_and_not_the_condition(A, noisy, tmp_path):
    """When the network has learned on, its weights are convergent no longer, and it is saved as what it is then."""
    network, file = scattered(convergent(A, 2), 0.1), tmp_path / "network.safetensors"
    save_network(network, file, {})
    loaded = load_network(file)
    assert file.stat().st_size < 1.2 * 4 * A.numel()  # A, and little beside
    np.testing.assert_allclose(norms(loaded), 1, rtol=2e-6)
    for ours, theirs in zip(network.free().layers, loaded.layers, strict=True):
        torch.testing.assert_close(ours.W1, theirs.W1, rtol=0.01, atol=0)
    X = PatchGrid(noisy.shape, 16, 16).extract(noisy)
    train_now(loaded, fixed(X), epochs=2, samples_per_epoch=64, batch_size=16)
    assert not torch.allclose(loaded.layers[1].W1, A * loaded.layers[1].eta.theta, rtol=0.01)
    save_network(loaded, file, {})
    torch.testing.assert_close(load_network(file)(X)[-1].AZ, loaded(X)[-1].AZ, rtol=0, atol=0.01)


@pytest.mark.parametrize("rho", [0.6, 1.8])
@torch.no_grad()
def test_with_relaxation_too_it_moves_nearer_in_every_step(rho):
    """‖u⁺ − u*‖² <= ‖u − u*‖² − (2 − ρ)/ρ ‖u⁺ − u‖² for u = (Z, μ) in the metric of D, A and 1/β."""
    (derived := scattered(convergent(A, 1))).layers[0].relaxation = rho
    network = derived.free()
    (layer,), problem, (X, solution) = network.layers, network.problem, solved_by_ladmm(constrained=False)
    torch.testing.assert_close(derived(X), network(X))
    D, beta = 1 / layer.eta.theta.detach(), layer.beta.detach()

    def squared(one, other):
        Z, _, multiplier, AZ, residual = (a - b for a, b in zip(one, other, strict=True))
        mu = multiplier - beta * residual
        return Z.square() @ D + 2 * (AZ * mu).sum(dim=1) + mu.square() @ (1 / beta)

    state = layer(problem, X, problem.state(*(1 - part for part in solution[:3]), X))
    for _ in range(300):
        after = layer(problem, X, state)
        before, moved = squared(state, solution), (2 - rho) / rho * squared(after, state)
        assert (squared(after, solution) <= before - moved + 1e-8 * before).all()
        state = after
    assert relative_gap(network, X) <= 1e-3


M, N_ATOMS, Q, PATCHES, WEIGHT, PENALTY = 6, 9, 4, 8, 0.4, 0.7  # of the claims about the safeguard


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(40 + seed).normal(size=shape))


@pytest.mark.parametrize("B", [None, normal(M, Q, seed=2)])
@pytest.mark.parametrize("g", [L1(), SquaredL2(2.0)])
def test_the_fallback_is_an_averaged_operator(B, g):
    """‖T(u) − T(v)‖² + c ‖(u − T(u)) − (v − T(v))‖² <= ‖u − v‖² in its metric, with a c > 0 (Krasnosel'skii–Mann)."""
    problem = Problem(normal(M, N_ATOMS), B=B, f=L1(WEIGHT), g=g)
    T, q, c = averaged_ladmm(problem, PENALTY), problem.sizes[2], 0.2
    distance = Metric.of(T).distance
    X = normal(1, M, seed=1).expand(3000, M)
    for scale in (0.01, 1.0, 100.0):
        u, v = (problem.state(*(scale * normal(3000, k, seed=10 * k + s) for k in (N_ATOMS, q, M)), X) for s in (3, 4))
        Tu, Tv = T(problem, X, u), T(problem, X, v)
        Su, Sv = (State(*(a - b for a, b in zip(x, Tx, strict=True))) for x, Tx in ((u, Tu), (v, Tv)))
        before, after, moved = (distance(*pair).square() for pair in ((u, v), (Tu, Tv), (Su, Sv)))
        assert (after + c * moved <= before * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("factor", "known", "B"),
    [
        (None, False, None),
        (None, True, None),
        (-5.0, False, None),
        *((torch.nan, False, B) for B in (None, normal(M, 8))),
    ],
)
def test_with_the_safeguard_any_network_reaches_the_optimum_and_there_alone_ladmm_stays(factor, known, B):
    """A drift of Z along the direction in which A is largest is seen. LADMM with L_A = ‖A‖₂² would not see it."""
    network = DLADMM(normal(M, N_ATOMS), 3, WEIGHT, B, beta=PENALTY, activation="proximal")
    X = normal(PATCHES, M, seed=1)
    for seed, parameter in enumerate(network.parameters()):
        parameter.data = normal(*parameter.shape, seed=seed) if factor is None else factor * parameter.data
    mask, problem = (normal(PATCHES, M, seed=3) > -0.5).double() if known else None, network.problem
    optimum = problem.objective(solved(problem, X, PENALTY, mask), X, mask)
    steps = safeguarded(network, X, 8_000, PENALTY, mask)
    state = certified(problem, (step.state for step in steps), X, mask, tolerance=3e-5)
    torch.testing.assert_close(problem.objective(state, X, mask), optimum, rtol=1e-4, atol=1e-7)
    *_, unguarded = network.iterate(X, mask, layers=200)
    assert not (problem.objective(unguarded, X, mask) <= 2 * optimum).any()
    T, direction = averaged_ladmm(problem, PENALTY), torch.linalg.svd(problem.A).Vh[0]
    drifted = problem.state(state.Z + direction, state.E, state.multiplier, X, mask)
    of_state, of_drifted = (Metric.of(T).distance(u, T(problem, X, u, mask)) for u in (state, drifted))
    assert of_state.max() < 1e-3 and of_drifted.min() > 1e-2


def test_every_patch_follows_the_algorithm_of_the_paper_whatever_happens_to_the_others():
    """Safe-L2O (Heaton et al. 2023, Algorithm 2) with the moving average, for one patch at a time."""
    network = DLADMM(normal(M, N_ATOMS), 3, WEIGHT, beta=PENALTY, activation="proximal")
    X = normal(PATCHES, M, seed=1)
    for seed, parameter in enumerate(network.parameters()):
        parameter.data *= 1 + 0.1 * normal(*parameter.shape, seed=seed)
    steps = list(safeguarded(network, X, 30, PENALTY, decrease=0.8, smoothing=0.3))
    assert sum(0 < step.replaced.sum() < PATCHES for step in steps) > 10
    problem, T = network.problem, averaged_ladmm(network.problem, PENALTY)
    distance = Metric.of(T).distance
    for row in range(PATCHES):
        x = X[row : row + 1]
        state = problem.zero_state(x)
        mu = distance(state, T(problem, x, state))
        for number, step in enumerate(steps):
            update = network.layer(number)(problem, x, state)
            residual = distance(update, T(problem, x, update))
            accepted = residual <= 0.8 * mu
            state, mu = (update, 0.3 * residual + 0.7 * mu) if accepted else (T(problem, x, state), mu)
            assert step.replaced[row] == ~accepted
            torch.testing.assert_close(step.state.Z[row], state.Z[0])
            torch.testing.assert_close(step.state.multiplier[row], state.multiplier[0])
