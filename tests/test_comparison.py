"""Claims about the comparison with other methods: what the methods do, and what the tables show."""

import csv

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import median_filter

from data.images import TEST_IMAGES
from utils import ablations, comparison, convergent, synthetic
from utils.comparison import Experiment
from utils.evaluation.records import ComparisonRecord, SideInformation
from utils.methods import SEEDS, Case, filters
from utils.reporting.comparison import comparison_markdown, is_rival

NOISY = Case("salt_and_pepper", 0.1)


def test_weights_are_chosen_by_psnr_on_the_validation_images():
    def fade(weight, noisy):
        return weight * median_filter(noisy, 3) + (1 - weight) * noisy

    assert NOISY.best(fade, (0.2, 0.9, 0.5)) == 0.9


def record(method, rate, seed, image, psnr):
    told = SideInformation()
    return ComparisonRecord("one", "salt_and_pepper", rate, seed, image, method, told, psnr, psnr / 100, 1.0)


def cells(markdown, method):
    """The rows of a method, in all tables."""
    lines = [line for line in markdown.splitlines() if line.startswith(f"| {method} ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_wins_and_losses_are_counted_by_image_and_differences_spread_over_the_seeds():
    ours = {(1, "lena"): 30.0, (2, "lena"): 31.0, (1, "coins"): 30.0, (2, "coins"): 30.0, (1, "china"): 20.0}
    rival = {(1, "lena"): 29.0, (2, "lena"): 31.5, (1, "coins"): 33.0, (2, "coins"): 31.0, (1, "china"): 20.0}
    ours[2, "china"] = rival[2, "china"] = 25.0
    records = [record("D-LADMM, a", 0.1, *key, psnr) for key, psnr in ours.items()]
    records += [record("median", 0.1, *key, psnr) for key, psnr in rival.items()]
    table, wins = cells(comparison_markdown(records, {"one": "One"}, {"one": ["D-LADMM, a"]}, {"one": {}}), "median")
    assert table[5] == "30.25" and table[-2] == f"{np.mean(list(rival.values())):.2f}"
    # By image +0.25, -2, 0: lena is won, coins lost. By seed -2/3 and -1/2.
    assert wins == ["median", "1 : 1, -0.58 ± 0.12"]


def test_wins_and_losses_are_counted_at_every_rate_and_on_the_seeds_that_both_have():
    records = [record("D-LADMM, a", rate, 1, "lena", 30.0) for rate in (0.1, 0.3)]
    records += [record("median", rate, seed, "lena", 50 * rate + 10 * seed) for rate in (0.1, 0.3) for seed in (1, 2)]
    _, wins = cells(comparison_markdown(records, {"one": "One"}, {"one": ["D-LADMM, a"]}, {"one": {}}), "median")
    assert wins == ["median", "1 : 0, +15.00", "1 : 0, +5.00"]


def test_the_chosen_weights_stand_below_the_wins():
    records = [record(method, rate, 1, "lena", 30.0) for method in ("D-LADMM, a", "fade") for rate in (0.1, 0.3)]
    weights = {"one": {("fade", 0.1): 0.9, ("fade", 0.3): 0.25}}
    *_, chosen = cells(comparison_markdown(records, {"one": "One"}, {"one": ["D-LADMM, a"]}, weights), "fade")
    assert chosen == ["fade", "0.9", "0.25"]


@pytest.mark.parametrize("name", comparison.EXPERIMENTS)
def test_the_methods_whose_wins_are_counted_are_there_and_so_are_their_rivals(name, monkeypatch):
    monkeypatch.setattr(Case, "best", lambda self, restore, weights: weights[0])  # choosing takes minutes
    experiment = comparison.EXPERIMENTS[name]
    found = [method.name for method in experiment.pick_methods(Case(experiment.corruption, experiment.rates[0]))]
    assert set(experiment.ours) <= set(found) and len(found) == len(set(found))
    wanted = ["median", "biharmonic inpainting"]
    if name in ("salt_and_pepper", "random_valued", "noise_rates", "colour"):
        wanted += ["total variation, ℓ1", "residual CNN", "residual CNN, four times as long"]
    rivals = [method for method in found if is_rival(method)]
    assert all(any(kind in rival for rival in rivals) for kind in wanted)


def test_a_network_that_is_not_there_is_named_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("utils.methods.CHECKPOINTS", tmp_path)
    monkeypatch.setattr("utils.reporting.experiments.RESULTS", tmp_path / "results")
    with pytest.raises(SystemExit) as ended:
        comparison.main([])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "supervised" in line and "python -m utils.networks" in line
    assert not any(tmp_path.rglob("*.md"))


@pytest.mark.parametrize("module", [comparison, synthetic, convergent, ablations])
def test_an_experiment_takes_no_options_and_says_so_before_any_work(module, capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(["--seed", "3"])
    assert ended.value.code == 2 and "--seed" in capsys.readouterr().err


def test_a_run_has_a_row_for_every_method_image_rate_and_seed(tmp_path, monkeypatch):
    def methods(case):
        return filters()[:2]

    shown = {"by_image": Experiment("One rate", "random_valued", (0.2,), methods, (), colour=True)}
    shown["by_rate"] = Experiment("Two rates", "salt_and_pepper", (0.1, 0.3), methods, ())
    monkeypatch.setattr(comparison, "EXPERIMENTS", shown)
    monkeypatch.setattr("utils.reporting.experiments.RESULTS", tmp_path)
    comparison.main([])
    with (tmp_path / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {(row["experiment"], row["noise_rate"], row["method"], row["seed"], row["image"]) for row in rows}
    cases = (("by_image", "0.2"), ("by_rate", "0.1"), ("by_rate", "0.3"))
    assert found == {
        (*case, method, str(seed), image)
        for case in cases
        for method in ("noisy", "3 x 3 median")
        for seed in SEEDS
        for image in TEST_IMAGES
    }
    assert len(rows) == len(found)
    for name in shown:
        assert Image.open(tmp_path / f"{name}.png").width > 300
