"""Claims about other people's files: no command writes over what it read, or over what it has not made itself."""

import re
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

import main_lena
from data.dictionary import load_dictionary
from data.formats import save_pixels
from data.images import load_image, to_pixels
from models import DLADMM
from models.activations import ACTIVATIONS
from tests.helpers import refusal, rows
from utils.evaluation import solvers
from utils.running.checkpoints import load_network, save_network
from utils.running.settings import parse_settings


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "x_noisy.png"
    save_pixels(to_pixels(load_image("camera")[100:140, 200:260], np.uint8), path)
    return path


MOMENT = "--patches-per-epoch 50 --ladmm-max-iterations 5 --safeguard-layers 2"


def experiment(image, results, checkpoints, *more):
    words = f"--image {image} --depths 1 --training unsupervised --epochs 1 {MOMENT} --results-dir {results}"
    main_lena.main([*words.split(), "--checkpoint-dir", str(checkpoints), *map(str, more)])


def test_the_experiment_replaces_no_picture_or_network_that_no_run_made(photograph, tmp_path, capsys):
    for folder in (mine := tmp_path / "mine", run := tmp_path / "run"):
        folder.mkdir()
    (run / "results.json").write_text('{"settings": {}, "versions": {}}')  # its networks are elsewhere
    shutil.copy("checkpoints/noise_rates/dladmm_d15.safetensors", mine)
    (mine / "results.md").write_text("somebody's")
    for name, *folders in (("results.md", "mine", "new"), ("dladmm_d15.safetensors", "run", "mine")):
        said = refusal(capsys, experiment, photograph, *(tmp_path / folder for folder in folders))
        assert f"{name}' is there, and no run in" in said and not (tmp_path / "new").exists()


def test_a_quick_try_does_not_cost_the_results_of_the_script_s_own_settings(photograph, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = [Path("results", "results.csv"), Path("checkpoints", "dladmm_d01.safetensors")]
    for path in own:
        path.parent.mkdir()
        path.write_text("of the script's own settings")
    main_lena.main(f"--image {photograph.name} --training unsupervised --depths 1 --epochs 2 {MOMENT}".split())
    said = capsys.readouterr()
    results, checkpoints = re.search(r"outputs go to (results/\S+)/ and (checkpoints/\S+)/", said.err).groups()
    assert results in said.out and Path(checkpoints, own[1].name).exists()
    assert [row["epoch"] for row in rows(Path(results, "history.csv"))] == ["1", "2"]
    assert [path.read_text() for path in own] == ["of the script's own settings"] * 2


def folders_of(*words, **published):
    """Where the experiment writes with these options, beside results with these settings."""
    folders = "results_dir", "checkpoint_dir"
    settings = parse_settings(main_lena.Settings, "", list(map(str, words)), folders, published)
    return settings.results_dir, settings.checkpoint_dir


def test_options_that_change_nothing_or_folders_that_are_given_are_taken_at_their_word():
    assert folders_of() == folders_of("--depths", 5, 10, 15) == ("results", "checkpoints")
    assert folders_of("--epochs", 2, "--results-dir", "mine") == ("mine", "checkpoints/epochs_2")
    assert folders_of("--noise-rate", 0.2, "--depths", 1, 2)[0] == "results/depths_1_2_noise_rate_0.2"
    assert folders_of("--results-dir", "mine", "--checkpoint-dir", "networks") == ("mine", "networks")
    assert folders_of("--epochs", 2, "--results-dir", "results", "--checkpoint-dir", "checkpoints") == folders_of()
    # Who edits a default does not replace what is published: here 0.3, and a list where the class has a tuple.
    published = {"noise_rate": 0.3, "depths": [5, 10, 15]}
    assert folders_of(**published)[0] == "results/noise_rate_0.1"
    assert folders_of("--noise-rate", 0.3, **published)[0] == "results"


def test_different_options_write_to_different_folders():
    options = [("--image", name) for name in ("a/b.png", "a_b.png", "a" * 80, "a" * 81, "..")]
    options += [("--depths", 1, 2), ("--depths", 12), ("--noise-rate", 0.2), ("--noise-rate", 0.25), ("--seed", 7)]
    places = [folders_of(*words)[0] for words in options]
    assert len(set(places)) == len(places)
    for place in places:
        assert Path(place).parent == Path("results") and len(Path(place).name) < 80


@pytest.mark.parametrize("error", [ValueError("too many values"), OSError("no number"), FloatingPointError("x")])
def test_a_mistake_in_code_keeps_its_traceback(error, photograph, tmp_path, monkeypatch):
    monkeypatch.setattr(solvers, "run_ladmm", Mock(side_effect=error))
    with pytest.raises(type(error), match=str(error)):
        experiment(photograph, tmp_path / "r", tmp_path / "c")
    assert not (tmp_path / "r").exists()


def test_a_mistake_in_an_activation_is_not_taken_for_a_broken_checkpoint(tmp_path, monkeypatch):
    save_network(DLADMM(load_dictionary()[:, :9], 1, 0.6, activation="proximal"), tmp_path / "network", {})
    monkeypatch.setattr(ACTIVATIONS["proximal"], "__init__", Mock(side_effect=AttributeError("no such attribute")))
    with pytest.raises(AttributeError, match="no such attribute"):
        load_network(tmp_path / "network")
