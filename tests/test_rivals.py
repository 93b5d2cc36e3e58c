"""Claims about the methods to compare with: they are what their papers say, and as good as is known."""

import numpy as np
import pytest
from scipy.ndimage import median_filter
from scipy.optimize import minimize

from data.images import load_image
from data.masks import black, extremes
from tests.helpers import random_valued, salt_and_pepper
from utils.evaluation.metrics import psnr
from utils.studies.rivals import cnn
from utils.studies.rivals.classical import total_variation
from utils.studies.rivals.medians import is_impulse, switching_median

RANDOM = np.random.default_rng(0)


def test_the_switching_median_is_that_of_the_good_pixels_in_the_smallest_square_with_one():
    noisy = salt_and_pepper(load_image("camera")[100:130, 90:130], 0.8, 3)
    noisy[10:15, 10:15] = RANDOM.integers(2, size=(5, 5))  # with no good pixel in 5 x 5 around the middle
    good, restored = extremes(noisy) == 1, switching_median(noisy)
    values, known = (np.pad(plane, 3, mode="symmetric") for plane in (noisy, good))
    sizes = set()
    for row, column in np.argwhere(~good):
        for size in (3, 5, 7):
            square = np.s_[row + 3 - size // 2 : row + 4 + size // 2, column + 3 - size // 2 : column + 4 + size // 2]
            if known[square].any():
                assert restored[row, column] == pytest.approx(np.median(values[square][known[square]]))
                sizes.add(size)
                break
    assert sizes == {3, 5, 7}


def test_the_switching_median_fills_a_hole_of_any_size_from_its_border():
    noisy = np.full((30, 30), 0.5, dtype=np.float32)
    noisy[:, 15:], noisy[5:25, 5:25] = 0.6, 0
    restored = switching_median(noisy, black)
    assert (restored != 0).all() and 0.5 <= restored.min() <= restored.max() <= np.float32(0.6)
    nothing = np.zeros((9, 9), dtype=np.float32)
    np.testing.assert_array_equal(switching_median(nothing, lambda image: np.zeros_like(image)), nothing)


def test_an_impulse_is_what_the_adaptive_centre_weighted_median_says():
    noisy = random_valued(load_image("camera")[100:132, 90:130], 0.2, 3)
    padded, found = np.pad(noisy, 1, mode="symmetric"), is_impulse(0.3, noisy)
    assert 0.1 < found.mean() < 0.4
    for (row, column), x in np.ndenumerate(noisy):
        around = padded[row : row + 3, column : column + 3].ravel().tolist()
        deviation = np.median(np.abs(np.array(around) - np.median(around)))
        differences = [abs(np.median(around + 2 * k * [x]) - x) for k in range(4)]
        limits = [0.3 * deviation + tolerance / 255 for tolerance in (40, 25, 10, 5)]
        assert found[row, column] == any(d > limit for d, limit in zip(differences, limits, strict=True))


@pytest.mark.parametrize(("shape", "weight"), [((9, 12), 1.5), ((1, 24), 0.7), ((24, 1), 0.7)])
def test_total_variation_is_as_low_as_scipy_finds_and_the_same_on_its_side(shape, weight):
    """SciPy minimises Σ (|∇u|² + ε²)^½ + w Σ ((u − x)² + ε²)^½, which is above the objective, for small ε."""
    x = RANDOM.random(shape)

    def objective(values, epsilon=0.0):
        u = values.reshape(shape)
        down, right = np.diff(u, axis=0, append=u[-1:]), np.diff(u, axis=1, append=u[:, -1:])
        return np.sqrt(down**2 + right**2 + epsilon**2).sum() + weight * np.sqrt((u - x) ** 2 + epsilon**2).sum()

    found = x.ravel()
    for epsilon in (0.1, 0.01, 0.001, 1e-4, 1e-5):
        found = minimize(objective, found, epsilon, method="L-BFGS-B", options={"maxfun": 60_000}).x
    ours, soon = (objective(total_variation(weight, x, iterations)) for iterations in (2000, 300))
    assert ours < 0.9 * min(objective(x), objective(median_filter(x, 3)))
    assert ours == pytest.approx(objective(found), rel=1e-4) and soon == pytest.approx(ours, rel=5e-3)
    np.testing.assert_allclose(total_variation(weight, x.T).T, total_variation(weight, x), atol=1e-6)


def test_the_network_learns_to_restore_a_pixel_and_by_its_surroundings_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(cnn, "SIDE", 12)
    cnn.train(cnn.Settings(epochs=8, patches_per_epoch=1280, noise_rate=0.3), tmp_path)
    clean = load_image("camera")[60:260, 100:300]
    noisy, network = salt_and_pepper(clean, 0.3, 5), cnn.load_cnn(tmp_path / "cnn.safetensors")
    whole, part = network.restore(noisy), network.restore(noisy[5:, :120])
    assert psnr(whole, clean) > psnr(noisy, clean) + 10
    np.testing.assert_allclose(part[8:, :112], whole[13:, :112], atol=1e-6)
