"""Claims about exact ADMM: it is the iteration of its sources, it solves the problem and certifies the solution."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from models import Problem
from models.errors import InvalidArgument
from models.functions import NonNegativeL1, SquaredL2
from utils.studies.exact_admm import exact_admm

ALPHA, RHO, M, N = 0.4, 2.0, 6, 10


A = np.random.default_rng(1).normal(size=(M, N)) / np.sqrt(M)
X = np.random.default_rng(2).normal(size=(5, M))


def run(problem, iterations, *arguments):
    """The states of so many iterations."""
    return list(islice(exact_admm(problem, torch.from_numpy(X), *arguments), iterations))


def numpy_relaxed(x, omega, iterations):
    """Relaxed ADMM for min φ(Z) + ψ(W) s.t. K Z + W = k as in Boyd et al., 3.4.3, with K = (−I, A), W = (U, E): U, E
    and the unscaled multiplier of A Z + E = x."""
    K, k = np.vstack([-np.eye(N), A]), np.concatenate([np.zeros(N), x])
    W, scaled = np.zeros(N + M), np.zeros(N + M)
    thresholds = np.concatenate([np.full(N, ALPHA), np.ones(M)]) / RHO
    for _ in range(iterations):
        Z = np.linalg.solve(K.T @ K, -K.T @ (W - k + scaled))
        relaxed = omega * K @ Z - (1 - omega) * (W - k)
        v = k - relaxed - scaled
        W = np.sign(v) * np.maximum(np.abs(v) - thresholds, 0)
        scaled = scaled + relaxed + W - k
        yield W[:N], W[N:], RHO * scaled[N:]


@pytest.mark.parametrize("relaxation", [1.7, 1.0])
def test_an_iteration_is_that_of_the_sources(relaxation):
    states = run(Problem(torch.from_numpy(A), ALPHA), 40, RHO, relaxation)
    for place, x in enumerate(X):
        for state, (U, E, multiplier) in zip(states, numpy_relaxed(x, relaxation, 40), strict=True):
            for ours, theirs in ((state.Z, U), (state.E, E), (state.multiplier, multiplier), (state.AZ, A @ U)):
                np.testing.assert_allclose(ours[place], theirs, atol=1e-10)
            np.testing.assert_allclose(state.residual[place], A @ U + E - x, atol=1e-10)


def test_it_reaches_the_optimum_and_certifies_it():
    problem, eye, data = Problem(torch.from_numpy(A), ALPHA), np.eye(M), torch.from_numpy(X)
    costs = np.repeat([ALPHA, 1.0], [2 * N, 2 * M])
    optima = [linprog(costs, A_eq=np.hstack([A, -A, eye, -eye]), b_eq=x, method="highs").fun for x in X]
    states = run(problem, 2000, RHO)
    for state in states[::100]:
        above, gap = problem.objective(state, data).numpy() - optima, problem.gap(state, data).numpy()
        assert (above >= -1e-9).all() and (gap >= above - 1e-9).all()
    np.testing.assert_allclose(problem.objective(states[-1], data), optima, rtol=1e-6)
    assert (problem.gap(states[-1], data) < 1e-5).all()


def test_it_solves_problems_with_other_functions():
    """A non-negative least squares problem with costs: the optimality conditions hold at Z."""
    Z = run(Problem(torch.from_numpy(A), f=NonNegativeL1(ALPHA), g=SquaredL2()), 3000, RHO)[-1].Z.numpy()
    slope = (Z @ A.T - X) @ A + ALPHA
    assert (Z >= 0).all() and (Z > 0).any() and (slope > -1e-6).all() and np.abs(slope[Z > 0]).max() < 1e-6


def test_another_B_is_refused():
    with pytest.raises(InvalidArgument, match="allows I"):
        run(Problem(torch.from_numpy(A), ALPHA, 2 * torch.eye(M)), 1, RHO)
