"""Claims about evaluation: metrics, solvers run on all patches, what of the image is replaced."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from data.masks import mask_finder
from data.patches import PatchGrid
from models import DLADMM, Problem, ladmm
from tests.helpers import observed
from utils.evaluation import solvers
from utils.evaluation.metrics import psnr, ssim
from utils.evaluation.observation import iterations_to
from utils.evaluation.solvers import compare_safeguard, follow_ladmm, run_ladmm, solve_to_convergence

ALPHA = 0.6


@pytest.fixture(scope="module")
def X(noisy):
    return PatchGrid(noisy.shape, 16, 16).extract(noisy)


def test_only_corrupted_pixels_are_replaced_if_they_are_known(noisy):
    find_mask = mask_finder("extremes", noisy.shape)
    observation = observed(noisy, find_mask, replace="corrupted")
    image = observation.image_of(torch.full_like(observation.X, 2.0))
    np.testing.assert_array_equal(image, np.where(find_mask(noisy.numpy()) == 0, 1, noisy))
    assert observation.out_of_distribution("", 0.8, 1)["random image"].X_mask is not None  # of the safeguard


def test_solutions_of_batches_are_those_of_all_patches_at_once(A, X, monkeypatch):
    network = DLADMM(A, 3, ALPHA)
    whole = solvers.solve_with_network(network, X)
    monkeypatch.setitem(solvers.BATCH, "cpu", 5)
    for layer, (parts, solution) in enumerate(zip(solvers.solve_with_network(network, X), whole, strict=True), start=1):
        assert parts.iteration == solution.iteration == layer
        torch.testing.assert_close(parts.patches, solution.patches)
        torch.testing.assert_close(parts.objective, solution.objective, rtol=1e-6, atol=0)
        torch.testing.assert_close(parts.gap, solution.gap, rtol=1e-6, atol=0)


def test_equivalent_iterations_are_the_first_that_get_there():
    trace = pd.DataFrame({"iteration": [1, 2, 10], "objective": [9, 7, 6], "psnr": [20, 25, 24]})
    assert iterations_to(trace, objective=7, psnr=24) == (2, 2)
    assert iterations_to(trace, objective=6.5, psnr=25) == (10, 2)
    assert np.isnan(iterations_to(trace, objective=5.9, psnr=25.1)).all()
    one, never = iterations_to(trace.assign(psnr=None), objective=9, psnr=None)
    assert one == 1 and np.isnan(never)


def test_psnr_is_that_of_the_definition_and_ssim_of_a_colour_image_the_mean_of_its_channels():
    clean, restored = np.random.default_rng(0).random((2, 20, 30))
    assert psnr(restored, clean) == pytest.approx(10 * np.log10(1 / np.mean((restored - clean) ** 2)))
    assert psnr(*map(torch.from_numpy, (restored, clean))) == psnr(restored, clean) and psnr(clean, clean) == np.inf
    clean, restored = np.random.default_rng(0).random((2, 20, 30, 3))
    channels = [ssim(restored[..., channel], clean[..., channel]) for channel in range(3)]
    assert ssim(restored, clean) == pytest.approx(np.mean(channels))


def test_with_known_positions_the_safeguard_s_runs_are_of_the_problem_that_does_not_see_what_is_corrupted(A, noisy):
    network, find_mask = DLADMM(A, 2, ALPHA, beta=3.0), mask_finder("extremes", noisy.shape)
    known, images = find_mask(noisy.numpy()), (noisy.numpy(), np.random.default_rng(0).random(noisy.shape))
    inputs = [observed(np.where(known == 1, noisy, image).astype(np.float32), lambda image: known) for image in images]
    one, other = (compare_safeguard(network, {"noisy": seen}, 4, 2.0) for seen in inputs)
    steps = itertools.product(("safeguarded", "unguarded", "ladmm"), range(1, 5))
    assert {(row["method"], row["layer"]) for row in one} == set(steps)
    for ours, theirs in zip(one, other, strict=True):
        for figure in ("objective", "gap"):
            assert ours[figure] == pytest.approx(theirs[figure], rel=1e-5)
    X, mask = inputs[0].X[::4], inputs[0].X_mask[::4]
    Z = next(itertools.islice(ladmm(network.problem, X, 2.0, mask), 3, None)).Z.numpy()
    objective = ALPHA * np.abs(Z).sum(axis=1) + np.abs(mask.numpy() * (X.numpy() - Z @ A.numpy().T)).sum(axis=1)
    assert one[-1]["method"] == "ladmm" and one[-1]["objective"] == pytest.approx(objective.mean(), rel=1e-5)


@pytest.mark.parametrize("tolerance", [0.3, 1e-9], ids=["certified on the way", "never"])
def test_ladmm_s_rows_are_those_of_its_solutions(A, X, noisy, tolerance):
    clean = noisy.numpy().clip(0.1, 0.9)
    seen, problem = observed(noisy, clean=clean), Problem(A, ALPHA)
    (one, five, converged), trace = run_ladmm(problem, seen, [1, 5], 3.0, tolerance, 125)
    followed = {row["iteration"]: row["psnr"] for row in trace}
    assert list(followed) == [*range(1, 101), 110, 120]  # step by step, then in tens
    whole = solve_to_convergence(problem, X, None, 3.0, tolerance, 125)
    state = next(itertools.islice(ladmm(problem, X, 3.0), whole.iteration - 1, None))
    certified = problem.gap(state, X).mean() <= tolerance * problem.objective(state, X).mean()
    expected = next(follow_ladmm(problem, X, None, 3.0, 0, {5}))
    for ours, solution in ((five, expected), (converged, whole)):
        np.testing.assert_array_equal(ours.image, seen.image_of(solution.patches))
        row = ours.row
        assert (row["depth"], row["objective"], row["gap"]) == (solution.iteration, solution.objective, solution.gap)
        assert row["psnr"] == psnr(ours.image, clean) == followed.get(row["depth"], row["psnr"])
    assert (converged.row["depth"] < 125) == certified == (tolerance > 0.01)
    assert all(restored.row["seconds"] > 0 for restored in (one, five, converged))
