"""Claims about restoring a picture: what is seen, said, changed and left alone; last, about its check by itself."""

import re
from copy import deepcopy
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt, maximum_filter, median_filter, uniform_filter

from data.damage import as_jpeg
from data.dictionary import load_dictionary
from data.drawings import drawn_pages
from data.images import load_image, to_image, to_pixels
from data.levels import Levels
from data.masks import inpainted
from models import DLADMM
from tests.helpers import gaussian_and_impulses, missing_blocks, salt_and_pepper
from utils.evaluation import restoration, solvers
from utils.evaluation.metrics import psnr
from utils.restore import learning, remedies, restoring
from utils.restore.remedies import REMEDIES, WAYS, Networks, by_network, levels_of, small_ones, without_areas
from utils.restore.restoring import best_mixture, noise_in
from utils.restore.trials import best_pair, compared, copies, mixed
from utils.running.errors import UserError
from utils.studies.real_damage import by_command, page

CLEAN = to_pixels(load_image("camera")[150:278, 200:328], np.uint8)
NETWORKS = Networks(torch.device("cpu"))
restore = partial(restoring.restore, networks=NETWORKS)


def specks(low, high, rate=0.1, clean=CLEAN):
    draws = np.random.default_rng(0).random(clean.shape)
    dark, light = (clean if value is None else clean.dtype.type(value) for value in (low, high))
    return np.where(draws < rate / 2, dark, np.where(draws > 1 - rate / 2, light, clean))


def decibels(pixels, clean=CLEAN, where=...):
    return psnr(to_image(pixels)[where], to_image(clean)[where])


def by_inpainting(pixels, known):
    return to_pixels(inpainted(to_image(pixels), known), np.uint8)


SHOWN = to_image(CLEAN)
SMALL_TYPE = page(9, smooth=False)[:128, :256]
VIDEO = np.uint8(np.rint(16 + CLEAN / 255 * 219))  # black is 16 and white 235, and specks are in areas of these as well
VIDEO[10:45, 10:45], VIDEO[70:105, 70:105] = 16, 235
TWELVE = (CLEAN.astype(np.uint16) << 4) | (CLEAN >> 4)


@pytest.mark.parametrize(
    ("low", "high", "clean", "said"),
    [
        (5, 250, CLEAN, "black and white specks, levels 5 and 250,"),
        (0, 254, CLEAN, "black and white specks, levels 0 and 254,"),
        (0, None, CLEAN, "black specks, level 0,"),
        (None, 250, CLEAN, "white specks, level 250,"),
        (16, 235, VIDEO, "black and white specks, levels 16 and 235,"),
        (0, 4095, TWELVE, "black and white specks, levels 0 and 4095,"),
    ],
)
def test_specks_at_any_level_are_restored_and_nothing_else_is_changed(low, high, clean, said):
    damaged, white = specks(low, high, clean=clean), np.float32(4095 if clean is TWELVE else 255)
    restored, share = restore(damaged), 100 * (damaged != clean).mean()
    (found,) = re.findall(f"^{said} on (.*?)%", restored.found)
    assert restored.pixels.dtype == clean.dtype and float(found) == pytest.approx(share, abs=1.5)
    rival = inpainted(damaged / white, damaged == clean)
    margin = 7 if clean is VIDEO else 0.2  # dB; areas have the levels of the specks
    assert psnr(restored.pixels / white, clean / white) > psnr(rival, clean / white) - margin
    assert set(damaged[restored.pixels != damaged]) <= {low, high}
    assert damaged.min() <= restored.pixels.min() and restored.pixels.max() <= damaged.max()


@pytest.mark.parametrize("beyond", [False, True])
def test_after_learning_a_picture_in_video_range_stays_in_it_and_its_areas_are_no_specks(beyond, short, monkeypatch):
    monkeypatch.setattr(learning.Learning, "__iter__", lambda lessons: iter(()))
    damaged, outside = specks(16, 235, clean=VIDEO), np.uint8([0, 5, 10, 250, 251, 252, 253, 254, 255, 255])
    damaged[50, 10:20] = outside if beyond else np.arange(20, 30)  # whether some pixels are blacker and whiter
    restored = restore(damaged, learn="salt_and_pepper").pixels
    assert (restored.min(), restored.max()) == ((0, 255) if beyond else (16, 235))
    np.testing.assert_array_equal(restored[50, 10:20], damaged[50, 10:20])
    changed = (restored != VIDEO) & (damaged == VIDEO)
    assert not changed[14:41, 14:41].any() and not changed[74:101, 74:101].any()
    assert decibels(restored, VIDEO, np.s_[60:]) > decibels(damaged, VIDEO, np.s_[60:]) + 15


@pytest.mark.parametrize("turned", [False, True], ids=["stars", "pores"])
def test_a_few_of_one_polarity_beside_many_of_the_other_are_no_specks_unless_it_is_said(turned):
    draws = np.random.default_rng(0).random(CLEAN.shape)
    for share, rare in ((0.01, True), (0.03, False)):
        image = to_image(np.where(draws < 0.1, 5, np.where(draws > 1 - share, 250, CLEAN)).astype(np.uint8))
        dark, light, _ = levels_of(1 - image if turned else image, None)
        many, few = (1 - light, dark and 1 - dark) if turned else (dark, light)
        assert many == pytest.approx(5 / 255) and few == (None if rare else pytest.approx(250 / 255))
        assert None not in levels_of(1 - image if turned else image, REMEDIES["specks"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_channel_is_restored_by_itself_in_the_depth_it_has_and_bands_do_not_show(dtype, monkeypatch):
    pixels = np.random.default_rng(0).integers(np.iinfo(dtype).max + 1, size=(45, 39, 3), dtype=dtype)
    network, planes = NETWORKS["gaussian_and_impulses"], to_image(pixels).transpose(2, 0, 1)
    whole = {stride: np.dstack([by_network(network, plane, None, stride) for plane in planes]) for stride in (4, 8)}
    monkeypatch.setitem(restoration.BAND, "cpu", 20)
    monkeypatch.setitem(solvers.BATCH, "cpu", 7)
    for small, stride in ((remedies.SMALL, 4), (1000, 8)):  # samples: a larger picture has fewer patches
        monkeypatch.setattr(remedies, "SMALL", small)
        restored = restore(pixels, "specks_and_grain").pixels
        assert restored.dtype == dtype
        assert np.abs(restored.astype(int) - to_pixels(whole[stride], dtype)).max() <= 1


def test_of_known_pixels_a_network_replaces_the_others_alone_and_a_white_sky_taken_for_salt_stays_white(monkeypatch):
    monkeypatch.setitem(restoration.BAND, "cpu", 5)
    image = salt_and_pepper(load_image("camera")[200:280, 200:280], 0.1, seed=0)
    image[:48, :48] = 1
    known = (image > 0) & (image < 1)
    everywhere, corrupted = (by_network(NETWORKS["positions"], image, known, 16, what) for what in ("all", "corrupted"))
    np.testing.assert_array_equal(corrupted, np.where(known, image, everywhere))
    assert everywhere[:48, :48].mean() > 0.9


@pytest.mark.parametrize(("quality", "said"), [(95, "levels 0 and 255 or up to"), (75, "specks and grain")])
def test_below_a_jpeg_specks_are_found_without_a_mask_and_restored_as_well_as_by_inpainting_with_it(quality, said):
    damaged = specks(0, 255)
    stored, restored = by_command(damaged, quality)
    assert said in restored.found
    assert decibels(restored.pixels) > decibels(by_inpainting(stored, damaged == CLEAN)) - 0.3


def test_ways_to_restore_a_jpeg_are_compared_on_one_that_is_stored_like_it(tmp_path, monkeypatch):
    """What is stored so changes little when it is stored so again; with specks fresh in it, it changes much."""
    name, changes = str(tmp_path / "image.jpg"), []
    way = Mock(side_effect=lambda networks, levels, image: median_filter(image, 3))
    for kind in ("levels", "grain"):
        monkeypatch.setitem(WAYS, kind, ("", way))
    Image.fromarray(specks(0, 255)).save(name, quality=50)
    tables = Image.open(name).quantization
    for qtables in (tables, None):
        best_mixture(load_image(name), Levels(0.0, 1.0), ("levels", "grain"), None, qtables)
        shown = way.call_args.args[2]
        changes.append(np.abs(as_jpeg(shown, qtables=tables) - shown).mean())
    assert changes[0] < 0.2 * changes[1]


def test_black_blocks_are_told_from_specks_and_from_what_is_black():
    clean = CLEAN.copy()
    clean[:60, :60] = 0
    damaged = to_pixels(missing_blocks(to_image(clean), 0.1, seed=1), np.uint8)
    restored, hit = restore(damaged), damaged != clean
    assert "black blocks on" in restored.found and (restored.pixels[:44, :44] == 0).all()
    hit[:76, :76] = False  # at its edge nobody can tell
    assert decibels(restored.pixels, clean, hit) > decibels(by_inpainting(damaged, ~hit), clean, hit)


def test_what_is_clean_is_as_it_was():
    texture, drawn = (to_pixels(i[100:228, 100:228], np.uint8) for i in (load_image("grass"), drawn_pages(2)[1]))
    for pixels in (CLEAN, texture, SMALL_TYPE, drawn):
        restored = restore(pixels)
        np.testing.assert_array_equal(restored.pixels, pixels)
        assert restored.found == "nothing found: the picture is written as it is"
    stored, restored = by_command(CLEAN, quality=90)
    np.testing.assert_array_equal(restored.pixels, stored)


def test_texture_is_not_taken_for_grain_nor_grain_for_texture():
    grass = to_pixels(load_image("grass")[:192, :192], np.uint8)
    restored = restore(specks(0, 255, clean=grass))
    assert "detected, then restored" in restored.found and decibels(restored.pixels, grass) > 33
    for width in (128, 129):  # pieces side by side: a column more does not hide grain
        noisy = gaussian_and_impulses(load_image("camera")[100:228, 150 : 150 + width], 0.1, seed=1)
        assert "specks and grain" in restore(to_pixels(noisy, np.uint8)).found


def test_the_noise_is_that_of_the_piece_with_least_of_it_however_narrow_pieces_are():
    quiet, loud = (np.random.default_rng(0).normal(0.5, scale, (128, 40)) for scale in (0.01, 0.04))
    no_specks = np.zeros((128, 120), dtype=bool)
    for pieces in ((quiet, loud, loud), (loud, quiet, loud), (loud, loud, quiet)):
        assert noise_in(np.hstack(pieces), no_specks, [40] * 3, None) == pytest.approx(0.01, rel=0.2)


def test_stars_are_no_sign_that_the_level_of_pepper_is_not_exact():
    sky = np.random.default_rng(2).integers(27, 34, (128, 128)).astype(np.uint8)
    stars = np.random.default_rng(3).random(sky.shape) < 0.02
    sky[stars] = np.random.default_rng(4).integers(120, 250, stars.sum())
    damaged = specks(0, None, 0.06, sky)
    restored = restore(damaged)
    assert "black specks, level 0" in restored.found
    np.testing.assert_array_equal(restored.pixels[damaged > 100], damaged[damaged > 100])


def test_specks_of_any_value_are_restored():
    hit = np.random.default_rng(0).random(CLEAN.shape) < 0.02
    damaged = np.where(hit, np.random.default_rng(1).integers(256, size=CLEAN.shape), CLEAN).astype(np.uint8)
    restored = restore(damaged)
    assert decibels(restored.pixels) > decibels(damaged) + 7 and "specks of any value on" in restored.found


ROWS, COLUMNS = np.indices(CLEAN.shape)
CROSS = np.minimum(abs(ROWS - COLUMNS / 2 - 8), abs(ROWS + COLUMNS - 90))  # about the distance to one of two lines
HORIZONTAL, VERTICAL, FALLING, RISING = (  # True on a line of 3 pixels
    abs(distance) < 2 for distance in (ROWS - 40, COLUMNS - 70, ROWS - COLUMNS, ROWS + COLUMNS - 120)
)
COVERING = {  # True where damage hides all or nothing once more if it is moved
    "every second pixel is left": lambda y, x: (y % 2 > 0) | (x % 2 > 0),
    "every third pixel is left": lambda y, x: (y % 3 > 0) | (x % 3 > 0),
    "every second row": lambda y, x: y % 2 > 0,
    "every second column, and a speck": lambda y, x: (x % 2 > 0) | (y == 40) & (x == 40),
    "checkerboard": lambda y, x: (y + x) % 2 > 0,
    "the left three quarters": lambda y, x: 4 * x < 3 * x.max(),
    "all but a row": lambda y, x: y != 40,
}
COVERED = {"strokes of 2": lambda y, x: CROSS[:64, :96] < 1, "strokes of 8": lambda y, x: CROSS[:64, :96] < 5}
for name in ("every second pixel is left", "every second row", "the left three quarters"):
    COVERED[name] = COVERING[name]


@pytest.mark.parametrize("name", COVERED)
def test_a_mask_is_filled_never_worse_than_by_inpainting_also_where_it_covers_itself_or_all_that_is_known(name):
    hit, clean = np.fromfunction(COVERED[name], (64, 96)), CLEAN[:64, :96]
    damaged = np.where(hit, np.uint8(255), clean)
    restored = restore(damaged, known=~hit)
    assert "the mask marks" in restored.found and "of the network" in restored.found
    assert set(restored.figures) == {"inpainting", "positions", "missing_blocks"}
    assert np.isfinite(list(restored.figures.values())).all()
    np.testing.assert_array_equal(restored.pixels[~hit], clean[~hit])
    assert decibels(restored.pixels, clean, hit) > decibels(by_inpainting(damaged, ~hit), clean, hit) - 0.2


def test_a_mask_that_leaves_one_pixel_is_filled_and_no_choice_is_said_to_be_made():
    known = (ROWS[:32, :32] == 16) & (COLUMNS[:32, :32] == 16)
    restored = restore(CLEAN[:32, :32], known=known)
    assert "inpainting alone, too few pixels are known to compare it" in restored.found
    np.testing.assert_array_equal(restored.pixels, CLEAN[16, 16])
    with pytest.raises(UserError, match="allowed: no damage or learn beside it"):
        restore(CLEAN[:32, :32], "specks", known=known)


def test_what_is_transparent_is_neither_seen_nor_changed():
    opaque = np.broadcast_to(np.arange(128) >= 50, CLEAN.shape)
    one, other = (np.where(opaque, specks(0, 255), np.uint8(under)) for under in (255, 0))
    first, second = (restore(pixels, opaque=opaque).pixels for pixels in (one, other))
    assert (first[:, :50] == 255).all() and (second[:, :50] == 0).all()
    np.testing.assert_array_equal(first[:, 50:], second[:, 50:])
    assert decibels(first, where=np.s_[:, 50:58]) > 26


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(learning, "PATCHES_PER_EPOCH", 400)


def test_learning_on_the_picture_itself_restores_it_better_and_says_the_rate_of_the_noise(short, monkeypatch):
    """Also in pieces: a picture of any size is learned on. The network itself is as before."""
    monkeypatch.setattr("utils.restore.trials.TILES", 1)  # a larger picture is compared in pieces
    clean = to_pixels(load_image("camera")[80:240, 180:340], np.uint8)
    noisy = to_pixels(salt_and_pepper(to_image(clean), 0.1, seed=3), np.uint8)
    before = DLADMM(load_dictionary(), 3, 0.6, beta=8.0, initialization="pseudo_inverse", activation="piecewise_linear")
    weights = deepcopy(before.state_dict())
    networks = Networks(torch.device("cpu"), read=NETWORKS.read | {"positions": before})
    restored = restore(noisy, learn="salt_and_pepper", networks=networks)
    rate, said = re.match(r"the noise rate is (.*)%: (.*)", restored.found).groups()
    assert float(rate) == pytest.approx(100 * (noisy != clean).mean(), abs=0.5) and said == "learned on the picture"
    unlearned = by_network(before, to_image(noisy), (noisy > 0) & (noisy < 255), 4)
    assert decibels(restored.pixels, clean) > psnr(unlearned, to_image(clean)) + 3
    assert restored.figures["after"] < restored.figures["before"]
    assert all(torch.equal(value, weights[name]) for name, value in before.state_dict().items())


@pytest.mark.parametrize("helps", [True, False])
def test_learning_is_used_if_it_helps_and_not_if_not(helps, short, monkeypatch):
    """To remove the grain as well helps, though the noisy picture itself has it."""
    learned = NETWORKS["gaussian_and_impulses"] if helps else DLADMM(load_dictionary(), 1, 0.6)

    def learn(lessons):
        lessons.network = learned
        return iter(())

    monkeypatch.setattr(learning.Learning, "__iter__", learn)
    clean = load_image("camera")[150:246, 200:296]
    noisy = gaussian_and_impulses(clean, 0.1, seed=1)
    networks = Networks(torch.device("cpu"), stride=8, read={"gaussian_and_impulses": NETWORKS["noise_rates"]})
    restored = restore(to_pixels(noisy, np.uint8), learn="gaussian_and_impulses", networks=networks)
    said = "learned on the picture" if helps else "learning on the picture did not help, and is not used"
    assert restored.found.endswith(said)
    assert psnr(to_image(restored.pixels), clean) > (31 if helps else 27)


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("damage", ["auto", "black_specks"])
def test_a_page_keeps_its_type_and_loses_single_specks(damage, colours):
    clean = to_pixels(drawn_pages(2)[1][100:228, 100:268], np.uint8)
    peppered, ink = specks(clean.min(), None, 0.04, clean), clean < 128
    restored = restore(np.stack([peppered] * 3, axis=2) if colours else peppered, damage)
    assert "black specks" in restored.found
    alone = (peppered != clean) & (uniform_filter(np.float32(peppered < 128), 3) * 9 < 1.5)
    for plane in np.atleast_3d(restored.pixels).transpose(2, 0, 1):
        assert (plane[ink] < 128).mean() > 0.99
        assert alone.sum() > 100 and (plane[alone] > 128).all()


def test_pepper_between_small_type_is_removed():
    peppered = specks(0, None, 0.04, SMALL_TYPE)
    between = (peppered != SMALL_TYPE) & ~maximum_filter(SMALL_TYPE < 128, 3)
    assert (restore(peppered).pixels[between] == 255).mean() > 0.8


@pytest.mark.parametrize("ink", [0, 1])
def test_on_a_page_single_pixels_and_lonely_pairs_are_specks_and_the_dot_of_a_letter_is_none(ink):
    page = np.full((40, 60), 1 - ink, dtype=np.float32)
    page[5, 5], page[30, 5:7] = ink, ink  # a single one, a pair
    expected = np.where(page == ink, np.float32(0.5), page)
    page[10, 40:42] = page[13:22, 40:42] = expected[10, 40:42] = expected[13:22, 40:42] = ink  # i
    levels = Levels(None, 1.0) if ink else Levels(0.0, None)
    networks = Mock(restored=lambda name, image, known: np.where(known, image, np.float32(0.5)))
    np.testing.assert_array_equal(small_ones(networks, levels, page), expected)
    colours, restored = (np.stack([plane] * 3, axis=2) for plane in (page, expected))
    np.testing.assert_array_equal(small_ones(networks, levels, colours), restored)


def test_what_is_as_dark_as_the_pixels_around_is_no_speck_and_black_is_none_if_specks_are_not_black():
    level, (rows, columns) = np.float32(5 / 255), np.indices((40, 60))
    hit, image = (rows % 9 == 4) & (columns % 9 == 4), np.where(columns < 27, np.float32(0.5), np.float32(0))
    canonical = without_areas(Levels(level, None), np.where(hit, level, image))
    np.testing.assert_array_equal(canonical == 0, hit & (columns < 27))
    assert np.abs(canonical - image)[:, 27:].max() <= level


@pytest.mark.parametrize("damaged", [HORIZONTAL, VERTICAL, FALLING, RISING])
def test_a_copy_of_the_damage_lies_beside_it(damaged):
    shares = [copy.sum() / damaged.sum() for copy in copies(damaged)]
    assert not any((copy & damaged).any() for copy in copies(damaged))
    assert min(shares) > 0.5 and shares[0] > 0.7


@pytest.mark.parametrize("width", [191, 192])  # what is moved over the edge of the narrower one is out of step
@pytest.mark.parametrize("name", COVERING)
def test_a_copy_hides_enough_to_compare_and_leaves_enough_to_restore_it(name, width):
    damaged = np.fromfunction(COVERING[name], (128, width))
    found = copies(damaged)
    assert len(found) == 4
    for copy in found:
        left = ~damaged & ~copy
        assert not (copy & damaged).any() and copy.sum() > 50 and left.sum() > 50
        assert distance_transform_edt(~left).max() < 8 * distance_transform_edt(damaged).max()


@pytest.mark.parametrize(
    ("first", "other", "share"), [(0.2, 0.05, 1), (0.05, 0.2, 0), (-0.1, 0.3, 0.25)], ids=["better", "worse", "cancel"]
)
def test_what_is_better_on_the_copy_is_taken_and_errors_that_cancel_are_mixed_until_they_do(first, other, share):
    one, two = (lambda image, known, stride, e=e: SHOWN + np.float32(e) for e in (first, other))
    mixture = mixed(SHOWN, ~RISING, {"first": one, "other": two})
    assert mixture.share == pytest.approx(share, abs=1e-4)
    np.testing.assert_allclose((mixture.image - SHOWN)[RISING], (1 - share) * first + share * other, atol=1e-4)
    assert mixture.errors == pytest.approx({"first": abs(first), "other": abs(other)}, rel=1e-4)


def test_each_region_has_its_own_mixture():
    left = COLUMNS < 64
    one, other = (lambda image, known, stride, wrong=wrong: SHOWN + np.float32(0.2 * wrong) for wrong in (left, ~left))
    error = np.abs(mixed(SHOWN, ~HORIZONTAL, {"first": one, "other": other}).image - SHOWN)
    assert error[38:43, :30].max() < 0.03 and error[38:43, 98:].max() < 0.03


def test_what_is_hidden_is_not_known_to_those_that_are_compared_and_the_damage_has_no_part_in_the_choice():
    """Each leaves what it knows, and puts one grey elsewhere: so it errs by that grey on all of the copies."""
    candidates = {
        grey: lambda image, known, stride, grey=grey: np.where(known, image, np.float32(grey)) for grey in (0.5, 0.2)
    }
    hidden = np.concatenate([SHOWN[copy] for copy in copies(RISING)])
    one, other = (mixed(np.where(RISING, np.float32(value), SHOWN), ~RISING, candidates) for value in (0, 1))
    assert one.errors == pytest.approx({grey: np.sqrt(np.mean((grey - hidden) ** 2)) for grey in (0.5, 0.2)}, rel=1e-4)
    assert one.errors == other.errors
    np.testing.assert_array_equal(one.image, other.image)


def test_the_better_way_to_remove_specks_has_the_lower_error():
    candidates = {
        "specks alone": lambda image: np.where(image == 1, median_filter(np.where(image == 1, 0, image), 3), image),
        "all pixels": lambda image: median_filter(image, 3),
        "none": lambda image: image,
    }
    products, errors = compared(specks(None, 1, 0.1, 0.9 * SHOWN), candidates, lambda again: again)
    assert products[1, 1] == pytest.approx(errors["all pixels"] ** 2)
    assert errors["specks alone"] < 0.5 * errors["all pixels"] and errors["specks alone"] < 0.5 * errors["none"]


def test_a_pair_is_mixed_where_that_is_better_than_either_and_else_the_best_is_taken_alone():
    errors = np.random.default_rng(0).normal(size=(3, 2000)) * [[1], [1.5], [3]]
    i, j, share = best_pair(errors @ errors.T)
    best = min(np.linspace(0, 1, 1001), key=lambda a: np.square((1 - a) * errors[0] + a * errors[1]).sum())
    assert (i, j) == (0, 1) and share == pytest.approx(best, abs=0.002)
    alike = np.stack([errors[0], 1.2 * errors[0] + 0.01 * errors[1]])
    assert best_pair(alike @ alike.T) == (0, 0, 0.0)
