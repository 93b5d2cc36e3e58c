"""Claims about the command for photographs without further options: what it sees, says, changes and leaves alone."""

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import maximum_filter, median_filter, uniform_filter

from data.damage import as_jpeg
from data.drawings import drawn_pages
from data.formats import quantization, save_pixels
from data.images import load_image, load_pixels, to_image, to_pixels
from data.levels import Levels
from data.masks import inpainted
from tests.helpers import gaussian_and_impulses, missing_blocks, refusal
from utils.evaluation.metrics import psnr
from utils.restore import __main__ as restore
from utils.restore import chosen
from utils.restore.damage import CANDIDATES, DAMAGE, Seen, best_mixture, levels_of, noise_in
from utils.restore.networks import small_ones, without_areas
from utils.running.checkpoints import load_settings
from utils.studies.real_damage import page

CLEAN = to_pixels(load_image("camera")[150:278, 200:328], np.uint8)


def specks(low, high, rate=0.1, clean=CLEAN):
    draws = np.random.default_rng(0).random(clean.shape)
    damaged = clean.copy()
    if low is not None:
        damaged[draws < rate / 2] = low
    if high is not None:
        damaged[draws > 1 - rate / 2] = high
    return damaged


def restored(folder, pixels, *options, name="image.png", alpha=None):
    save_pixels(pixels, folder / name, alpha=alpha)
    restore.main(["--image", str(folder / name), "--output", str(folder / "out.png"), *map(str, options)])
    return load_pixels(str(folder / "out.png"))


def decibels(pixels, clean=CLEAN, where=...):
    return psnr(to_image(pixels)[where], to_image(clean)[where])


def test_specks_at_any_level_are_seen_and_restored_as_well_as_black_and_white_ones(tmp_path, capsys):
    exact = decibels(restored(tmp_path, specks(0, 255)))
    assert re.search(r"black and white specks, levels 0 and 255, on (9|10)\.\d% of the pixels", capsys.readouterr().out)
    for low, high in ((1, 254), (5, 250), (16, 235), (0, 254)):
        assert decibels(restored(tmp_path, specks(low, high))) > exact - 0.8
        assert f"levels {low} and {high}, on" in capsys.readouterr().out


@pytest.mark.parametrize(("dark", "light"), [(16, 235), (5, 250)])
def test_what_is_restored_does_not_leave_the_range_of_the_picture(dark, light, tmp_path):
    """As video has it: black is 16 and white 235, and specks are in areas of these as well."""
    clean = np.uint8(np.rint(dark + CLEAN / 255 * (light - dark)))
    clean[10:45, 10:45], clean[70:105, 70:105] = dark, light
    image = restored(tmp_path, specks(dark, light, clean=clean))
    assert image.min() == dark and image.max() == light
    assert decibels(image, clean) > decibels(specks(dark, light, clean=clean), clean) + 15


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0, None, "black specks, level 0"), (None, 250, "white specks, level 250")]
)
def test_of_one_polarity_the_other_is_left_alone(low, high, said, tmp_path, capsys):
    damaged = specks(low, high)
    image = restored(tmp_path, damaged)
    assert said in capsys.readouterr().out
    changed = image != damaged
    assert (damaged[changed] == (low if high is None else high)).all()
    assert decibels(image) > decibels(damaged) + 15


@pytest.mark.parametrize("turned", [False, True], ids=["stars", "pores"])
def test_a_few_of_one_polarity_beside_many_of_the_other_are_no_specks_unless_it_is_said(turned):
    draws = np.random.default_rng(0).random(CLEAN.shape)
    for share, rare in ((0.01, True), (0.03, False)):
        damaged = np.where(draws < 0.1, 5, np.where(draws > 1 - share, 250, CLEAN)).astype(np.uint8)
        damaged = 255 - damaged if turned else damaged
        many, few = (np.float32(level / 255) for level in ((250, 5) if turned else (5, 250)))
        dark, light, _ = levels_of(to_image(damaged), None)
        found = (light, dark) if turned else (dark, light)
        assert found == (many, None if rare else few)
        assert set(levels_of(to_image(damaged), DAMAGE["specks"])[:2]) == {many, few}


def test_twelve_bits_in_a_file_of_sixteen_are_seen(tmp_path, capsys):
    clean = (CLEAN.astype(np.uint16) << 4) | (CLEAN >> 4)
    image, clean8 = restored(tmp_path, specks(0, 4095, clean=clean), name="image.tif"), np.float32(clean) / 4095
    assert psnr(np.float32(image) / 4095, clean8) > 28
    assert "levels 0 and 4095, on" in capsys.readouterr().out


def jpeg(pixels, folder, quality):
    Image.fromarray(pixels).save(folder / "image.jpg", quality=quality)
    restore.main(["--image", str(folder / "image.jpg"), "--output", str(folder / "out.png")])
    return load_pixels(str(folder / "image.jpg")), load_pixels(str(folder / "out.png"))


@pytest.mark.parametrize(("quality", "said"), [(95, "levels 0 and 255 or up to"), (75, "specks and grain")])
def test_below_a_jpeg_specks_are_found_without_a_mask_and_restored_as_well_as_by_inpainting_with_it(
    quality, said, tmp_path, capsys
):
    damaged = specks(0, 255)
    stored, image = jpeg(damaged, tmp_path, quality)
    assert said in capsys.readouterr().out
    assert decibels(image) > decibels(to_pixels(inpainted(to_image(stored), damaged == CLEAN), np.uint8)) - 0.3


def test_ways_to_restore_a_jpeg_are_compared_on_one_that_is_stored_like_it(tmp_path, monkeypatch):
    """What is stored so changes little when it is stored so again; with specks fresh in it, it changes much."""
    shown = []

    def way(networks, levels, image):
        shown.append(image)
        return median_filter(image, 3)

    for name in ("levels", "grain"):
        monkeypatch.setitem(CANDIDATES, name, ("", way))
    Image.fromarray(specks(0, 255)).save(tmp_path / "image.jpg", quality=50)
    tables, image = quantization(str(tmp_path / "image.jpg")), load_image(str(tmp_path / "image.jpg"))
    changes = []
    for qtables in (tables, None):
        best_mixture(image, Seen(Levels(0.0, 1.0), ("levels", "grain")), None, qtables)
        changes.append(np.abs(as_jpeg(shown[-1], qtables=tables) - shown[-1]).mean())
    assert changes[0] < 0.2 * changes[1]


def test_black_blocks_are_told_from_specks_and_from_what_is_black(tmp_path, capsys):
    clean = CLEAN.copy()
    clean[:60, :60] = 0
    damaged = to_pixels(missing_blocks(to_image(clean), 0.1, seed=1), np.uint8)
    image = restored(tmp_path, damaged)
    assert "black blocks on" in capsys.readouterr().out
    hit = damaged != clean
    np.testing.assert_array_equal(image[:44, :44], 0)
    hit[:76, :76] = False  # at its edge nobody can tell
    rival = to_pixels(inpainted(to_image(damaged), ~hit), np.uint8)
    assert decibels(image, clean, hit) > decibels(rival, clean, hit)


def test_dots_of_small_type_are_no_specks_where_there_are_none_elsewhere(tmp_path):
    clean = page(9, smooth=False)
    np.testing.assert_array_equal(restored(tmp_path, clean), clean)
    pepper = np.random.default_rng(0).random(clean.shape) < 0.02
    image = restored(tmp_path, np.where(pepper, np.uint8(0), clean))
    ink = maximum_filter(clean < 128, 3)
    assert (image[pepper & ~ink] == 255).mean() > 0.8


def test_a_clean_jpeg_is_written_as_it_is(tmp_path):
    stored, image = jpeg(CLEAN, tmp_path, 90)
    np.testing.assert_array_equal(image, stored)


def test_texture_is_not_taken_for_grain_nor_grain_for_texture(tmp_path, capsys):
    grass = to_pixels(load_image("grass")[:256, :256], np.uint8)
    image = restored(tmp_path, specks(0, 255, clean=grass))
    assert "detected, then restored" in capsys.readouterr().out
    assert decibels(image, grass) > 33
    noise = np.random.default_rng(1).normal(scale=0.04 * 255, size=CLEAN.shape)
    restored(tmp_path, specks(0, 255, clean=np.uint8(np.clip(CLEAN + noise, 0, 255))))
    assert "specks and grain" in capsys.readouterr().out


@pytest.mark.parametrize("width", [128, 129])
def test_a_column_more_does_not_hide_grain(width, tmp_path, capsys):
    clean = load_image("camera")[100:228, 150 : 150 + width]
    restored(tmp_path, to_pixels(gaussian_and_impulses(clean, 0.1, seed=1), np.uint8))
    assert "specks and grain" in capsys.readouterr().out


def test_the_noise_is_that_of_the_piece_with_least_of_it_however_narrow_pieces_are():
    quiet, loud = (np.random.default_rng(0).normal(0.5, scale, (128, 40)) for scale in (0.01, 0.04))
    no_specks = np.zeros((128, 120), dtype=bool)
    for pieces in ((quiet, loud, loud), (loud, quiet, loud), (loud, loud, quiet)):
        assert noise_in(np.hstack(pieces), no_specks, [40] * 3, None) == pytest.approx(0.01, rel=0.2)


def test_stars_are_no_sign_that_the_level_of_pepper_is_not_exact(tmp_path, capsys):
    sky = np.random.default_rng(2).integers(27, 34, (128, 128)).astype(np.uint8)
    stars = np.random.default_rng(3).random(sky.shape) < 0.02
    sky[stars] = np.random.default_rng(4).integers(120, 250, stars.sum())
    damaged = specks(0, None, 0.06, sky)
    image = restored(tmp_path, damaged)
    assert "black specks, level 0" in capsys.readouterr().out
    np.testing.assert_array_equal(image[damaged > 100], damaged[damaged > 100])


def test_a_clean_photograph_is_written_as_it_is(tmp_path, capsys):
    np.testing.assert_array_equal(restored(tmp_path, CLEAN), CLEAN)
    assert "nothing found: the picture is written as it is" in capsys.readouterr().out


def marked(width):
    canvas = Image.new("L", CLEAN.shape[::-1])
    draw = ImageDraw.Draw(canvas)
    for ends in ((5, 10, 120, 70), (20, 120, 90, 5)):
        draw.line(ends, fill=255, width=width)
    return np.asarray(canvas)


@pytest.mark.parametrize("width", [2, 5, 12])
def test_a_mask_is_filled_never_worse_than_by_inpainting(width, tmp_path, capsys):
    mask = marked(width)
    damaged = np.where(mask > 0, np.uint8(255), CLEAN)
    save_pixels(mask, tmp_path / "mask.png")
    image = restored(tmp_path, damaged, "--mask", tmp_path / "mask.png", "--verbose", "yes")
    said = capsys.readouterr().out
    assert "the mask marks" in said and "inpainting 0." in said and "missing_blocks 0." in said
    np.testing.assert_array_equal(image[mask == 0], CLEAN[mask == 0])
    rival = to_pixels(inpainted(to_image(damaged), mask == 0), np.uint8)
    assert decibels(image, where=mask > 0) > decibels(rival, where=mask > 0) - 0.2


@pytest.mark.parametrize(
    "covered",
    [lambda y, x: (y % 2 > 0) | (x % 2 > 0), lambda y, x: y % 2 > 0, lambda y, x: x < 96],
    ids=["three of four pixels", "every second row", "the left three quarters"],
)
def test_a_mask_is_filled_where_it_covers_itself_or_all_that_is_known(covered, tmp_path, capsys):
    clean = CLEAN[:64]
    hit = np.fromfunction(covered, clean.shape)
    damaged = np.where(hit, np.uint8(255), clean)
    save_pixels(np.uint8(255 * hit), tmp_path / "mask.png")
    image = restored(tmp_path, damaged, "--mask", tmp_path / "mask.png", "--verbose", "yes")
    assert "of the network" in (said := capsys.readouterr().out) and "nan" not in said
    rival = to_pixels(inpainted(to_image(damaged), ~hit), np.uint8)
    assert decibels(image, clean, hit) > decibels(rival, clean, hit) - 0.05


def test_a_mask_that_leaves_one_pixel_is_filled_and_no_choice_is_said_to_be_made(tmp_path, capsys):
    mask = np.full((32, 32), 255, dtype=np.uint8)
    mask[16, 16] = 0
    save_pixels(mask, tmp_path / "mask.png")
    image = restored(tmp_path, CLEAN[:32, :32], "--mask", tmp_path / "mask.png")
    assert "inpainting alone, too few pixels are known to compare it" in capsys.readouterr().out
    np.testing.assert_array_equal(image, CLEAN[16, 16])


def test_what_is_transparent_is_neither_seen_nor_changed(tmp_path):
    damaged, alpha = specks(0, 255), np.full(CLEAN.shape, 255, dtype=np.uint8)
    alpha[:, :50] = 0
    hidden = damaged.copy()
    hidden[:, :50] = 255
    image, other = (restored(tmp_path, pixels, alpha=alpha) for pixels in (hidden, np.where(alpha, damaged, 0)))
    assert (image[:, :50] == 255).all() and (other[:, :50] == 0).all()
    np.testing.assert_array_equal(image[:, 50:], other[:, 50:])
    assert decibels(image, where=np.s_[:, 50:58]) > 26


def test_several_pictures_are_restored_from_any_folder_and_one_that_fails_stops_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    save_pixels(specks(0, 255), tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    save_pixels(CLEAN, tmp_path / "in" / "c.png")
    with pytest.raises(SystemExit) as stopped:
        restore.main(["--image", "in", "--output-dir", "restored"])
    said = capsys.readouterr()
    assert stopped.value.code == 2 and "1 of 3 pictures were not restored" in said.err and "b.png" in said.err
    assert sorted(path.name for path in (tmp_path / "restored").iterdir()) == ["a.png", "c.png"]
    np.testing.assert_array_equal(load_pixels("restored/c.png"), CLEAN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image", "camera", "lena"], "there are 2 images; allowed: with --output-dir"),
        (["--image", "in/a.png", "a.png", "--output-dir", "out"], "two images would become out"),
        (["--image", "camera", "--output", "a.png", "--output-dir", "out"], "allowed: one of the two"),
        (["--image", "camera", "--mask", "m.png", "--damage", "specks"], "there is a mask; allowed: no damage"),
        (["--image", "camera", "--damage", "specks", "--learn", "salt_and_pepper"], "damage is specks; allowed: no"),
        (["--image", "EMPTY"], "a folder without images"),
        (["--damage", "rain"], "--damage is rain; allowed: auto, specks"),
    ],
)
def test_options_that_do_not_fit_are_one_line_and_no_file(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [str(tmp_path) if word == "EMPTY" else word for word in options]
    assert message in refusal(capsys, restore.main, words)
    assert list(tmp_path.iterdir()) == []


def test_learning_that_does_not_help_is_not_used(tmp_path, monkeypatch, capsys):
    class Spoiled(chosen.Learning):
        def __iter__(self):
            for parameter in self.network.parameters():
                parameter.data *= 0.9
            return iter(())

    monkeypatch.setattr(chosen, "Learning", Spoiled)
    options = "--learn", "salt_and_pepper", "--checkpoint", "noise_rates"
    learned = restored(tmp_path, specks(0, 255), *options)
    assert "learning on the picture did not help" in capsys.readouterr().out
    assert decibels(learned) > decibels(specks(0, 255)) + 10


@pytest.mark.parametrize("options", [(), ("--damage", "black_specks")], ids=["seen", "said"])
def test_a_page_keeps_its_type_and_loses_single_specks(options, tmp_path, capsys):
    page = to_pixels(drawn_pages(2)[1][100:260, 100:300], np.uint8)
    np.testing.assert_array_equal(restored(tmp_path, page), page)
    pepper = np.random.default_rng(0).random(page.shape) < 0.02
    image = restored(tmp_path, np.where(pepper, page.min(), page), *options)
    assert "black specks" in capsys.readouterr().out
    ink = page < 128
    assert (image[ink] < 128).mean() > 0.99
    alone = pepper & (uniform_filter(np.float32(ink | pepper), 3) * 9 < 1.5)
    assert alone.sum() > 100 and (image[alone] > 128).all()


class Grey:
    """Networks that put grey wherever a pixel is not known."""

    def restored(self, name, image, known):
        return np.where(known, image, np.float32(0.5))


@pytest.mark.parametrize("ink", [0, 1])
def test_on_a_page_single_pixels_and_lonely_pairs_are_specks_and_the_dot_of_a_letter_is_none(ink):
    page = np.full((40, 60), 1 - ink, dtype=np.float32)
    page[5, 5], page[30, 5:7] = ink, ink  # a single one, a pair
    expected = np.where(page == ink, np.float32(0.5), page)
    page[10, 40:42] = page[13:22, 40:42] = expected[10, 40:42] = expected[13:22, 40:42] = ink  # i
    levels = Levels(None, 1.0) if ink else Levels(0.0, None)
    np.testing.assert_array_equal(small_ones(Grey(), levels, page), expected)


def test_what_is_as_dark_as_the_pixels_around_is_no_speck_and_black_is_none_if_specks_are_not_black():
    level, hit = np.float32(5 / 255), np.zeros((40, 60), dtype=bool)
    hit[4::9, 4::9] = True
    image = np.full(hit.shape, 0.5, dtype=np.float32)
    image[:, 27:] = 0
    canonical = without_areas(Levels(level, None), np.where(hit, level, image))
    np.testing.assert_array_equal(canonical == 0, hit & (np.arange(60) < 27))
    assert np.abs(canonical - image)[:, 27:].max() <= level


def test_texture_is_not_taken_for_specks_and_specks_of_any_value_are_restored(tmp_path, capsys):
    texture = to_pixels(load_image("grass")[100:292, 100:292], np.uint8)
    np.testing.assert_array_equal(restored(tmp_path, texture), texture)
    hit = np.random.default_rng(0).random(CLEAN.shape) < 0.02
    damaged = np.where(hit, np.random.default_rng(1).integers(256, size=CLEAN.shape), CLEAN).astype(np.uint8)
    capsys.readouterr()
    assert decibels(restored(tmp_path, damaged)) > decibels(damaged) + 7
    assert "specks of any value on" in capsys.readouterr().out


def test_a_mask_that_marks_most_is_said_to_be_inverted_perhaps(tmp_path, capsys):
    save_pixels(np.uint8(255) - marked(20), tmp_path / "mask.png")
    restored(tmp_path, CLEAN, "--mask", tmp_path / "mask.png")
    assert "of the picture: is it inverted?" in capsys.readouterr().err


def test_a_picture_of_any_size_is_learned_on_and_the_network_keeps_the_settings_of_its_training(
    tmp_path, monkeypatch, capsys
):
    compared = chosen.compared  # in pieces; so short a learning does not help, so the two change places
    monkeypatch.setattr(chosen, "compared", lambda *words, **more: compared(*words, **more)[::-1, ::-1])
    monkeypatch.setattr("utils.restore.learning.PATCHES_PER_EPOCH", 400)
    clean = to_pixels(load_image("camera")[100:400, 100:400], np.uint8)
    damaged, mine = specks(0, 255, clean=clean), tmp_path / "mine.safetensors"
    options = "--learn", "salt_and_pepper", "--epochs", "1", "--stride", "16", "--save", mine
    assert decibels(restored(tmp_path, damaged, *options), clean) > decibels(damaged, clean) + 20
    assert "on the picture" in capsys.readouterr().out
    assert load_settings(mine)["positions"] == "extremes"
    words = ["--image", str(tmp_path / "image.png"), "--checkpoint", str(mine)]
    assert "but in training they were 'extremes'" in refusal(capsys, restore.main, words)
