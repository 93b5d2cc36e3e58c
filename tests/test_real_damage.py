"""Claims about the study of real damage: what is done to pictures, what is measured, what the table says."""

import sys

import numpy as np
import pytest
from PIL import Image

from data.images import load_image, to_image
from utils.evaluation.metrics import psnr
from utils.restore import __main__ as command
from utils.running.errors import UserError
from utils.studies import plain_command, real_damage
from utils.studies.real_damage import (
    ANY_VALUE,
    BLIND,
    INPAINTING,
    OURS,
    RIVALS,
    SCALES,
    SECTIONS,
    DamageRecord,
    best_scale,
    clusters,
    follow,
    impulses,
    page,
    strokes,
    table,
)
from utils.studies.rivals.classical import inpainted_impulses

GREY = np.full((256, 256), 100, dtype=np.uint8)


def drawn():
    return np.random.default_rng(0)


def test_damage_is_as_frequent_as_it_says_and_elsewhere_nothing_changes():
    noisy = impulses(16, 235, 0.1, GREY, drawn())
    values, counts = np.unique(noisy, return_counts=True)
    assert values.tolist() == [16, 100, 235]
    np.testing.assert_allclose(counts / GREY.size, [0.05, 0.9, 0.05], atol=0.005)
    assert np.unique(impulses(None, 250, 0.1, GREY, drawn())).tolist() == [100, 250]
    assert (clusters(3, 0.03, GREY, drawn()) != GREY).mean() == pytest.approx(0.03, abs=0.002)
    narrow, wide = ((strokes(width, GREY, drawn()) != GREY).mean() for width in (2, 8))
    assert wide == pytest.approx(4 * narrow, rel=0.25)


def test_the_command_gets_the_picture_as_a_camera_stores_it_and_nothing_else(tmp_path):
    clean = real_damage.middle("lena")
    stored, restored, said = plain_command.by_command(clean, tmp_path, quality=60)
    assert np.array_equal(stored, np.asarray(Image.open(tmp_path / "a.jpg"))) and not np.array_equal(stored, clean)
    assert np.array_equal(restored, stored) and said.startswith("nothing found")
    assert not (tmp_path / "mask.png").exists()


def test_where_every_pixel_has_noise_inpainting_gets_the_impulses_alone():
    """Else it would have to invent 97 % of the picture."""
    (damage,) = [damage for damage in SECTIONS["of the laboratory"] if damage.grain]
    clean = real_damage.middle("chelsea")
    noisy = damage.make(clean, drawn())
    hit = damage.hit(noisy, clean)
    assert (noisy != clean).mean() > 0.9 and hit.mean() == pytest.approx(0.1, abs=0.01)
    assert set(np.unique(noisy[hit])) == {0, 255}
    inpainted, left = (
        psnr(image, to_image(clean)) for image in (RIVALS[INPAINTING](to_image(noisy), hit), to_image(noisy))
    )
    assert inpainted > left + 10


@pytest.mark.parametrize(("code", "ends"), [(130, KeyboardInterrupt), (2, UserError)])
def test_why_the_command_ended_is_not_swallowed(code, ends, monkeypatch, tmp_path):
    def ended(options):
        print("error: no room", file=sys.stderr)
        raise SystemExit(code)

    monkeypatch.setattr(command, "main", ended)
    with pytest.raises(ends) as error:
        plain_command.by_command(GREY, tmp_path)
    assert code == 130 or "error: no room" in str(error.value)


def test_of_strokes_the_damaged_pixels_are_measured(tmp_path):
    (damage,) = [damage for damage in real_damage.SECTIONS["strokes"] if damage.title.startswith("3 ")]
    rows = {row.method: row.psnr for row in follow("strokes", damage, "coins", tmp_path)}
    clean = real_damage.middle("coins") / 255
    hit = damage.make(real_damage.middle("coins"), np.random.default_rng(real_damage.SEED)) != 255 * clean
    assert rows["damaged"] == pytest.approx(-10 * np.log10(np.mean((1 - clean[hit]) ** 2)), abs=1e-4)
    assert rows[OURS] > rows["5 x 5 median"]


def test_a_study_gets_from_the_command_what_its_user_gets(tmp_path):
    """Also of levels between those of 8 bits, which a file does not hold."""
    noisy = np.where(np.random.default_rng(0).random((64, 64)) < 0.1, 1, load_image("lena")[100:164, 100:164] + 0.001)
    Image.fromarray(np.uint8(np.rint(255 * noisy.clip(0, 1)))).save(tmp_path / "my.png")
    command.main(["--image", str(tmp_path / "my.png"), "--output", str(tmp_path / "restored.png")])
    expected = np.asarray(Image.open(tmp_path / "restored.png")) / np.float32(255)
    np.testing.assert_array_equal(plain_command.restored_plainly(noisy.astype(np.float32)), expected)


def test_the_blind_rival_inpaints_what_a_median_finds_and_is_not_told_where_the_damage_is(tmp_path, monkeypatch):
    scales = SCALES[::3]
    monkeypatch.setattr(real_damage, "SCALES", scales)
    (damage,) = [damage for damage in SECTIONS[ANY_VALUE] if damage.title == "10 %, single"]
    clean = real_damage.middle("chelsea")
    noisy = damage.make(clean, drawn())
    restored = {scale: inpainted_impulses(scale, to_image(noisy)) for scale in scales}
    qualities = {scale: psnr(image, to_image(clean)) for scale, image in restored.items()}
    assert qualities[best_scale(damage)] > np.median(list(qualities.values()))
    rows = {row.method: row.psnr for row in follow(ANY_VALUE, damage, "coins", tmp_path)}
    assert rows["damaged"] + 5 < rows[BLIND] < rows[INPAINTING]


def test_the_table_has_means_and_the_worst_of_all_images():
    figures = {"a": (40.0, 39.0), "b": (30.0, 31.5), "c": (35.0, 34.0)}
    rows = [
        DamageRecord("levels", "10 %", image, method, psnr, "")
        for image, both in figures.items()
        for method, psnr in zip((OURS, INPAINTING), both, strict=True)
    ]
    assert "35.00" in table(rows) and "34.83" in table(rows) and "2 of 3, worst -1.50" in table(rows)


def test_letters_of_a_page_are_as_high_as_they_should_be():
    for size in (14, 48):
        lines = (page(size, smooth=False) < 128).any(axis=1)
        starts = np.flatnonzero(np.diff(lines.astype(int)) == 1)
        assert np.diff(starts).mean() == pytest.approx(1.3 * size, rel=0.1)
