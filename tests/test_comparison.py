"""Claims about the comparison with other methods: what the methods do, and what the tables show."""

import csv

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import median_filter

from data.images import TEST_IMAGES, load_image
from utils import comparison
from utils.comparison import Experiment
from utils.evaluation.metrics import psnr
from utils.evaluation.rivals import inpaint_extremes, median, median_of_extremes
from utils.methods import Case, filters, networks

NOISY = Case("salt_and_pepper", 0.1)


@pytest.mark.parametrize(
    ("restore", "known"),
    [(lambda noisy: median_filter(noisy, 3), 33.7), (median_of_extremes, 40.5), (inpaint_extremes, 45.4)],
)
def test_the_other_methods_are_as_good_on_lena_as_is_known(restore, known):
    clean = load_image("lena")
    assert psnr(restore(NOISY.corrupt(clean)), clean) == pytest.approx(known, abs=0.6)


def test_methods_that_know_the_positions_leave_the_other_pixels_alone():
    noisy = NOISY.corrupt(load_image("camera")[100:200, 100:200])
    untouched = (noisy > 0) & (noisy < 1)
    for restore in (median_of_extremes, inpaint_extremes):
        np.testing.assert_array_equal(restore(noisy)[untouched], noisy[untouched])


def test_the_median_of_a_colour_image_is_that_of_its_channels():
    noisy = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)
    for size in (3, 5):
        channels = [median_filter(noisy[..., channel], size) for channel in range(3)]
        np.testing.assert_array_equal(median(size, noisy), np.stack(channels, axis=2))


def test_weights_are_chosen_by_psnr_on_the_validation_images():
    def fade(weight, noisy):
        return weight * median_filter(noisy, 3) + (1 - weight) * noisy

    assert NOISY.best(fade, (0.2, 0.9, 0.5)).args == (0.9,)


def test_a_run_has_a_row_for_every_method_image_and_rate(tmp_path, monkeypatch):
    def methods(case):
        return [*filters()[:2], *networks("untrained", "nowhere", (16,))]

    shown = {"by_image": Experiment("One rate", "random_valued", (0.2,), methods, colour=True)}
    shown["by_rate"] = Experiment("Two rates", "salt_and_pepper", (0.1, 0.3), methods)
    monkeypatch.setattr(comparison, "EXPERIMENTS", shown)
    monkeypatch.setattr(comparison, "RESULTS", tmp_path)
    comparison.main()
    with (tmp_path / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {(row["experiment"], row["noise_rate"], row["method"], row["image"]) for row in rows}
    cases = (("by_image", "0.2"), ("by_rate", "0.1"), ("by_rate", "0.3"))
    assert found == {
        (*case, method, image) for case in cases for method in ("noisy", "3 x 3 median") for image in TEST_IMAGES
    }
    assert len(rows) == len(found)
    for name in shown:
        assert Image.open(tmp_path / f"{name}.png").width > 300
