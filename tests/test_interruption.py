"""Claims about runs that do not end well: killed, interrupted, out of space, two at once. Nothing is lost or mixed."""

import csv
import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import main_lena
from data.images import load_image
from tests.helpers import copy_code
from utils.running.files import replace_file
from utils.running.provenance import digest_of_code

ROOT = Path(__file__).parents[1]
EPOCHS = 8

# Runs main_lena.py, and kills it when it replaces a file for the nth time.
KILLED_AT_A_REPLACEMENT = """
import os, runpy, signal, sys
calls, replace, nth = iter(range(1, 10**9)), os.replace, int(sys.argv[1])
def killed(*names):
    if next(calls) == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
os.replace = killed
sys.argv = ["main_lena.py", *sys.argv[2:]]
runpy.run_path("main_lena.py", run_name="__main__")
"""


# Runs main_lena.py, and kills it some seconds after it has begun to replace a file for the nth time.
KILLED_SHORTLY_AFTER_A_REPLACEMENT = """
import os, runpy, signal, sys, threading
calls, replace, nth, delay = iter(range(1, 10**9)), os.replace, int(sys.argv[1]), float(sys.argv[2])
def followed(*names):
    if next(calls) == nth:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    replace(*names)
os.replace = followed
sys.argv = ["main_lena.py", *sys.argv[3:]]
runpy.run_path("main_lena.py", run_name="__main__")
"""


# Runs main_lena.py, and waits for ever before it replaces a file for the nth time; a file says that it does.
WAITING_AT_A_REPLACEMENT = """
import os, pathlib, runpy, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # the one who started the tests may have it ignored
calls, replace, nth, sign = iter(range(1, 10**9)), os.replace, int(sys.argv[1]), pathlib.Path(sys.argv[2])
def waiting(*names):
    if next(calls) == nth:
        sign.touch()
        time.sleep(3600)
    replace(*names)
os.replace = waiting
sys.argv = ["main_lena.py", *sys.argv[3:]]
runpy.run_path("main_lena.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "piece.png"
    Image.fromarray(np.uint8(load_image("camera")[60:108, 180:228] * 255)).save(path)
    return path


def words(image, folder, *more):
    settings = {
        "--image": image, "--epochs": EPOCHS, "--patches-per-epoch": 200, "--batch-size": 64, "--safeguard-layers": 2,
        "--ladmm-max-iterations": 10, "--results-dir": folder / "results", "--checkpoint-dir": folder / "checkpoints",
    }  # fmt: skip
    return ["--depths", "3", *(str(word) for pair in settings.items() for word in pair), *more]


def start(*arguments, **options):
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True, **options)


def run(*arguments, **options):
    """The experiment in a process of its own: its exit code."""
    process = start(*arguments, **options)
    process.communicate()
    return process.returncode


def run_here(arguments, capsys):
    """The experiment in this process: its exit code, and what it says but for bars of progress."""
    code = 0
    try:
        main_lena.main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    said = [line for line in capsys.readouterr().err.splitlines() if line and not line.startswith("d = ")]
    return code, said


def without_seconds(path):
    """A file's content, or a table's but for the seconds that it tells."""
    if path.name == "results.csv":
        with path.open() as file:
            return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    if path.name == "results.md":
        lines = [line.split("|") for line in path.read_text().splitlines()]
        (heading,) = (line for line in lines if "seconds" in map(str.strip, line))
        place = [cell.strip() for cell in heading].index("seconds")
        return [line[:place] + line[place + 1 :] if len(line) == len(heading) else line for line in lines]
    return path.read_bytes()


def contents(folder):
    return {str(path.relative_to(folder)): without_seconds(path) for path in folder.rglob("*") if path.is_file()}


def let_an_hour_pass(folder):
    """For the scratch folders that killed runs have left: the next run removes old ones."""
    for path in folder.glob("*/.unfinished-*"):
        os.utime(path, (0, 0))


def earlier_run(folder):
    """What an earlier run has left: its description, and a table in place of all others."""
    (folder / "results").mkdir()
    (folder / "results" / "run.json").write_text('{"settings": {}, "versions": {}}')
    (folder / "results" / "results.csv").write_text("of an earlier run")


@pytest.fixture(scope="module")
def undisturbed(image, tmp_path_factory):
    """The files of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run("main_lena.py", *words(image, folder)) == 0
    return contents(folder)


def test_the_same_command_writes_the_same_files_to_the_last_byte(undisturbed, image, tmp_path, capsys):
    assert run_here(words(image, tmp_path), capsys) == (0, [])
    found = contents(tmp_path)
    assert found == undisturbed
    assert {
        "checkpoints/dladmm_d03.safetensors",
        "checkpoints/dladmm_d03_self_supervised.safetensors",
        "results/results.md",
        "results/run.json",
        "results/training.png",
    } <= set(found)


def test_a_run_killed_at_random_moments_ends_like_one_that_was_not(undisturbed, image, tmp_path):
    """Three times, in training: shortly after the fourth file that it replaces."""
    expected = undisturbed
    folder = tmp_path / "run"
    folder.mkdir()
    earlier_run(folder)
    script = tmp_path / "killed.py"
    script.write_text(KILLED_SHORTLY_AFTER_A_REPLACEMENT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for delay in np.random.default_rng(3).uniform(0, 0.05, 3):
        assert run(str(script), "4", str(delay), *words(image, folder), env=environment) == -signal.SIGKILL
        assert (folder / "results" / "results.csv").read_text() == "of an earlier run"
    assert run("main_lena.py", *words(image, folder)) == 0
    assert contents(folder) == expected


@pytest.mark.parametrize("after_an_earlier_run", [False, True])
def test_a_run_killed_between_two_of_its_outputs_leaves_whole_files_and_ends_like_one_that_was_not(
    after_an_earlier_run, undisturbed, image, tmp_path
):
    """At a random replacement. Run.json is there before any other file, and the earlier run's until the end."""
    epochs_and_description = 2 * EPOCHS + 1
    nth = np.random.default_rng([4, after_an_earlier_run]).integers(2, len(undisturbed) + 1)
    print(f"killed at output {nth}")
    script, folder, earlier = tmp_path / "killed.py", tmp_path / "run", {}
    script.write_text(KILLED_AT_A_REPLACEMENT)
    folder.mkdir()
    if after_an_earlier_run:
        earlier_run(folder)
        earlier = contents(folder)
    arguments = str(script), str(epochs_and_description + nth), *words(image, folder)
    assert run(*arguments, env=os.environ | {"PYTHONPATH": str(ROOT)}) == -signal.SIGKILL
    found = {str(path.relative_to(folder)): without_seconds(path) for path in folder.glob("*/[!.]*.*")}
    new = {name for name, content in found.items() if content == undisturbed[name]}
    assert len(new) == nth - 1 and all(found[name] == earlier[name] for name in found.keys() - new)
    assert ("results/run.json" in new) != after_an_earlier_run
    let_an_hour_pass(folder)
    assert run("main_lena.py", *words(image, folder)) == 0
    assert contents(folder) == undisturbed


def test_ctrl_c_is_one_line_and_another_run_does_not_interfere(undisturbed, image, tmp_path, capsys):
    (tmp_path / "waiting.py").write_text(WAITING_AT_A_REPLACEMENT)
    sign, folder = tmp_path / "it waits", tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    fourth = [str(tmp_path / "waiting.py"), "4", str(sign)]  # run.json and two epochs are there
    process = start(*fourth, *words(image, folder), env=environment)
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
    # Other hyperparameters: their run says what differs, and has a place of its own.
    code, said = run_here(words(image, folder, "--seed", "7"), capsys)
    assert code == 0 and len(said) == 1 and "differs in seed (1126, now 7)" in said[0]
    code, said = run_here(words(image, folder), capsys)
    assert code == 0 and len(said) == 1 and "going on with the interrupted run" in said[0]
    assert contents(folder) == undisturbed


@pytest.mark.parametrize(("room", "left"), [(100, 0), (3_000_000, 1)], ids=["none", "for one network"])
def test_without_room_on_the_disk_earlier_results_stay(room, left, image, tmp_path, capsys):
    earlier_run(tmp_path)
    two = ("--depths", "1", "3", "--training", "unsupervised")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        code, said = run_here(words(image, tmp_path, "--epochs", "2", *two), capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2 and len(said) == 1
    assert "cannot be written (File too large); earlier results are as they were" in said[0]
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"results.csv", "run.json"}
    assert (tmp_path / "results" / "results.csv").read_text() == "of an earlier run"
    assert len(list(tmp_path.glob("checkpoints/interrupted-*/*.pt"))) == left


def test_trouble_with_numbers_is_said_and_the_last_good_epoch_kept(image, tmp_path, capsys):
    code, said = run_here(words(image, tmp_path, "--depths", "1", "--learning-rate", "1e6", "--epochs", "50"), capsys)
    assert code == 2 and len(said) == 1
    assert said[0].startswith("error: the ") and "in batch" in said[0] and "the epochs before it are kept" in said[0]
    assert not (tmp_path / "results").exists()
    assert list(tmp_path.glob("checkpoints/interrupted-*/dladmm_d01.pt"))


def interrupt(monkeypatch):
    """Ctrl-C when the fourth file of the trainings is to be written; only then."""
    calls = itertools.count()

    def interrupted(path, content):
        if next(calls) == 3:
            raise KeyboardInterrupt
        replace_file(path, content)

    monkeypatch.setattr("utils.training.progress.replace_file", interrupted)


def test_after_an_edit_the_run_starts_afresh_and_says_so(image, tmp_path, capsys, monkeypatch):
    interrupt(monkeypatch)
    assert run_here(words(image, tmp_path), capsys)[0] == 130
    edited = tmp_path / "edited"
    copy_code(edited)
    before = digest_of_code("main_lena")
    with (edited / "models" / "losses.py").open("a") as file:
        file.write("ANOTHER_LOSS = None\n")
    monkeypatch.setattr("utils.running.provenance.ROOT", edited)
    code, said = run_here(words(image, tmp_path), capsys)
    assert code == 0 and len(said) == 1
    assert said[0].startswith("starting afresh")
    assert said[0].endswith(f"differs in digest of the code ({before}, now {digest_of_code('main_lena')})")


def test_what_no_interrupted_run_left_is_refused_and_code_in_it_not_run(code, image, tmp_path, capsys, monkeypatch):
    interrupt(monkeypatch)
    assert run_here(words(image, tmp_path), capsys)[0] == 130
    (left,) = tmp_path.glob("checkpoints/interrupted-*/dladmm_d03.pt")
    for content in ({"trainer": code}, {"something": "else"}, [1.0]):
        torch.save(content, left)
        code, said = run_here(words(image, tmp_path), capsys)
        assert code == 2 and len(said) == 1 and "cannot be read" in said[0]
    assert not (tmp_path / "was here").exists()
