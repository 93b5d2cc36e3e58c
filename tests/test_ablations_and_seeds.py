"""Claims about the ablations and the study of seeds: their networks are those of main_lena.py, all of them once."""

from dataclasses import replace

import pytest
from joblib import Memory

from data.images import load_image
from main_lena import Settings, run
from models.activations import ACTIVATIONS
from models.layer import INITIALIZATIONS
from tests.helpers import interrupted_in, salt_and_pepper
from utils.evaluation.metrics import psnr
from utils.studies import ablations, seeds

CHOICES = list(ablations.all_choices())
SHORT = ablations.SHORT | {"depths": (2,), "epochs": 2, "patches_per_epoch": 300, "batch_size": 64, "compile": "no"}


@pytest.mark.parametrize(("training", "loss"), [("unsupervised", "objective"), ("self_supervised", "absolute_error")])
def test_the_default_choices_train_the_network_of_main_lena(training, loss):
    choices = {"training": (training,), "initialization": "pseudo_inverse", "activation": "piecewise_linear"}
    (learned,) = run(Settings(training=(training,), seed=3, **SHORT)).learned
    expected = {name: learned.restoration.row[name] for name in ("training", "depth", "psnr", "objective")}
    assert ablations.train(seed=3, loss=loss, **choices, **SHORT).items() >= (expected | {"loss": loss}).items()


def test_every_combination_is_there_once_and_every_loss_fits_its_training():
    grid = [choices for choices in CHOICES if "dictionary" not in choices]
    losses = {choices["loss"] for choices in grid if choices["training"] == ("unsupervised",)}
    assert losses >= {"objective", "gap", "relaxed"} and "absolute_error" not in losses
    for choices in grid:
        assert all(grid.count(choices | {"activation": name}) == 1 for name in ACTIVATIONS)
        assert all(choices | {"initialization": name} in grid for name in INITIALIZATIONS)
    assert [choices["depths"] for choices in CHOICES if choices not in grid] == [(5,), (10,), (15,)]


def test_rows_of_seeds_are_those_of_the_experiment_with_each_and_an_interrupted_study_goes_on(tmp_path, monkeypatch):
    brief = {"training": ("unsupervised",)} | SHORT
    monkeypatch.setattr(seeds, "run", lambda settings: run(replace(settings, **brief)))
    ran = interrupted_in(monkeypatch, seeds, "run", 2)
    keep, clean = Memory(tmp_path, verbose=0).cache, load_image("lena")
    with pytest.raises(KeyboardInterrupt):
        seeds.measure(keep)
    found = seeds.measure(keep).tables["seeds"]
    assert [settings.seed for (settings,) in ran] == [1, 2, 2]
    assert list(found.columns[:3]) == ["seed", "method", "training"]
    assert list(found["method"]) == 2 * ["noisy", "median", "untrained", "ladmm", "ladmm", "dladmm"]
    noisy = found[found["method"] == "noisy"].set_index("seed")["psnr"]
    assert noisy.to_dict() == {seed: psnr(salt_and_pepper(clean, 0.1, seed), clean) for seed in (1, 2)}
