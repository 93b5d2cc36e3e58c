"""Claims about runs that do not end well: killed, interrupted, out of space, two at once. Nothing is lost."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import main_lena
from tests.helpers import AS_PUBLISHED, ROOT, interrupted_in, rows
from utils.reporting.pages import Page
from utils.running import resume
from utils.running.errors import script
from utils.studies.study import GOES_ON, Measured, run_study

EPOCHS = 8

# Runs main_lena.py, and a statement when it replaces a file for the nth time.
AT_A_REPLACEMENT = """
import itertools, os, pathlib, runpy, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # the one who started the tests may have it ignored
replace, calls, (nth, statement) = os.replace, itertools.count(1), sys.argv[1:3]
def followed(*names):
    if next(calls) == int(nth):
        exec(statement)
    replace(*names)
os.replace = followed
sys.argv = ["main_lena.py", *sys.argv[3:]]
runpy.run_path("main_lena.py", run_name="__main__")
"""
KILL_NOW = "os.kill(os.getpid(), signal.SIGKILL)"


def words(image, folder, *more):
    settings = {
        "--image": image, "--epochs": EPOCHS, "--patches-per-epoch": 200, "--batch-size": 64, "--safeguard-layers": 2,
        "--ladmm-max-iterations": 10, "--results-dir": folder / "results", "--checkpoint-dir": folder / "checkpoints",
    }  # fmt: skip
    return [*AS_PUBLISHED, "--depths", "3", *(str(word) for pair in settings.items() for word in pair), *more]


def start(*arguments, at=(0, "")):
    """The experiment in a process of its own; `at`: n, and the statement when it replaces a file for the nth time."""
    words = [sys.executable, "-c", AT_A_REPLACEMENT, *map(str, at), *arguments]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def run_here(arguments, capsys):
    """The experiment in this process: its exit code, and what it says but for bars of progress."""
    code = 0
    try:
        main_lena.main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    said = [line for line in capsys.readouterr().err.splitlines() if line and not line.startswith("d = ")]
    return code, said


def contents(folder, pattern="**/*"):
    """The content of all files but the page, and but for the seconds that they tell."""
    read = {
        "results.csv": lambda path: [row | {"seconds": ""} for row in rows(path)],
        "results.json": lambda path: json.loads(path.read_text()) | {"minutes": None},
    }
    files = [path for path in folder.glob(pattern) if path.is_file() and path.name != "results.md"]
    return {str(path.relative_to(folder)): read.get(path.name, Path.read_bytes)(path) for path in files}


def earlier_run(folder):
    (folder / "results").mkdir()
    (folder / "results" / "results.json").write_text('{"settings": {}, "versions": {}}')
    (folder / "results" / "results.csv").write_text("of an earlier run")


@pytest.fixture(scope="module")
def undisturbed(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(*words(image, folder))
    process.communicate()
    assert process.returncode == 0
    return contents(folder)


def test_the_same_command_writes_the_same_files_to_the_last_byte(undisturbed, image, tmp_path, capsys):
    assert run_here(words(image, tmp_path), capsys) == (0, [])
    assert contents(tmp_path) == undisturbed
    assert {"checkpoints/dladmm_d03_self_supervised.safetensors", "results/results.json"} <= set(undisturbed)


@pytest.mark.parametrize("written", [-13, 1, 8, 11])
def test_a_run_that_is_killed_leaves_whole_files_and_goes_on(written, undisturbed, image, tmp_path, capsys):
    """When so many outputs are there, or with so many epochs to go. The description is the earlier run's to the end."""
    earlier_run(tmp_path)
    earlier, epochs_and_description = contents(tmp_path), 2 * EPOCHS + 1
    process = start(*words(image, tmp_path), at=(epochs_and_description + written + 1, KILL_NOW))
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    found = contents(tmp_path, "*/[!.]*.*")
    new = {name for name, content in found.items() if content == undisturbed[name]}
    assert len(new) == max(written, 0) and found.keys() >= earlier.keys()
    assert all(found[name] == earlier[name] for name in found.keys() - new)
    assert "results/results.json" not in new
    for scratch in tmp_path.glob("*/.unfinished-*"):
        shutil.rmtree(scratch)
    assert run_here(words(image, tmp_path), capsys)[0] == 0
    assert contents(tmp_path) == undisturbed


def test_ctrl_c_is_one_line_and_another_run_does_not_interfere(undisturbed, image, tmp_path, capsys):
    sign, folder = tmp_path / "it waits", tmp_path / "run"
    wait = f"pathlib.Path({str(sign)!r}).touch(); time.sleep(3600)"
    process = start(*words(image, folder), at=(4, wait))  # a description and two epochs are there
    until = time.monotonic() + 120
    while not sign.exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    code, said = run_here(words(image, folder), capsys)
    assert code == 2 and len(said) == 1 and "is in use by another run; allowed: another folder, or later" in said[0]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("error: interrupted; a training goes on after its last finished epoch")
    # Other hyperparameters: their run has a place of its own.
    assert run_here(words(image, folder, "--seed", "7"), capsys) == (0, [])
    code, said = run_here(words(image, folder), capsys)
    assert code == 0 and len(said) == 1 and "going on with the interrupted run" in said[0]
    assert contents(folder) == undisturbed


def test_trouble_with_numbers_is_said_and_the_last_good_epoch_kept(image, tmp_path, capsys):
    code, said = run_here(words(image, tmp_path, "--depths", "1", "--learning-rate", "1e6", "--beta", "100"), capsys)
    assert code == 2 and len(said) == 1
    assert said[0].startswith("error: the ") and "in batch" in said[0] and "the epochs before it are kept" in said[0]
    assert not (tmp_path / "results").exists()
    assert list(tmp_path.glob("checkpoints/interrupted-*/dladmm_d01.pt"))


def test_what_no_interrupted_run_left_is_refused_and_code_in_it_not_run(code, image, tmp_path, capsys, monkeypatch):
    interrupted_in(monkeypatch, resume, "replace_file", 4)  # of its trainings
    assert run_here(words(image, tmp_path), capsys)[0] == 130
    (left,) = tmp_path.glob("checkpoints/interrupted-*/dladmm_d03.pt")
    for content in ({"trainer": code}, {"something": "else"}, [1.0]):
        torch.save(content, left)
        code, said = run_here(words(image, tmp_path), capsys)
        assert code == 2 and len(said) == 1 and "cannot be read" in said[0]
    assert not (tmp_path / "was here").exists()


def grow(number):
    grown.append(number)
    if number == stops[-1]:
        raise KeyboardInterrupt
    return 2 * number


grown, stops = [], [None]
NUMBERS = range(4)


def measure(keep):
    return Measured({"test_interruption": pd.DataFrame({"number": map(keep(grow), NUMBERS)})})


def show(tables, made_by):
    return Page(tables["test_interruption"].to_markdown())


def study(folder, capsys, stopped_at=None, inputs=None, **settings):
    """Runs it: the exit code, what it computed, and what it says."""
    grown.clear()
    stops.append(stopped_at)
    code = 0
    try:
        with script(GOES_ON):
            run_study(__name__, folder, settings, inputs)
    except SystemExit as ended:
        code = ended.code
    return code, list(grown), capsys.readouterr().err


def test_a_study_goes_on_where_it_was_interrupted_unless_its_settings_or_inputs_are_others(tmp_path, capsys):
    (tmp_path / "test_interruption.csv").write_text("as it was")
    code, computed, said = study(tmp_path, capsys, stopped_at=2)
    assert (code, computed) == (130, [0, 1, 2]) and "the tables are as before; the same command goes on" in said
    assert (tmp_path / "test_interruption.csv").read_text() == "as it was"
    for other in ({"size": 2}, {"inputs": {"image": b"another"}}):
        assert study(tmp_path, capsys, **other)[:2] == (0, [0, 1, 2, 3])
    code, computed, said = study(tmp_path, capsys)
    assert (code, computed) == (0, [2, 3]) and "going on with the interrupted run" in said
    assert (tmp_path / "test_interruption.csv").read_text() == "number\n0\n2\n4\n6\n"
    made_by = json.loads((tmp_path / "test_interruption.json").read_text())
    assert made_by["settings"]["epochs"] == EPOCHS and made_by["tables"] == ["test_interruption"]
    assert "|  3 |        6 |" in (tmp_path / "test_interruption.md").read_text()
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".json", ".md"}  # nothing is kept any more
