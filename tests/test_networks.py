"""Claims about training all networks: each by its settings, none twice."""

from dataclasses import replace

import pytest

from main_lena import Settings
from tests.helpers import ROOT, rows
from utils.running.checkpoints import load_network, load_settings
from utils.running.resume import Progress
from utils.studies import networks
from utils.studies.networks import NETWORKS, in_words, trained_by
from utils.studies.rivals import Recipe, cnn

SHORT = {"epochs": 2, "patches_per_epoch": 200, "batch_size": 100, "training_rates": (0.1, 0.2)}
SMALL = {
    "dladmm": Recipe("a test", Settings(training="supervised", depths=1, **SHORT), networks.train, "dladmm_d01"),
    "cnn": Recipe("another", cnn.Settings(epochs=1, patches_per_epoch=64), cnn.train, "cnn"),
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Two small networks instead of all, in an empty folder, and a function that reads the table of them."""
    monkeypatch.setattr(networks, "NETWORKS", dict(SMALL))
    monkeypatch.setattr(cnn, "SIDE", 12)
    monkeypatch.chdir(tmp_path)
    return lambda: {row["name"]: row for row in rows(tmp_path / "results" / "networks.csv")}


def change(name, **settings):
    networks.NETWORKS[name] = SMALL[name]._replace(settings=replace(SMALL[name].settings, **settings))


def test_a_network_is_trained_once_and_again_for_other_settings(table, tmp_path, capfd):
    networks.retrain(SMALL)
    first, results = table(), tmp_path / "results"
    assert list(first) == list(SMALL) and all(float(row["minutes"]) > 0 for row in first.values())
    assert {path.name for path in results.iterdir()} == {"networks.csv", "networks.json", "networks.md"}
    capfd.readouterr()
    networks.retrain(SMALL)
    assert capfd.readouterr().out.count("is trained with these settings already") == 2 and table() == first
    change("cnn", noise_rate=0.2)
    networks.retrain(SMALL)
    again = table()
    assert again["dladmm"] == first["dladmm"] and "noise rate 0.2" in again["cnn"]["settings"]
    assert first["dladmm"]["settings"].startswith("depths 1, training supervised, training rates 0.1 0.2, ")
    path = tmp_path / "checkpoints" / "dladmm" / "dladmm_d01.safetensors"
    assert load_settings(path)["training_rates"] == [0.1, 0.2] and len(load_network(path).layers) == 1
    networks.NETWORKS["cnn"] = SMALL["cnn"]
    assert trained_by("cnn") is None and trained_by("dladmm")["settings"]["depths"] == [1]
    assert "training_images" in trained_by("dladmm")["inputs"]
    (results / "networks.csv").write_text((results / "networks.csv").read_text().replace("depths 1", "depths 2"))
    networks.retrain([])
    assert table() == {"dladmm": first["dladmm"] | {"minutes": ""}}  # minutes that nobody knows


@pytest.mark.parametrize("name", SMALL)
def test_an_interrupted_training_ends_as_an_undisturbed_one(name, table, tmp_path, monkeypatch):
    change(name, epochs=3)
    networks.retrain([name])
    file = tmp_path / "checkpoints" / name / f"{SMALL[name].file}.safetensors"
    undisturbed = file.read_bytes()
    file.unlink()
    save, epochs = Progress.save, []

    def save_and_stop_after_the_first(progress, name, training, history, seconds):
        save(progress, name, training, history, seconds + 300)
        epochs.append(training.finished)
        if epochs == [1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "save", save_and_stop_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        networks.retrain([name])
    networks.retrain([name])
    assert float(table()[name]["minutes"]) > 5  # with those before the interruption
    assert epochs == [1, 2, 3] and list(file.parent.iterdir()) == [file] and file.read_bytes() == undisturbed


def test_the_networks_in_the_repository_are_those_of_the_table_with_its_settings(monkeypatch):
    monkeypatch.chdir(ROOT)
    known = {row["name"]: row["settings"] for row in rows(ROOT / "results" / "networks.csv")}
    assert known == {name: in_words(recipe.settings) for name, recipe in NETWORKS.items() if trained_by(name)}
    assert set(NETWORKS) - set(known) <= {"fill", "detect", "denoise"}  # which are in training
