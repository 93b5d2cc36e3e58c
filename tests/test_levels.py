"""Claims about the range of an image and the levels of its impulses: they are found whatever they are, or none is."""

import io

import numpy as np
import pytest
from PIL import Image

from data.formats import save_pixels
from data.images import VALIDATION_IMAGES, clipped, load_image, load_picture, load_pixels, to_image, to_pixels
from data.levels import Levels, find_levels, white_level
from tests.helpers import random_valued
from utils.evaluation.metrics import psnr
from utils.restore import __main__ as restore


def hit(pixels, rate, *levels, seed=0):
    """The pixels, of which a share is set to one of the levels each, and which were drawn."""
    generator = np.random.default_rng(seed)
    drawn = generator.random(pixels.shape) < rate
    return np.where(drawn, generator.choice(levels, size=pixels.shape), pixels).astype(pixels.dtype), drawn


def as_jpeg(pixels, quality):
    """The pixels of a JPEG file of these."""
    Image.fromarray(pixels).save(file := io.BytesIO(), "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def levels_in(pixels):
    """Dark and light level, as pixels."""
    white = white_level(pixels)
    found = find_levels(pixels.astype(np.float32) / np.float32(white))
    return tuple(None if level is None else round(level * white, 3) for level in found[:2])


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("rate", [0.003, 0.03, 0.5])
@pytest.mark.parametrize("levels", [(0, 255), (0, 254), (16, 235), (0, None), (30, None), (None, 255), (None, 225)])
def test_both_levels_are_found_or_that_there_is_one(levels, rate, colour):
    pixels = load_picture("chelsea" if colour else "camera", colour).pixels
    noisy, _ = hit(pixels, rate, *[level for level in levels if level is not None])
    assert levels_in(noisy) == levels


@pytest.mark.parametrize("name", VALIDATION_IMAGES)
def test_photographs_and_other_noise_have_no_levels(name):
    pixels = load_pixels(name)
    for quality in (50, 75, 95):
        assert levels_in(as_jpeg(hit(pixels, 0.1, 0, 255)[0], quality)) == (None, None)
    image = to_image(pixels)
    for other in (image, clipped(image, 0.3), random_valued(image, 0.2, seed=0)):
        assert find_levels(other) == Levels(None, None)


def test_bright_reds_that_jpeg_cuts_off_are_not_salt():
    """Colours are coarse in JPEG: salt in green makes red lighter as well, and what is then above white becomes it."""
    grain = np.random.default_rng(0).normal(0, 6, size=(256, 256, 1))
    pixels = as_jpeg(hit(np.uint8([200, 80, 40] + grain), 0.03, 0, 255)[0], quality=80)
    assert (pixels[..., 0] == 255).mean() > 0.01
    assert levels_in(pixels) == (None, None)


def test_equal_blocks_of_a_jpeg_do_not_make_a_level():
    """Around the retina all is black. So an impulse there leaves one of few patterns of always the same values."""
    pixels = load_picture("retina", colour=True).pixels
    assert levels_in(as_jpeg(hit(pixels, 0.003, 0, 255)[0], quality=60)) == (None, None)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_levels_are_found_near_black_and_white_areas(share):
    pixels = to_pixels(clipped(load_image("grass"), share), np.uint8)
    assert levels_in(hit(pixels, 0.01, 5, 250)[0]) == (5, 250)


def test_of_two_levels_the_frequent_one_is_found():
    assert levels_in(hit(load_pixels("brick"), 0.05, 0, 40, 40, 40)[0]) == (40, None)
    assert levels_in(hit(load_pixels("brick"), 0.05, 0, 0, 0, 40)[0]) == (0, None)


def test_pepper_is_found_in_a_night_sky():
    night = np.random.default_rng(0).normal(20, 2, size=(128, 128)).round().astype(np.uint8)
    assert levels_in(hit(night, 0.03, 0)[0]) == (0, None)
    assert levels_in(night) == (None, None)


def test_impulses_of_a_large_photograph_are_all_found():
    """Levels are looked for in parts of it."""
    noisy, drawn = hit(np.tile(load_pixels("camera"), (4, 4)), 0.003, 5)
    levels, image = find_levels(to_image(noisy)), to_image(noisy)
    assert levels[:2] == (np.float32(5 / 255), None)
    assert levels.candidates(image)[drawn].all()
    assert levels.candidates(image).mean() == (noisy == 5).mean()


def test_only_candidates_become_black_and_white():
    pixels = load_pixels("camera")
    noisy, drawn = hit(pixels, 0.1, 1, 254)
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


@pytest.mark.parametrize("replace", ["all", "corrupted"])
def test_a_picture_in_the_range_of_video_stays_in_it_and_its_areas_are_no_specks(replace, tmp_path):
    clean = to_pixels((16 + 219 * load_image("camera")[150:246, 200:296]) / 255, np.uint8)
    clean[:32, :32], clean[64:, 64:] = 16, 235
    noisy, drawn = hit(clean, 0.1, 16, 235)
    noisy[50, 10:20] = clean[50, 10:20] = outside = np.arange(20, 30)
    for beyond in (False, True):  # whether some pixels of the picture are blacker and whiter
        if beyond:
            noisy[50, 10:20] = clean[50, 10:20] = outside = [0, 5, 10, 250, 251, 252, 253, 254, 255, 255]
        save_pixels(noisy, tmp_path / "image.png")
        words = ["--image", tmp_path / "image.png", "--output", tmp_path / "out.png"]
        restore.main([str(word) for word in (*words, "--positions", "detected", "--replace", replace)])
        restored = load_pixels(str(tmp_path / "out.png"))
        assert (restored.min(), restored.max()) == ((0, 255) if beyond else (16, 235))
        np.testing.assert_array_equal(restored[50, 10:20], outside)
        for area in (np.s_[:28, :28], np.s_[68:, 68:]):
            np.testing.assert_array_equal(restored[area][~drawn[area]], clean[area][~drawn[area]])
        assert (restored != noisy)[~drawn].mean() < 0.01
        assert psnr(to_image(restored), to_image(clean)) > 36


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (10, 1023), (12, 4095), (14, 16383), (16, 65535)])
def test_white_and_levels_of_samples_in_sixteen_bits(bits, white):
    pixels = (load_image("camera") * white * 0.9 + 0.05 * white).astype(np.uint16)
    assert levels_in(pixels) == (None, None)
    noisy, _ = hit(pixels, 0.03, 3, white)
    assert white_level(noisy) == white
    assert levels_in(noisy) == (3, white)


@pytest.mark.parametrize(
    ("dtype", "largest", "white"),
    [(np.uint8, 3, 255), (np.uint16, 0, 255), (np.uint16, 256, 1023), (np.uint16, 4096, 16383)],
)
def test_white_is_not_below_the_lightest_pixel(dtype, largest, white):
    assert white_level(np.array([[0, largest]], dtype=dtype)) == white


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (1, 7, 3), (31, 33)])
def test_small_images_have_no_levels_by_chance(shape):
    assert find_levels(np.random.default_rng(0).random(shape, dtype=np.float32)) == Levels(None, None)
