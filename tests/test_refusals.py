"""Claims about bad input: a line that says what was given and what is allowed, exit code 2, and no work, no file."""

import dataclasses
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

import main_lena
from tests.helpers import refusal
from utils.running.errors import UserError
from utils.running.settings import Checked, parse_settings, setting

SHORT = ("--epochs", "1", "--training", "unsupervised", "--results-dir", "r", "--checkpoint-dir", "c")
MAIN = [
    (["--depths", "5", "-3"], "--depths is -3; allowed: 1 or more"),
    (["--depths", "5", "5"], "--depths is 5 5; allowed: each value once"),
    (["--depths", "x"], "invalid int value: 'x'"),
    (["--noise-rate", "nan"], "--noise-rate is nan; allowed: 0 to 1"),
    (["--seed", str(2**70)], "allowed: 0 or more"),
    (["--results-dir", "x" * 300], "cannot be used"),
    (["--loss", "mse"], "--loss is mse; allowed: auto, objective, gap, objective_and_gap, relaxed, absolute_err"),
    (["--image", "SMALL"], "image is 40 x 15 pixels; allowed: at least 16 x 16, one patch"),
    (["--stride", "17"], "stride is 17; allowed: 1 to 16, the side of a patch"),
    (["--results-dir", "FILE"], "no folder that may be written to"),
    (["--g", "box", "--f", "non_negative_l1"], "f and g are both infinite somewhere; certificates need one that"),
    (["--f", "non_negative_l1", "--constraint", "NARROW"], "B has rank 9; certificates need 256, its"),
    (["--weights", "convergent"], "activation is PiecewiseLinear, with convergent weights; allowed: proximal"),
    (["--f", "box"], "activation is piecewise linear, for a Box; allowed: a function with a step"),
    (["--training", "supervised", "--loss", "gap"], "loss is gap; allowed for supervised training: absolute"),
    (["--constraint", "LOW"], "B has 5 rows; allowed: 256, as many as A"),
    (["--corruption", "none", "--training", "self_supervised"], "noise is none, for self_supervised training"),
    (["--training", "self_supervised", "--training-images", "x"], "training_images is set, which is for supervised"),
    (["--training", "self_supervised", "--noise-rate", "0"], "the noise rate is 0, estimated from the image"),
    (["--corruption", "random_valued", "--noise-rate", "0.5", "--training", "self_supervised"], "noise: below 0.4"),
    (["--training", "supervised", "--training-images", "nowhere"], "training images are 'nowhere'; allowed: ship"),
    (["--training", "supervised", "--training-rates", "0.2", "0.1"], "training_rates are 0.2 0.1; allowed: the l"),
    (["--positions", "there"], "positions are 'there'; allowed: unknown, extremes, black, or a mask"),
    (["--positions", "SMALL"], "has 40 x 15 pixels; allowed: 53 x 70"),
    (["--positions", "extremes", "--g", "squared_l2"], "positions are known, which is for g = l1 and B = I"),
    (["--positions", "extremes", "--loss", "relaxed"], "loss is relaxed, which does not fit this problem"),
    (["--positions", "HERE", "--training", "supervised", "--image", "HERE"], "positions are a mask, for superv"),
    (["--training", "supervised", "--image", "astronaut"], "image is astronaut, which supervised training learns"),
    (["--image", "HERE", "--results-dir", "INPUTS"], "where a run replaces files; allowed: elsewhere"),
    (["--training-images", "INPUTS", "--results-dir", "INPUTS"], "where a run replaces files; allowed: elsewhere"),
    (["--replace", "corrupted"], "replace is corrupted, and positions are unknown; allowed here: all"),
    (["--unknown", "1"], "unrecognized arguments: --unknown 1"),
    (["--corruption", "none", "--noise-rate", "0.2"], "noise_rate is set, which is for a damage that is done"),
]
OTHERS = [
    ("utils.studies.seeds", ["--seed", "3"], "unrecognized arguments: --seed 3"),
    ("utils.studies.networks", ["--names", "mine"], "--names is mine; allowed: supervised"),
    ("utils.reporting.__main__", ["--results-dir", "nowhere"], "results_dir is 'nowhere', where no result is"),
    ("data.dictionary", ["--atoms", "1"], "--atoms is 1; allowed: 2 or more"),
    ("data.dictionary", ["--patch-side", "401"], "'coffee' has 600 x 400 pixels; allowed: at least 401 x 401"),
    ("data.dictionary", ["--output", "d.txt"], "--output is 'd.txt'; allowed: a name in .npz"),
    ("data.dictionary", ["--patches", "3"], "--patches is 3; allowed: 10 or more, one of each image"),
]


@pytest.fixture
def inputs(image, tmp_path, monkeypatch):
    """A folder with inputs, in which the command runs: their paths by their names in capitals."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    Image.fromarray(np.zeros((15, 40), dtype=np.uint8)).save(folder / "small.png")
    Image.fromarray(np.eye(20, 40, dtype=np.uint8) * 255).save(folder / "here.png")
    (folder / "file").write_text("")
    np.savez(folder / "low.npz", B=np.ones((5, 5)))
    np.savez(folder / "narrow.npz", B=np.random.default_rng(0).normal(size=(256, 9)))
    monkeypatch.chdir(tmp_path)
    return {"IMAGE": str(image)} | {path.stem.upper(): str(path) for path in (folder, *folder.iterdir())}


@pytest.mark.parametrize(("arguments", "expected"), MAIN)
def test_the_experiment_refuses(arguments, expected, inputs, tmp_path, capsys):
    words = ["--image", inputs["IMAGE"], *SHORT, *(inputs.get(word, word) for word in arguments)]
    assert expected in refusal(capsys, main_lena.main, words)
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]


@pytest.mark.parametrize(("module", "arguments", "expected"), OTHERS)
def test_other_commands_refuse(module, arguments, expected, inputs, tmp_path, capsys):
    assert expected in refusal(capsys, import_module(module).main, arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]


def edited(**defaults):
    fields = [
        (f.name, f.type, setting(defaults.get(f.name, f.default), **f.metadata))
        for f in dataclasses.fields(main_lena.Settings)
    ]
    return dataclasses.make_dataclass("Edited", fields, bases=(Checked,), frozen=True)


def test_an_edited_default_of_another_type_works_where_it_is_plain():
    found = parse_settings(edited(depths=[2, 3], training="supervised", alpha=1), "", [])
    assert (found.depths, found.training) == ((2, 3), ("supervised",)) and isinstance(found.alpha, float)


@pytest.mark.parametrize(
    ("name", "default", "line"),
    [
        ("depths", (2, 3.5), "--depths is 3.5; allowed: whole numbers"),
        ("epochs", "30", "--epochs is '30'; allowed: whole numbers"),
        ("depths", (), "--depths is empty; allowed: 1 or more"),
    ],
)
def test_any_other_edited_default_is_one_line_and_the_library_says_it_too(name, default, line, capsys):
    assert line in refusal(capsys, parse_settings, edited(**{name: default}), "", [])
    with pytest.raises(UserError, match=line):
        main_lena.Settings(**{name: default})
