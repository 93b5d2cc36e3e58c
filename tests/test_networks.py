"""Claims about training all networks: each by its command, none twice by the same code and settings."""

import subprocess
import sys

import pytest

import main_lena
from tests.helpers import rows
from utils.running import provenance
from utils.running.checkpoints import load_network, load_settings
from utils.running.settings import parse_settings
from utils.studies import networks
from utils.studies.networks import NETWORKS, PROGRAMS

SMALL = {
    "dladmm": (
        "a test",
        "main_lena.py --training supervised --depths 1 --epochs 1 --patches-per-epoch 200 --batch-size 100 "
        "--safeguard-layers 1 --ladmm-max-iterations 1 --training-rates 0.1 0.2",
    ),
    "cnn": ("another", "-m utils.studies.rivals.cnn --epochs 1 --patches-per-epoch 64"),
}


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch):
    """Two small networks instead of all, and a function that reads the table of them."""
    monkeypatch.setattr(networks, "NETWORKS", dict(SMALL))
    monkeypatch.setitem(PROGRAMS, "main_lena.py", (main_lena, "dladmm_d01"))
    monkeypatch.setattr(networks, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(networks, "RESULTS", tmp_path / "results")
    return lambda: {row["name"]: row for row in rows(networks.RESULTS / "networks.csv")}


@pytest.fixture
def in_process(monkeypatch):
    """Commands run in this process, which has imported everything already."""

    def run(words):
        assert words[0] == sys.executable
        PROGRAMS[words[1]][0].main([word for word in words[2:] if word != "utils.studies.rivals.cnn"])
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(networks.subprocess, "run", run)


def give(name, more):
    """Gives the network's command more options."""
    networks.NETWORKS[name] = SMALL[name][0], f"{SMALL[name][1]} {more}"


def test_a_network_is_trained_once_and_again_for_other_settings_or_by_another_code(
    table, in_process, monkeypatch, capfd
):
    networks.retrain(SMALL)
    first = table()
    assert list(first) == list(SMALL) and all(float(row["minutes"]) > 0 for row in first.values())
    capfd.readouterr()
    networks.retrain(SMALL)
    assert capfd.readouterr().out.count("trained by this code already") == 2 and table() == first
    give("cnn", "--noise-rate 0.2")
    networks.retrain(SMALL)
    assert table()["dladmm"] == first["dladmm"] and "--noise-rate 0.2 " in table()["cnn"]["command"]
    assert first["dladmm"]["command"].startswith("python main_lena.py --training supervised --depths 1 ")
    path = networks.CHECKPOINTS / "dladmm" / "dladmm_d01.safetensors"
    assert load_settings(path)["training_rates"] == [0.1, 0.2] and len(load_network(path).layers) == 1
    capfd.readouterr()
    for module in (provenance, networks):
        monkeypatch.setattr(module, "digest_of_code", lambda command: "another")
    networks.retrain(["cnn"])
    assert "already" not in capfd.readouterr().out and table()["cnn"]["code"] == "another"
    assert table()["dladmm"] == first["dladmm"] | {"run": table()["dladmm"]["run"]}


def test_settings_that_a_command_no_longer_has_count_as_others_and_minutes_are_of_the_command_now(table, in_process):
    give("cnn", "--noise-rate 0.2")
    networks.retrain(["cnn"])
    assert networks.trained("cnn").minutes > 0
    path = networks.RESULTS / "networks.csv"
    path.write_text(path.read_text().replace("--noise-rate 0.2", "--noise-rate 0.3"))
    assert networks.trained("cnn").minutes is None
    networks.NETWORKS["cnn"] = SMALL["cnn"]
    assert networks.trained("cnn") is None


def test_a_training_that_fails_ends_the_command_with_a_line_before_any_work(capfd):
    give("cnn", "--training-rates 0.5 0.1")  # the lowest is not the first
    with pytest.raises(SystemExit) as ended:
        networks.retrain(["cnn"])
    assert ended.value.code == 2 and len(capfd.readouterr().err.splitlines()) == 1
    assert not networks.RESULTS.exists() and not networks.CHECKPOINTS.exists()


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
def test_the_settings_of_every_network_are_allowed(name, monkeypatch):
    """Its command line is understood, says nothing twice, and is for its own folder."""
    monkeypatch.setattr(networks, "NETWORKS", NETWORKS)
    module, _ = PROGRAMS[networks.command(name)[0]]
    words = networks.options(name)
    settings, given = parse_settings(module.Settings, "", words), [word for word in words if word.startswith("--")]
    assert settings.checkpoint_dir == str(networks.CHECKPOINTS / name) and len(set(given)) == len(given)
