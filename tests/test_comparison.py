"""Claims about the comparison with other methods: what the methods do, and what the tables show."""

import shutil
from dataclasses import asdict, replace
from importlib import import_module
from itertools import product

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import median_filter

from data.images import TEST_IMAGES, load_image
from main_lena import Settings
from models import DLADMM
from tests.helpers import ROOT, cells, rows
from utils.evaluation.records import SideInformation
from utils.restore.learning import Learning
from utils.running.checkpoints import save_network
from utils.studies import comparison, methods
from utils.studies.comparison import EXPERIMENTS, MEDIANS, SALT_AND_PEPPER, Experiment
from utils.studies.comparison_tables import LOST, ComparisonRecord, is_rival, readme_tables, section
from utils.studies.methods import SEEDS, Baseline, Case, Network


@pytest.fixture(scope="module")
def everything(tmp_path_factory, A):
    """The folder of all networks that are compared; those that main_lena.py trains are untrained here."""
    folder = tmp_path_factory.mktemp("all") / "checkpoints"
    shutil.copytree(ROOT / "checkpoints", folder)
    for ending, training in (("", "unsupervised"), ("_self_supervised", "self_supervised")):
        path, settings = folder / f"dladmm_d15{ending}.safetensors", asdict(Settings()) | {"training": training}
        save_network(DLADMM(A, 1, 0.7), path, settings)
    return folder


@pytest.fixture
def checkpoints(everything, monkeypatch):
    """Networks come from there, and weights are not chosen: that takes minutes."""
    monkeypatch.setattr(methods, "CHECKPOINTS", everything)
    monkeypatch.setattr(Case, "best", lambda self, restore, weights: weights[0])


def test_weights_are_chosen_by_psnr_on_the_validation_images():
    def fade(weight, noisy):
        return weight * median_filter(noisy, 3) + (1 - weight) * noisy

    assert SALT_AND_PEPPER.best(fade, (0.2, 0.9, 0.5)) == 0.9
    (method,) = Baseline("fade", fade, (0.2, 0.9, 0.5)).methods(SALT_AND_PEPPER)
    noisy = SALT_AND_PEPPER.corrupt(load_image("lena")[:40, :40])
    np.testing.assert_array_equal(method.restore(noisy), fade(0.9, noisy))
    assert method.weight == 0.9


def record(method, rate, seed, image, psnr, experiment="one"):
    nothing = SideInformation()
    return ComparisonRecord(experiment, "salt_and_pepper", rate, seed, image, method, nothing, psnr, psnr / 100, 1.0)


def test_tables_show_lena_and_means_over_all_images_where_there_are_all():
    one = [record("median", 0.1, 1, "lena", 30.0), record("median", 0.1, 1, "coins", 33.0)]
    text = section("One rate", [*one, record("of Lena", 0.1, 1, "lena", 30.0)], (), {})
    figures = ["none", "no", "no", "none", "30.00", "0.3000", "1.0"]
    assert cells(text, "median ") == [["median", *figures, "33.00", "31.50", "0.3150"]]
    assert cells(text, "of Lena ") == [["of Lena", *figures, "", "", ""]]
    two = [record("median", rate, 1, "lena", psnr, "two") for rate, psnr in ((0.1, 20.0), (0.3, 10.0))]
    text = section("Two rates", [*two, record("median", 0.3, 1, "coins", 13.0, "two")], (), {})
    assert cells(text, "median ") == [["median", "20.00 / 20.00", "10.00 / 11.50"]]
    assert text.startswith("## Two rates\n") and text.endswith("![Two rates](two.png)\n")


def test_wins_and_losses_are_counted_by_image_and_differences_spread_over_the_seeds():
    ours = {(1, "lena"): 30.0, (2, "lena"): 31.0, (1, "coins"): 30.0, (2, "coins"): 30.0, (1, "china"): 20.0}
    rival = {(1, "lena"): 29.0, (2, "lena"): 31.5, (1, "coins"): 33.0, (2, "coins"): 31.0, (1, "china"): 20.0}
    ours[2, "china"] = rival[2, "china"] = 25.0
    records = [record("D-LADMM, a", 0.1, *key, psnr) for key, psnr in ours.items()]
    records += [record("median", 0.1, *key, psnr) for key, psnr in rival.items()]
    table, wins = cells(section("One", records, ["D-LADMM, a"], {}), "median ")
    assert table[5] == "30.25" and table[-2] == f"{np.mean(list(rival.values())):.2f}"
    # By image +0.25, -2, 0: lena is won, coins lost. By seed -2/3 and -1/2.
    assert wins == ["median", "1 : 1, -0.58 ± 0.12"]


def test_wins_at_every_rate_are_counted_on_the_seeds_that_both_have_and_chosen_weights_stand_below():
    records = [record("D-LADMM, a", rate, 1, "lena", 30.0) for rate in (0.1, 0.3)]
    records += [record("median", rate, seed, "lena", 50 * rate + 10 * seed) for rate in (0.1, 0.3) for seed in (1, 2)]
    records += [record("D-LADMM, a", 0.1, 3, "lena", 99.0), record("D-LADMM, a", 0.3, 3, "lena", 99.0)]
    weights = {("median", 0.1): 0.9, ("median", 0.3): 0.25}
    _, wins, chosen = cells(section("One", records, ["D-LADMM, a"], weights), "median ")
    assert wins == ["median", "1 : 0, +15.00", "1 : 0, +5.00"] and chosen == ["median", "0.9", "0.25"]


def test_the_tables_of_the_readme_say_on_how_many_images_a_rival_is_better():
    ours, cnn = "D-LADMM, trained at 1 to 50 %, stride 4", "residual CNN"
    records = [record(ours, 0.3, 1, image, 30.0, "noise_rates") for image in ("lena", "coins")]
    records += [record(cnn, 0.3, 1, image, psnr, "noise_rates") for image, psnr in (("lena", 31.0), ("coins", 28.0))]
    records += [record("median", 0.3, 1, image, 29.0, "noise_rates") for image in ("lena", "coins")]
    command = "D-LADMM, plain command"
    records += [record(command, 0.3, 1, image, psnr, "noise_rates") for image, psnr in (("lena", 28), ("coins", 28.5))]
    damage = LOST[-1]
    psnrs = {damage.method: 30.0, cnn: 30.5, "median": 9.0}
    records += [record(method, 0.1, 1, "lena", psnr, damage.experiment) for method, psnr in psnrs.items()]
    tables, name = readme_tables(records), "small CNN"
    assert cells(tables["noise"], f"{name} ") == [[name, "29.50 (1)", ""]]
    assert cells(tables["noise"], "**D-LADMM, stride 4** ") == [["**D-LADMM, stride 4**", "30.00", ""]]
    assert cells(tables["noise"], "**plain command** ") == [["**plain command**", "28.25 (2)", ""]]
    assert cells(tables["lost"]) == [["damage", "network", "of", "CNN"], [*damage[:2], "1", "1"]]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_methods_whose_wins_are_counted_are_there_and_so_are_their_rivals(name, checkpoints):
    experiment = EXPERIMENTS[name]
    compared = [method.name for method in experiment.methods(experiment.cases[0])]
    assert set(experiment.counted()) <= set(compared) and len(compared) == len(set(compared))
    assert experiment.counted()
    wanted = ["median", "biharmonic inpainting"]
    if name in ("salt_and_pepper", "random_valued", "noise_rates", "colour"):
        wanted += ["total variation, ℓ1", "residual CNN", "residual CNN, four times the epochs"]
    rivals = [method for method in compared if is_rival(method)]
    assert all(any(part in rival for rival in rivals) for part in wanted)


def test_a_method_says_what_it_knows_and_a_network_of_the_noisy_lena_is_for_that_image_alone(checkpoints):
    compared = {method.name: method for method in EXPERIMENTS["salt_and_pepper"].methods(SALT_AND_PEPPER)}
    expected = {
        "3 x 3 median": ("none", "no", "no", "none"),
        "biharmonic inpainting": ("none", "no", "yes", "none"),
        "LADMM to convergence, positions, stride 8": ("none", "no", "yes", "salt_and_pepper"),
        "residual CNN": ("other images", "yes", "no", "salt_and_pepper"),
        "D-LADMM, unsupervised, stride 16": ("the noisy image", "no", "no", "none"),
        "D-LADMM, self-supervised, stride 4": ("the noisy image", "no", "no", "salt_and_pepper"),
        "D-LADMM, positions, trained at 1 to 50 %, stride 4": ("other images", "yes", "yes", "salt_and_pepper"),
        "D-LADMM, detected positions, trained at 1 to 50 %, learned on the image, stride 4": (
            "other images and the noisy", "yes", "detected", "salt_and_pepper",
        ),
    }  # fmt: skip
    assert {name: tuple(asdict(compared[name].side_information).values()) for name in expected} == expected
    of_lena = [m for m in compared.values() if m.side_information.training_data == "the noisy image"]
    assert len(of_lena) == 3 and {(m.images, m.seeds) for m in of_lena} == {(("lena",), SEEDS[:1])}
    learned = [m for m in compared.values() if "learned" in m.name]
    assert len(learned) == 2 and {(m.images, m.seeds) for m in learned} == {((), SEEDS[:1])}


def test_a_network_says_the_noise_of_its_training_also_where_the_image_was_damaged_already(tmp_path, A):
    settings = asdict(Settings()) | {"training": "self_supervised", "corruption": "none", "noise": "random_valued"}
    save_network(DLADMM(A, 1, 0.7), tmp_path / "a.safetensors", settings)
    assert methods.side_information(tmp_path / "a.safetensors").noise_model == "random_valued"


def test_a_network_learns_on_each_image_by_itself_before_it_restores_it(checkpoints, monkeypatch):
    lessons = []
    monkeypatch.setattr("utils.restore.learning.PATCHES_PER_EPOCH", 200)
    monkeypatch.setattr(methods, "Learning", lambda *given: lessons.append(given) or Learning(*given, epochs=1))
    noisy = SALT_AND_PEPPER.corrupt(load_image("lena")[100:164, 100:164])
    network = Network("", "noise_rates/dladmm_d15", (16,))
    (plain,), (learning,) = (of.methods(SALT_AND_PEPPER) for of in (network, replace(network, learns=True)))
    once, again = learning.restore(noisy), learning.restore(noisy)
    assert [lesson[2] for lesson in lessons] == ["salt_and_pepper"] * 2
    np.testing.assert_array_equal(once, again)
    assert np.abs(plain.restore(noisy) - once).max() > 0.001


@pytest.mark.parametrize("positions", ["yes", "detected"])
def test_where_positions_are_known_a_network_leaves_the_other_pixels_alone(positions, checkpoints):
    """Also one that was trained to change them."""
    noisy = SALT_AND_PEPPER.corrupt(load_image("lena")[100:164, 100:164])
    (method,) = Network("", "random_valued/dladmm_d15", (16,), positions=positions).methods(SALT_AND_PEPPER)
    changed = method.restore(noisy) != noisy
    assert (changed <= ((noisy == 0) | (noisy == 1))).all() and changed.mean() > 0.05


def test_a_network_that_is_not_there_is_named_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "CHECKPOINTS", tmp_path)
    monkeypatch.setattr("utils.studies.study.RESULTS", tmp_path / "results")
    with pytest.raises(SystemExit) as ended:
        comparison.main([])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "supervised" in line and "python -m utils.studies.networks" in line
    assert not any(tmp_path.rglob("*.md"))


@pytest.mark.parametrize("study", ["comparison", "synthetic", "convergent", "ablations"])
def test_a_study_takes_no_options_and_says_so_before_any_work(study, capsys):
    with pytest.raises(SystemExit) as ended:
        import_module(f"utils.studies.{study}").main(["--seed", "3"])
    assert ended.value.code == 2 and "--seed" in capsys.readouterr().err


def test_a_run_has_a_row_for_every_method_image_rate_and_seed(tmp_path, checkpoints, monkeypatch):
    shown = {"by_image": Experiment("One rate", MEDIANS[:2], [Case("random_valued", 0.2)], colour=True)}
    shown["by_rate"] = Experiment("Two rates", MEDIANS[:2], [SALT_AND_PEPPER, Case("salt_and_pepper", 0.3)])
    monkeypatch.setattr(comparison, "EXPERIMENTS", shown)
    monkeypatch.setattr("utils.studies.study.RESULTS", tmp_path)
    comparison.main([])
    columns = "experiment", "noise_rate", "method", "seed", "image"
    listed = [tuple(row[column] for column in columns) for row in rows(tmp_path / "comparison.csv")]
    wanted = {
        (*case, method, str(seed), image)
        for case in (("by_image", "0.2"), ("by_rate", "0.1"), ("by_rate", "0.3"))
        for method, seed, image in product(("noisy", "3 x 3 median"), SEEDS, TEST_IMAGES)
        if image != "coins" or case[0] == "by_rate"  # it is grey
    }
    assert set(listed) == wanted and len(listed) == len(wanted)
    for name in shown:
        assert Image.open(tmp_path / f"{name}.png").width > 300
