"""Claims about the range of an image and the levels of its impulses: they are found whatever they are, or none is."""

import numpy as np
import pytest

from data.damage import as_jpeg
from data.images import VALIDATION_IMAGES, clipped, load_image, load_picture, load_pixels, to_image, to_pixels
from data.levels import Levels, find_levels, white_level
from tests.helpers import random_valued


def hit(pixels, rate, *levels, seed=0):
    """The pixels, of which a share is set to one of the levels each, and which were drawn."""
    generator = np.random.default_rng(seed)
    drawn = generator.random(pixels.shape) < rate
    return np.where(drawn, generator.choice(levels, size=pixels.shape), pixels).astype(pixels.dtype), drawn


def in_jpeg(pixels, quality):
    return np.rint(as_jpeg(to_image(pixels), quality=quality) * 255).astype(np.uint8)


def levels_in(pixels):
    white = white_level(pixels)
    found = find_levels(pixels.astype(np.float32) / np.float32(white))
    return tuple(None if level is None else round(level * white, 3) for level in found[:2])


@pytest.mark.parametrize(("name", "colour"), [("camera", False), ("chelsea", True)])
@pytest.mark.parametrize("levels", [(0, 255), (0, 254), (16, 235), (0, None), (30, None), (None, 255), (None, 225)])
def test_both_levels_are_found_or_that_there_is_one(levels, name, colour):
    pixels = load_picture(name, colour).pixels
    for rate in (0.003, 0.03, 0.5):
        noisy, _ = hit(pixels, rate, *[level for level in levels if level is not None])
        assert levels_in(noisy) == levels


@pytest.mark.parametrize("name", VALIDATION_IMAGES)
def test_photographs_other_noise_and_small_images_have_no_levels(name):
    pixels = load_pixels(name)
    for quality in (50, 75, 95):
        assert levels_in(in_jpeg(hit(pixels, 0.1, 0, 255)[0], quality)) == (None, None)
    image = to_image(pixels)
    for other in (image, clipped(image, 0.3), random_valued(image, 0.2, seed=0)):
        assert find_levels(other) == Levels(None, None)
    for shape in ((1, 1), (2, 5), (1, 7, 3), (31, 33)):
        assert find_levels(np.random.default_rng(0).random(shape, dtype=np.float32)) == Levels(None, None)


def test_what_jpeg_makes_of_impulses_is_no_level():
    """Colours are coarse: salt in green makes red lighter too. Around the retina, which is black, values are few."""
    grain = np.random.default_rng(0).normal(0, 6, size=(256, 256, 1))
    reds = in_jpeg(hit(np.uint8([200, 80, 40] + grain), 0.03, 0, 255)[0], quality=80)
    assert (reds[..., 0] == 255).mean() > 0.01 and levels_in(reds) == (None, None)
    retina = load_picture("retina", colour=True).pixels
    assert levels_in(in_jpeg(hit(retina, 0.003, 0, 255)[0], quality=60)) == (None, None)


def test_levels_are_found_near_black_and_white_areas_in_a_night_sky_and_the_frequent_one_of_two():
    for share in (0.1, 0.3):
        pixels = to_pixels(clipped(load_image("grass"), share), np.uint8)
        assert levels_in(hit(pixels, 0.01, 5, 250)[0]) == (5, 250)
    video = to_pixels((16 + 219 * clipped(load_image("camera"), 0.1)) / 255, np.uint8)
    assert levels_in(hit(video, 0.1, 16, 235)[0]) == (16, 235)
    night = np.random.default_rng(0).normal(20, 2, size=(128, 128)).round().astype(np.uint8)
    assert levels_in(hit(night, 0.03, 0)[0]) == (0, None) and levels_in(night) == (None, None)
    assert levels_in(hit(load_pixels("brick"), 0.05, 0, 40, 40, 40)[0]) == (40, None)
    assert levels_in(hit(load_pixels("brick"), 0.05, 0, 0, 0, 40)[0]) == (0, None)


@pytest.mark.parametrize("tiles", [1, 4])
def test_only_candidates_become_black_and_white(tiles):
    pixels = np.tile(load_pixels("camera"), (tiles, tiles))
    noisy, drawn = hit(pixels, 0.1 if tiles == 1 else 0.003, 1, 254)
    image = to_image(noisy)
    levels = find_levels(image)
    canonical, kept = levels.canonical(image), (noisy != 1) & (noisy != 254)
    np.testing.assert_array_equal(levels.candidates(image), ~kept)
    np.testing.assert_array_equal(canonical == 0, noisy == 1)
    np.testing.assert_array_equal(canonical == 1, noisy == 254)
    assert (pixels[~drawn] == 255).any() and not kept[drawn].any()
    assert np.abs(canonical - image)[kept].max() <= 0.5001 / 255
    middle = kept & (noisy > 0) & (noisy < 255)
    np.testing.assert_array_equal(canonical[middle], image[middle])
    np.testing.assert_array_equal(Levels(None, None).canonical(np.float32([0, 0.5, 1])) * 255, [0.5, 127.5, 254.5])


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
def test_white_and_levels_of_samples_in_sixteen_bits(white):
    pixels = (load_image("camera") * white * 0.9 + 0.05 * white).astype(np.uint16)
    assert levels_in(pixels) == (None, None)
    noisy, _ = hit(pixels, 0.03, 3, white)
    assert white_level(noisy) == white and levels_in(noisy) == (3, white)
    assert white_level(np.uint16([[0, (white + 1) // 4]])) == white
    assert white_level(np.uint16([[0]])) == white_level(np.uint8([[3]])) == 255
