"""Claims about training all networks: each by its command, none twice by the same code and settings."""

import csv
import subprocess
import sys

import pytest

import main_lena
from utils import networks
from utils.networks import NETWORKS, Training
from utils.rivals import cnn
from utils.running.checkpoints import load_network, load_settings
from utils.running.settings import parse_settings

MODULES = {"main_lena": main_lena, "utils.rivals.cnn": cnn}
SMALL = {
    "dladmm": Training(
        "a test",
        "main_lena",
        "dladmm_d01.safetensors",
        {
            "training": ["supervised"],
            "depths": [1],
            "epochs": 1,
            "patches_per_epoch": 200,
            "batch_size": 100,
            "safeguard_layers": 1,
            "ladmm_max_iterations": 1,
            "training_rates": [0.1, 0.2],
        },
    ),
    "cnn": Training(
        "another", "utils.rivals.cnn", "cnn.safetensors", {"epochs": 1, "layers": 2, "side": 8, "patches_per_epoch": 64}
    ),
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Two small networks instead of all, and a function that reads the table of them."""
    monkeypatch.setattr(networks, "NETWORKS", dict(SMALL))
    monkeypatch.setattr(networks, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(networks, "RESULTS", tmp_path / "results")

    def read():
        with (tmp_path / "results" / "networks.csv").open() as file:
            return {row["name"]: row for row in csv.DictReader(file)}

    return read


@pytest.fixture
def in_process(monkeypatch):
    """Commands run in this process, which has imported everything already."""

    def run(words):
        assert words[:2] == [sys.executable, "-m"]
        MODULES[words[2]].main(words[3:])
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(networks.subprocess, "run", run)


def test_a_network_is_trained_once_and_again_for_other_settings_or_by_another_code(
    table, in_process, monkeypatch, capfd
):
    networks.retrain(SMALL)
    trained = table()
    assert list(trained) == list(SMALL) and all(float(row["minutes"]) > 0 for row in trained.values())
    capfd.readouterr()
    networks.retrain(SMALL)
    assert capfd.readouterr().out.count("trained by this code already") == 2 and table() == trained
    networks.NETWORKS["cnn"] = SMALL["cnn"]._replace(settings=SMALL["cnn"].settings | {"layers": 3})
    networks.retrain(SMALL)
    assert table()["dladmm"] == trained["dladmm"] and "--layers 3 " in table()["cnn"]["command"]
    assert trained["dladmm"]["command"].startswith("python -m main_lena --training supervised --depths 1 ")
    path = networks.CHECKPOINTS / "dladmm" / "dladmm_d01.safetensors"
    assert load_settings(path)["training_rates"] == [0.1, 0.2] and len(load_network(path).layers) == 1
    monkeypatch.setattr(networks, "digest_of_code", lambda command: "another")
    assert not any(map(networks.is_trained, SMALL))


def test_settings_that_a_command_no_longer_has_count_as_others_and_minutes_are_of_the_command_now(table, in_process):
    with_layers = SMALL["cnn"]
    without = with_layers._replace(settings={k: v for k, v in with_layers.settings.items() if k != "layers"})
    networks.NETWORKS["cnn"] = with_layers
    networks.retrain(["cnn"])
    assert networks.is_trained("cnn") and networks.known_minutes()["cnn"] > 0
    networks.NETWORKS["cnn"] = without
    assert not networks.is_trained("cnn") and networks.known_minutes() == {}


def test_a_training_that_fails_ends_the_command(table):
    networks.NETWORKS["cnn"] = SMALL["cnn"]._replace(settings={"epochs": 0})
    with pytest.raises(SystemExit) as ended:
        networks.retrain(["cnn"])
    assert ended.value.code == 2 and not networks.RESULTS.exists()


def test_a_network_that_is_there_has_a_row_and_minutes_that_nobody_measured_are_unknown(table, in_process):
    networks.retrain(["cnn"])
    first = table()["cnn"]
    (networks.RESULTS / "networks.csv").unlink()
    networks.retrain(["cnn"])
    assert table()["cnn"] == first | {"minutes": "", "run": table()["cnn"]["run"]}
    (networks.CHECKPOINTS / "dladmm" / "interrupted-1234").mkdir(parents=True)
    networks.retrain(["dladmm"])
    assert table()["dladmm"]["minutes"] == ""


@pytest.mark.parametrize("name", NETWORKS)
def test_the_settings_of_every_network_are_allowed(name):
    """Its command line is understood, and means these settings."""
    settings = parse_settings(MODULES[NETWORKS[name].module].Settings, "", networks.command(name)[2:])
    for option, value in NETWORKS[name].settings.items():
        assert getattr(settings, option) == (tuple(value) if isinstance(value, list) else value)
