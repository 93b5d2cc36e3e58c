"""Claims about the comparison with other methods: what they do, what is counted, and that it goes on."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import median_filter

from data.images import TEST_IMAGES, load_image, to_pixels
from tests.helpers import ROOT, cells, png_of, refusal, rows, salt_and_pepper
from utils.evaluation.observation import NOTHING_KNOWN
from utils.restore.learning import Learning
from utils.studies import comparison, comparison_page, ours, rivals
from utils.studies.comparison import EXPERIMENTS, METHODS, Experiment, chosen
from utils.studies.comparison_page import LOST, TRAINED, duels, is_rival, readme_tables
from utils.studies.rivals import SEEDS, Method

FADE = Method("fade", "fade", lambda weight, noisy: weight * median_filter(noisy, 3) + (1 - weight) * noisy, (0.2, 0.9))
OF_PICTURES = {
    "grey": Experiment("One rate", ["ours"]),
    "rates": Experiment("Two rates", ["ours"], rates=(0.1, 0.3)),
    "colour": Experiment("In colour", ["ours"], colour=True),
    "clipped": Experiment("Clipped", ["ours"], clipped=0.3),
}
OTHERS = (
    METHODS["noisy"],
    METHODS["median_3"],
    Method("ours", "D-LADMM, brighter", lambda noisy: np.sqrt(noisy), seeds=SEEDS[:1]),
    Method("of_lena", "of Lena", lambda noisy: noisy, images=("lena",), networks=("not there",)),
    replace(FADE, experiments=("grey",)),
)
NAMES = "black.png", "cat.png", "coins.tif"


@pytest.fixture
def compare_with(tmp_path, monkeypatch):
    """A function that puts methods and experiments in place of all; commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def compare_with(methods, experiments=EXPERIMENTS):
        monkeypatch.setattr(comparison, "METHODS", {of.key: of for of in methods})
        monkeypatch.setattr(comparison, "EXPERIMENTS", experiments)

    return compare_with


@pytest.fixture
def folder(tmp_path, monkeypatch, compare_with):
    """Three pictures; results go beside them, and experiments are small."""
    folder = tmp_path / "set of mine"
    folder.mkdir()
    colourful = load_image("chelsea", colour=True)[100:148, 200:264]
    coins = to_pixels(load_image("coins")[:48, :64], np.uint8)
    black = np.zeros((48, 64, 3), np.uint8)  # grey, and stored in colour
    black[:4] = coins[:4, :, None]
    for name, pixels in zip(NAMES, (black, to_pixels(colourful, np.uint8), coins), strict=True):
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").touch()
    compare_with(OTHERS, OF_PICTURES)
    monkeypatch.setattr(comparison, "chosen", lambda damage, rate, key, weights: weights[1])
    return folder


def test_weights_are_chosen_by_psnr_on_the_validation_images(compare_with):
    compare_with([FADE])
    assert chosen("salt_and_pepper", 0.1, "fade", (0.2, 0.9, 0.5)) == 0.9


def rows_of(*rows):
    """A data frame like comparison.csv: of each row the method, rate, seed, image, PSNR and experiment."""
    names = "method", "noise_rate", "seed", "image", "psnr", "experiment"
    return pd.DataFrame([dict(zip(names, [*row, "one"], strict=False)) for row in rows])


def test_wins_and_losses_are_counted_by_image_and_differences_spread_over_the_seeds():
    cases = [(1, "lena"), (2, "lena"), (1, "coins"), (2, "coins"), (1, "china"), (2, "china")]
    psnrs = {"D-LADMM, a": (30.0, 31.0, 30.0, 30.0, 20.0, 25.0), "median": (29.0, 31.5, 33.0, 31.0, 20.0, 25.0)}
    both = [(name, 0.1, *case, psnr) for name, of in psnrs.items() for case, psnr in zip(cases, of, strict=True)]
    alone = "D-LADMM, a", 0.1, 3, "lena", 99.0
    at_another = ("median", 0.3, 1, "lena", 9.0), ("D-LADMM, a", 0.3, 1, "lena", 20.0)
    found, at_another_rate = duels(rows_of(*both, alone, *at_another)).to_dict("records")
    assert at_another_rate["text"] == "1 : 0, +11.00"  # of one seed
    # By image +0.25, -2, 0: lena is won, coins lost. By seed, of those that both have, -2/3 and -1/2.
    assert (found["of"], found["lost"], found["text"]) == (3, 1, "1 : 1, -0.58 ± 0.12")


def test_the_tables_of_the_readme_say_on_how_many_images_a_rival_is_better():
    blind, cnn = f"{TRAINED}, stride 4", "residual CNN"
    noises = [(0.3, "noise_rates"), (0.1, "salt_and_pepper"), (0.2, "random_valued")]
    psnrs = {blind: (30.0, 30.0), cnn: (31.0, 28.0), "3 x 3 median": (29, 29), comparison_page.PLAIN: (28, 28.5)}
    rows = [
        (method, rate, 1, image, psnr, name)
        for (rate, name), (method, both) in product(noises, psnrs.items())
        for image, psnr in zip(("lena", "coins"), both, strict=True)
    ]
    for name, ours_there in LOST.groupby("experiment")["ours"]:
        rows += [(method, 0.1, 1, "lena", 30.0, name) for method in ours_there]
        rows += [(cnn, 0.1, 1, "lena", 30.5 if name == "missing_blocks" else 9.0, name)]
    tables = readme_tables(rows_of(*rows))
    wanted = {"small CNN": "29.50 (1)", "**D-LADMM, stride 4**": "30.00", "**plain command**": "28.25 (2)"}
    assert all(cells(tables["noise"], f"{name} ") == [[name, *[cell] * 3]] for name, cell in wanted.items())
    assert cells(tables["lost"]) == [["damage", "network", "of", "CNN"], ["missing blocks", "stride 4", "1", "1"]]


def test_methods_have_keys_and_titles_of_their_own_and_those_that_are_counted_are_there_with_rivals():
    assert len(METHODS) == len([*rivals.methods(), *ours.METHODS])
    for name, experiment in EXPERIMENTS.items():
        there = {key: of.title for key, of in METHODS.items() if of.is_for(name, experiment.damage)}
        assert {"plain", *experiment.counted} <= set(there) and len(set(there.values())) == len(there)
        against = " ".join(filter(is_rival, there.values()))
        assert "median" in against and "biharmonic inpainting" in against


def test_the_rows_of_the_comparison_are_of_these_methods_in_their_order_and_say_what_they_know():
    for name, of_experiment in pd.read_csv(ROOT / "results" / "comparison.csv").groupby("experiment"):
        there = {of.title: of for of in METHODS.values() if of.is_for(name, EXPERIMENTS[name].damage)}
        places = [list(METHODS).index(there[title].key) for title in of_experiment["method"].unique()]
        assert places == sorted(places)
        for title, of_method in of_experiment.groupby("method"):
            (known,) = of_method[list(NOTHING_KNOWN)].drop_duplicates().to_dict("records")
            assert known == there[title].knowledge(EXPERIMENTS[name].damage)
            assert set(of_method["seed"]) == set(there[title].seeds)
            assert set(of_method["image"]) <= set(there[title].images or TEST_IMAGES)
            assert (known["training_data"] == "the noisy image") == (there[title].images == ("lena",))


def test_a_network_learns_on_each_image_by_itself_before_it_restores_it(monkeypatch):
    lessons = []
    monkeypatch.setattr("utils.restore.learning.PATCHES_PER_EPOCH", 200)
    monkeypatch.setattr(ours, "Learning", lambda *given: lessons.append(given) or Learning(*given, epochs=1))
    noisy = salt_and_pepper(load_image("lena")[100:164, 100:164], 0.1, 5)
    plain, learning = (METHODS[f"noise_rates{kind}_4"].restorer("salt_and_pepper") for kind in ("", "_learned"))
    once, again = learning(noisy), learning(noisy)
    assert [lesson[2] for lesson in lessons] == ["salt_and_pepper"] * 2
    np.testing.assert_array_equal(once, again)
    assert np.abs(plain(noisy) - once).max() > 0.001


@pytest.mark.parametrize(
    "key", ["positions_16", "detected_16", "switching_median", "inpainting", "ladmm_16_positions", "ladmm_8_positions"]
)
def test_where_positions_are_known_a_method_leaves_the_other_pixels_alone(key):
    method, network = METHODS[key], "random_valued/dladmm_d15.safetensors"
    method = replace(method, networks=(network, *method.networks[1:]) if method.networks else ())
    noisy = salt_and_pepper(load_image("lena")[100:164, 100:164], 0.1, 5)
    changed = method.restorer("salt_and_pepper", 0.4 if method.weights else None)(noisy) != noisy
    assert (changed <= ((noisy == 0) | (noisy == 1))).all() and changed.mean() > 0.05


def test_a_network_that_is_not_there_is_named_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["--images", str(tmp_path)]):  # with networks of Lena, and without
        said = refusal(capsys, comparison.main, arguments)
        assert "cnn.safetensors is not there; `python -m utils.studies.networks` trains it" in said
    assert not list(tmp_path.iterdir())


def test_lena_is_drawn_as_methods_restore_it_at_the_one_noise_rate(tmp_path, monkeypatch, compare_with):
    methods = [METHODS["noisy"], replace(FADE, experiments=("one",)), Method("ours", "D-LADMM, a", np.sqrt)]
    two = Experiment("Two rates", ["ours"], "random_valued", (0.1, 0.3))
    compare_with(methods, {"one": Experiment("One", ["ours"]), "two": two})
    monkeypatch.setattr(comparison, "TEST_IMAGES", images := ("coins", "lena"))
    comparison.main([])
    results, names = tmp_path / "results", {"comparison.csv", "comparison_weights.csv", "comparison.json"}
    assert {path.name for path in results.iterdir()} == names | {"comparison.md", "one.png", "two.png"}
    assert len(rows(results / "comparison.csv")) == (3 + 2 * 2) * len(SEEDS) * len(images)


def test_a_rival_is_one_file_that_nobody_else_names():
    for module in rivals.modules():
        name = module.__name__.split(".")[-1]
        others = [path for path in (ROOT / "utils" / "studies").glob("*.py") if path.name != "real_damage.py"]
        assert not [path.name for path in others if f"rivals.{name}" in path.read_text(encoding="utf-8")]


def test_every_picture_has_the_rows_of_every_method(folder):
    shipped = folder.parent / "results" / "comparison.csv"
    shipped.parent.mkdir()
    shipped.write_text("as it was")
    comparison.main(["--images", str(folder)])
    found = pd.read_csv(shipped.parent / folder.name / "comparison.csv")
    text = (shipped.parent / folder.name / "comparison.md").read_text(encoding="utf-8")
    columns = ["experiment", "noise_rate", "method", "seed", "image"]
    listed = list(found[columns].itertuples(index=False, name=None))
    compared = [("grey", 0.1, "fade", seed) for seed in SEEDS]
    for case in (("grey", 0.1), ("rates", 0.1), ("rates", 0.3), ("colour", 0.1), ("clipped", 0.1)):
        compared += [(*case, method, seed) for method in ("noisy", "3 x 3 median") for seed in SEEDS]
        compared.append((*case, "D-LADMM, brighter", SEEDS[0]))
    left_out = {"colour": ("black.png", "coins.tif"), "clipped": ("black.png",)}
    wanted = {(*row, i) for row in compared for i in NAMES if i not in left_out.get(row[0], ())}
    assert set(listed) == wanted and len(listed) == len(wanted) and shipped.read_text() == "as it was"
    described = (shipped.parent / folder.name / "comparison.json").read_text()
    assert all(name in described for name in NAMES)
    assert "![Two rates](rates.png)" in text and text.count("![") == 1


@pytest.mark.parametrize(
    ("name", "picture", "expected"),
    [
        ("missing", None, "missing'; allowed: a folder with pictures (.png "),
        ("results/of mine", png_of(20, 20, bytes(range(21)) * 20), "results would go to"),
        ("", b"no picture", "a.png' cannot be read"),
    ],
)
def test_what_is_no_test_set_is_named_before_any_work(name, picture, expected, tmp_path, compare_with, capsys):
    compare_with([])
    folder = tmp_path / name
    if picture:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.png").write_bytes(picture)
    assert expected in refusal(capsys, comparison.main, ["--images", str(folder)])
    assert not list(tmp_path.rglob("comparison.csv"))
