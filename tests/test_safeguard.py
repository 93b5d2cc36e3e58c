"""Claims about the safeguard: its operator is averaged, and with it every network converges to the optimum."""

import numpy as np
import pytest
import torch

from models import DLADMM, Problem, State
from models.convergence import Metric, averaged_ladmm, safeguarded
from models.functions import L1, SquaredL2
from tests.helpers import certified, solved

M, N_ATOMS, Q, PATCHES, ALPHA, BETA = 6, 9, 4, 8, 0.4, 0.7


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(40 + seed).normal(size=shape))


@pytest.mark.parametrize("B", [None, normal(M, Q, seed=2)])
@pytest.mark.parametrize("g", [L1(), SquaredL2(2.0)])
def test_the_fallback_is_an_averaged_operator(B, g):
    """‖T(u) − T(v)‖² + c ‖(u − T(u)) − (v − T(v))‖² <= ‖u − v‖² in its metric, with a c > 0 (Krasnosel'skii–Mann)."""
    problem = Problem(normal(M, N_ATOMS), B=B, f=L1(ALPHA), g=g)
    T, q, c = averaged_ladmm(problem, BETA), problem.sizes[2], 0.2
    distance = Metric.of(T).distance
    X = normal(1, M, seed=1).expand(3000, M)
    for scale in (0.01, 1.0, 100.0):
        u, v = (problem.state(*(scale * normal(3000, k, seed=10 * k + s) for k in (N_ATOMS, q, M)), X) for s in (3, 4))
        Tu, Tv = T(problem, X, u), T(problem, X, v)
        Su, Sv = (State(*(a - b for a, b in zip(x, Tx, strict=True))) for x, Tx in ((u, Tu), (v, Tv)))
        before, after, moved = (distance(*pair).square() for pair in ((u, v), (Tu, Tv), (Su, Sv)))
        assert (after + c * moved <= before * (1 + 1e-9)).all()


@pytest.mark.parametrize("B", [None, normal(M, 8, seed=2)])
@torch.no_grad()
def test_fallback_alone_is_ladmm_that_reaches_the_optimum(B):
    """It sees a drift of Z along the direction in which A is largest, which LADMM with L_A = ‖A‖₂² would not see."""
    problem, X = Problem(normal(M, N_ATOMS), ALPHA, B), normal(PATCHES, M, seed=1)
    T, state = averaged_ladmm(problem, BETA), problem.zero_state(X)
    for _ in range(4000):
        state = T(problem, X, state)
    expected = problem.objective(solved(problem, X, BETA, tolerance=1e-8), X)
    torch.testing.assert_close(problem.objective(state, X), expected, rtol=1e-6, atol=1e-8)
    drifted = problem.state(state.Z + torch.linalg.svd(problem.A).Vh[0], state.E, state.multiplier, X)
    of_state, of_drifted = (Metric.of(T).distance(u, T(problem, X, u)) for u in (state, drifted))
    assert of_state.max() < 1e-6 and of_drifted.min() > 1e-2


def broken_network(kind):
    network = DLADMM(normal(M, N_ATOMS), 3, ALPHA, beta=BETA)
    for seed, parameter in enumerate(network.parameters()):
        if kind == "random":
            parameter.data = normal(*parameter.shape, seed=seed)
        else:
            parameter.data *= {"diverging": -5.0, "not a number": torch.nan}[kind]
    return network


@pytest.mark.parametrize("kind", ["random", "random, with known positions", "diverging", "not a number"])
def test_with_the_safeguard_any_network_reaches_the_optimum(kind):
    network, X = broken_network(kind.split(",")[0]), normal(PATCHES, M, seed=1)
    mask = (normal(PATCHES, M, seed=3) > -0.5).double() if "known" in kind else None
    problem = network.problem
    optimum = problem.objective(solved(problem, X, BETA, mask), X, mask)
    steps = safeguarded(network, X, 8_000, BETA, mask)
    state = certified(problem, (step.state for step in steps), X, mask, tolerance=3e-5)
    torch.testing.assert_close(problem.objective(state, X, mask), optimum, rtol=1e-4, atol=1e-7)
    *_, unguarded = network.iterate(X, mask, layers=200)
    assert not (problem.objective(unguarded, X, mask) <= 2 * optimum).any()


def test_every_patch_follows_the_algorithm_of_the_paper_whatever_happens_to_the_others():
    """Safe-L2O (Heaton et al. 2023, Algorithm 2) with the moving average, for one patch at a time."""
    network, X = DLADMM(normal(M, N_ATOMS), 3, ALPHA, beta=BETA), normal(PATCHES, M, seed=1)
    for seed, parameter in enumerate(network.parameters()):
        parameter.data *= 1 + 0.1 * normal(*parameter.shape, seed=seed)
    steps = list(safeguarded(network, X, 30, BETA, decrease=0.8, smoothing=0.3))
    assert sum(0 < step.replaced.sum() < PATCHES for step in steps) > 10
    problem, T = network.problem, averaged_ladmm(network.problem, BETA)
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
