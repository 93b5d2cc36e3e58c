"""Claims about the study of real damage: what is done to pictures, what is measured, what the table says."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.images import to_image
from tests.helpers import cells
from utils.evaluation.metrics import psnr
from utils.restore import __main__ as command
from utils.restore.restoring import Restored
from utils.studies import real_damage
from utils.studies.real_damage import ANY_VALUE, CASES, INPAINTING, OURS, clusters, impulses, page, strokes

GREY = np.full((256, 256), 100, dtype=np.uint8)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(real_damage, "SIDE", 64)


def answer(monkeypatch, pixels):
    monkeypatch.setattr(real_damage, "restore", lambda picture, **how: Restored(pixels, "", {}))


def figures(*case):
    return {row["method"]: row["psnr"] for row in real_damage.follow(*case)}


def test_damage_is_as_frequent_as_it_says_and_elsewhere_nothing_changes():
    def changed(make, *how):
        return (make(*how, GREY, np.random.default_rng(0)) != GREY).mean()

    noisy = impulses(16, 235, 0.1, GREY, np.random.default_rng(0))
    values, counts = np.unique(noisy, return_counts=True)
    assert values.tolist() == [16, 100, 235] and counts / GREY.size == pytest.approx([0.05, 0.9, 0.05], abs=0.005)
    assert changed(impulses, None, 250, 0.1) == pytest.approx(0.05, abs=0.005)
    assert changed(clusters, 3, 0.03) == pytest.approx(0.03, abs=0.002)
    assert changed(strokes, 8) == pytest.approx(4 * changed(strokes, 2), rel=0.25)


def test_where_every_pixel_has_noise_inpainting_gets_the_impulses_alone(small, monkeypatch):
    ((title, case),) = [(title, case) for title, case in CASES["of the laboratory"].items() if case.grain]
    clean = real_damage.middle("coins")
    noisy, hit = case.damaged(clean)
    assert (noisy != clean).mean() > 0.9 and hit.mean() == pytest.approx(0.1, abs=0.02)
    answer(monkeypatch, noisy)
    found = figures("of the laboratory", title, "coins", None)
    assert set(np.unique(noisy[hit])) == {0, 255} and found[INPAINTING] > found["damaged"] + 10


def test_of_strokes_the_damaged_pixels_are_measured(small):
    found, clean = figures("strokes", "3 pixels wide", "coins", None), real_damage.middle("coins")
    _, hit = CASES["strokes"]["3 pixels wide"].damaged(clean)
    assert found["damaged"] == pytest.approx(-10 * np.log10(np.mean((1 - clean[hit] / 255) ** 2)), abs=1e-4)
    assert found[OURS] > found["5 x 5 median"]


@pytest.mark.parametrize(("quality", "masked"), [(None, False), (90, False), (None, True)])
def test_a_study_gets_from_the_command_what_its_user_gets(small, tmp_path, monkeypatch, quality, masked):
    monkeypatch.chdir(tmp_path)
    name, how = ("a.jpg", {"quality": quality}) if quality else ("a.png", {})
    pixels, hit = CASES["levels"]["10 % at 0 and 255"].damaged(real_damage.middle("lena"))
    Image.fromarray(hit).save("mask.png")
    Image.fromarray(pixels).save(name, **how)
    command.main(["--image", name, "--output", "theirs.png", *(["--mask", "mask.png"] if masked else [])])
    stored, restored = real_damage.by_command(pixels, quality, hit if masked else None)
    np.testing.assert_array_equal(stored, np.asarray(Image.open(name)))
    np.testing.assert_array_equal(restored.pixels, np.asarray(Image.open("theirs.png")))


def test_the_blind_rival_inpaints_what_a_median_finds_and_is_not_told_where_the_damage_is(small, monkeypatch):
    monkeypatch.setattr(real_damage, "SCALES", real_damage.SCALES[::3])
    clean, best = real_damage.middle("chelsea"), real_damage.best_scale("10 %, single")
    noisy = to_image(CASES[ANY_VALUE]["10 %, single"].damaged(clean)[0])
    found = {scale: psnr(real_damage.inpainted_impulses(scale, noisy), to_image(clean)) for scale in real_damage.SCALES}
    assert found[best] > np.median(list(found.values()))
    answer(monkeypatch, real_damage.middle("coins"))
    found = figures(ANY_VALUE, "10 %, single", "coins", best)
    assert found["damaged"] + 5 < found[real_damage.BLIND] < found[INPAINTING] < found[OURS] == np.inf


def test_the_table_has_means_and_the_worst_of_all_images():
    table = pd.DataFrame({"image": [*"abc"] * 2, "method": [OURS] * 3 + [INPAINTING] * 3})
    table = table.assign(section="levels", damage="10 %", psnr=[40.0, 30.0, 35.0, 39.0, 31.5, 34.0])
    pages = pd.DataFrame({"page": ["a"], "pepper": 0, "ink_kept": 1, "pepper_left": 0, "changed": 0, "said": ""})
    text = real_damage.show({"real_damage": table, "pages": pages, "real_damage_scales": {"scale": []}}, {}).text
    assert cells(text, "10 %") == [["10 %", "35.00", "34.83", "2 of 3, worst -1.50"]]


def test_letters_of_a_page_are_as_high_as_they_should_be():
    starts = np.flatnonzero(np.diff((page(48, smooth=False) < 128).any(axis=1).astype(int)) == 1)
    assert np.diff(starts).mean() == pytest.approx(1.3 * 48, rel=0.1)
