"""Claims about the check of a restoration by the picture itself: what it hides, what it compares, what it takes."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, median_filter

from data.drawings import drawn_pages
from data.images import load_image
from utils.restore.choice import best_pair, compared, copies, mixed

CLEAN = load_image("camera")[100:228, 100:228]
LINES = {  # (height, width), True on a line of 3 pixels
    "horizontal": lambda y, x: abs(y - 40) < 2,
    "vertical": lambda y, x: abs(x - 70) < 2,
    "falling": lambda y, x: abs(y - x) < 2,
    "rising": lambda y, x: abs(y + x - 120) < 2,
}


def line(name):
    return np.fromfunction(LINES[name], CLEAN.shape)


@pytest.mark.parametrize("name", LINES)
def test_a_copy_of_the_damage_lies_beside_it(name):
    damaged = line(name)
    for copy in copies(damaged):
        assert not (copy & damaged).any()
        assert copy.sum() > 0.5 * damaged.sum()
    assert copies(damaged)[0].sum() > 0.7 * damaged.sum()


COVERING = {  # (height, width), True where damage hides all or nothing once more if it is moved
    "every second pixel is left": lambda y, x: (y % 2 > 0) | (x % 2 > 0),
    "every third pixel is left": lambda y, x: (y % 3 > 0) | (x % 3 > 0),
    "every second row": lambda y, x: y % 2 > 0,
    "every second column, and a speck": lambda y, x: (x % 2 > 0) | (y == 40) & (x == 40),
    "checkerboard": lambda y, x: (y + x) % 2 > 0,
    "the left three quarters": lambda y, x: x < 144,
    "all but a row": lambda y, x: y != 40,
}


@pytest.mark.parametrize("width", [191, 192])  # what is moved over the edge of the narrower one is out of step
@pytest.mark.parametrize("name", COVERING)
def test_a_copy_hides_enough_to_compare_and_leaves_enough_to_restore_it(name, width):
    damaged = np.fromfunction(COVERING[name], (128, width))
    depth, found = distance_transform_edt(damaged).max(), copies(damaged)
    assert len(found) == 4
    for copy in found:
        left = ~damaged & ~copy
        assert not (copy & damaged).any() and copy.sum() > 50 and left.sum() > 50
        assert distance_transform_edt(~left).max() < 8 * depth


def test_where_nothing_can_be_hidden_the_first_is_taken_and_nothing_is_said_to_be_compared():
    known = np.zeros(CLEAN.shape, dtype=bool)
    known[60, 60] = True
    one, other = (lambda image, known, stride, e=e: CLEAN + np.float32(e) for e in (0.2, 0.05))
    mixture = mixed(CLEAN, known, {"first": one, "other": other})
    np.testing.assert_array_equal(mixture.image, CLEAN + np.float32(0.2))
    assert (mixture.errors, mixture.best, mixture.share) == ({}, "", 0)


def test_what_is_better_on_the_copy_is_taken_and_what_is_worse_is_not():
    known = ~line("rising")
    worse, better = (lambda image, known, stride, e=e: CLEAN + np.float32(e) for e in (0.2, 0.05))
    taken, kept = (
        mixed(CLEAN, known, {"first": worse, "other": better}),
        mixed(CLEAN, known, {"first": better, "other": worse}),
    )
    np.testing.assert_allclose(taken.image[~known], CLEAN[~known] + 0.05, atol=1e-5)
    np.testing.assert_allclose(kept.image[~known], CLEAN[~known] + 0.05, atol=1e-5)
    assert taken.share == pytest.approx(1) and kept.share == pytest.approx(0)
    assert taken.errors == pytest.approx({"first": 0.2, "other": 0.05}, rel=1e-4)


def test_errors_that_cancel_are_mixed_until_they_do():
    known = ~line("horizontal")
    below, above = (lambda image, known, stride, e=e: CLEAN + np.float32(e) for e in (-0.1, 0.3))
    mixture = mixed(CLEAN, known, {"first": below, "other": above})
    assert mixture.share == pytest.approx(0.25, abs=1e-4)
    np.testing.assert_allclose(mixture.image[~known], CLEAN[~known], atol=1e-4)


def test_each_region_has_its_own_mixture():
    known, left = ~line("horizontal"), np.arange(CLEAN.shape[1]) < 64
    one, other = (lambda image, known, stride, wrong=wrong: CLEAN + np.float32(0.2 * wrong) for wrong in (left, ~left))
    mixture = mixed(CLEAN, known, {"first": one, "other": other})
    error = np.abs(mixture.image - CLEAN)
    assert error[38:43, :30].max() < 0.03 and error[38:43, 98:].max() < 0.03


def test_what_the_damage_hides_has_no_part_in_the_choice():
    known = ~line("falling")
    candidates = {
        "median": lambda image, known, stride: median_filter(np.where(known, image, 0.5), 9).astype(np.float32),
        "mean": lambda image, known, stride: np.full_like(image, image[known].mean()),
    }
    one, other = (mixed(np.where(known, CLEAN, np.float32(value)), known, candidates) for value in (0, 1))
    np.testing.assert_array_equal(one.image[~known], other.image[~known])
    assert one.errors == other.errors


def test_what_is_hidden_to_compare_is_not_known_to_those_that_are_compared():
    """Each leaves what it knows, and puts one grey elsewhere: so it errs by that grey on all of the copies."""
    known, greys = ~line("rising"), {"middle": 0.5, "dark": 0.2}
    candidates = {
        name: lambda image, known, stride, grey=grey: np.where(known, image, np.float32(grey))
        for name, grey in greys.items()
    }
    hidden = np.concatenate([CLEAN[copy] for copy in copies(~known)])
    expected = {name: np.sqrt(np.mean((grey - hidden) ** 2)) for name, grey in greys.items()}
    assert mixed(CLEAN, known, candidates).errors == pytest.approx(expected, rel=1e-4)


def salted(clean, rate, seed=0):
    return np.where(np.random.default_rng(seed).random(clean.shape) < rate, np.float32(1), clean)


def figures(products, candidates):
    return dict(zip(candidates, np.sqrt(np.diag(products)), strict=True))


def without_white(image):
    return np.where(image == 1, median_filter(np.where(image == 1, 0, image), 3), image)


def test_the_better_way_to_remove_specks_has_the_lower_error():
    clean = 0.9 * CLEAN
    candidates = {
        "specks alone": without_white,
        "all pixels": lambda image: median_filter(image, 3),
        "none": lambda image: image,
    }
    errors = figures(compared(salted(clean, 0.05), candidates, lambda again: again), candidates)
    assert errors["specks alone"] < 0.5 * errors["all pixels"] and errors["specks alone"] < 0.5 * errors["none"]


def test_what_blanks_a_page_loses_to_what_keeps_its_type():
    (page,) = drawn_pages(1)
    page = page[:128, :128]
    peppered = 1 - salted(1 - page, 0.02)
    ink = page < 0.5
    candidates = {
        "blank": lambda image: np.where(image < 0.5, np.float32(1), image),
        "specks": lambda image: np.where((image < 0.5) & ~ink, np.float32(1), image),
    }
    errors = figures(compared(peppered, candidates, lambda again: again), candidates)
    assert errors["specks"] < errors["blank"]


def test_a_pair_is_mixed_where_that_is_better_than_either_and_else_the_best_is_taken_alone():
    errors = np.random.default_rng(0).normal(size=(3, 2000)) * [[1], [1.5], [3]]
    i, j, share = best_pair(errors @ errors.T)
    shares = np.linspace(0, 1, 1001)
    mixtures = [np.square((1 - a) * errors[0] + a * errors[1]).sum() for a in shares]
    assert (i, j) == (0, 1) and share == pytest.approx(shares[np.argmin(mixtures)], abs=0.002)
    alike = np.stack([errors[0], 1.2 * errors[0] + 0.01 * errors[1]])
    assert best_pair(alike @ alike.T) == (0, 0, 0.0)
