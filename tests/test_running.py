"""Claims about files and checkpoints: they are whole, they come back, and a folder is one run's at a time."""

import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from models import DLADMM
from models.functions import L21, WeightedL1
from utils.running.checkpoints import load_network, save_network
from utils.running.errors import UserError
from utils.running.files import FolderLock, all_or_nothing, check_folder, replace_file

A = torch.from_numpy(np.random.default_rng(0).normal(size=(16, 30))).float()
X = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 16))).float()


@pytest.mark.parametrize(
    "parts",
    [
        {"alpha": 0.6},
        {"alpha": 0.6, "B": torch.ones(16, 3)},
        {"f": L21(0.4, group=3), "g": WeightedL1(torch.linspace(0, 1, 16))},
    ],
    ids=["l1", "B", "l21 and weighted l1"],
)
def test_checkpoints_bring_the_network_back(parts, tmp_path):
    network = DLADMM(A, 2, **parts, activation="shared_proximal", restored="X-BE")
    for parameter in network.parameters():
        parameter.data *= 1.1
    save_network(network, tmp_path / "network.safetensors", {"depths": (2,)})
    loaded = load_network(tmp_path / "network.safetensors")
    assert loaded.restored == "X-BE"
    for before, after in zip(network(X)[-1], loaded(X)[-1], strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0.01 * before.detach().abs().max().item())


def test_weights_that_are_all_zero_or_very_small_come_back(tmp_path):
    """As those of a step that learned to change nothing."""
    network = DLADMM(A, 1, 0.6, activation="piecewise_linear")
    for parameter, factor in zip(network.parameters(), (1, 0, 1e-30, 0, 1e-6, 1, 1), strict=True):
        parameter.data *= factor
    save_network(network, tmp_path / "network.safetensors", {})
    loaded = load_network(tmp_path / "network.safetensors")
    for before, after in zip(network.parameters(), loaded.parameters(), strict=True):
        largest = before.detach().abs().max().item()
        torch.testing.assert_close(after, before, rtol=0, atol=2**-11 * largest)


def test_the_same_network_is_the_same_file_in_any_process(tmp_path):
    make = (
        "import sys, torch; from pathlib import Path; from models import DLADMM;"
        "from utils.running.checkpoints import save_network;"
        "save_network(DLADMM(torch.eye(4, 6) + 1, 2, 0.5), Path(sys.argv[1]), {'a': 1, 'b': 2, 'c': 3}, 'made')"
    )
    for name in ("one", "other"):
        subprocess.run([sys.executable, "-c", make, str(tmp_path / name)], check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_files_of_a_run_appear_together(tmp_path):
    for name in ("kept.txt", "old_1.png", "old_2.png"):
        (tmp_path / name).write_text("before")
    with all_or_nothing(tmp_path, obsolete=list(tmp_path.glob("old_*.png"))) as (folder,):
        (folder / "new.txt").write_text("after")
        (folder / "old_1.png").write_text("after")
        assert not (tmp_path / "new.txt").exists()
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"kept.txt": "before", "new.txt": "after", "old_1.png": "after"}


def write_together(path, content):
    with all_or_nothing(path.parent) as (folder,):
        (folder / path.name).write_bytes(content)


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_work_goes_on(tmp_path, monkeypatch):
    """Else a loss of power could leave a name with nothing behind it."""
    events, sync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        sync(descriptor)
        events.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    def replaced(source, target):
        assert (os.stat(source).st_ino, os.stat(source).st_size) in events
        replace(source, target)
        events.append(Path(target).name)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    for write, name in ((replace_file, "alone.pt"), (write_together, "run.json")):
        write(tmp_path / name, b"content")
        assert (tmp_path / name).read_bytes() == b"content"
        folder_is_synced = [type(event) is tuple and event[0] == tmp_path.stat().st_ino for event in events]
        assert any(folder_is_synced[events.index(name) :])


def test_files_of_a_run_that_fails_never_appear(tmp_path):
    (tmp_path / "table.txt").write_text("before")
    with pytest.raises(RuntimeError), all_or_nothing(tmp_path, obsolete=[tmp_path / "table.txt"]) as (folder,):
        (folder / "table.txt").write_text("half")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("table.txt", "before")]


def write_a_run(a, b):
    """Three files in each folder, where an earlier run may have left another one."""
    with all_or_nothing(a, b, obsolete=[a / "old.txt", b / "old.txt"]) as folders:
        for folder in folders:
            for name in ("same.txt", "new.txt", "run.json"):
                (folder / name).write_text("new")


def killed_at_replacement(nth, *folders):
    """Writes a run in a process that is killed when it replaces a file for the nth time, from 0; its exit code."""
    child = os.fork()
    if child == 0:
        replace, calls = os.replace, count()
        os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL) if next(calls) == nth else replace(*names)
        try:
            write_a_run(*folders)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files_in(*folders):
    return {f"{folder.name}/{path.name}": path.read_text() for folder in folders for path in folder.glob("[!.]*")}


@pytest.mark.parametrize("nth", range(6))
def test_a_run_killed_between_two_of_its_files_leaves_whole_ones_and_is_finished_by_the_next(nth, tmp_path):
    """Run.json names the old run until there is nothing else of it."""
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        for name in ("old.txt", "same.txt", "run.json"):
            (folder / name).write_text("old")
    assert killed_at_replacement(nth, *folders) == -signal.SIGKILL
    found = files_in(*folders)
    assert set(found.values()) <= {"old", "new"} and list(found.values()).count("new") == nth
    assert found["a/run.json"] == ("old" if nth < 5 else "new") and found["b/run.json"] == "old"
    assert ("a/old.txt" in found) == ("b/old.txt" in found) == (nth < 4)
    write_a_run(*folders)
    found = files_in(*folders)
    assert set(found.values()) == {"new"} and len(found) == 6


@pytest.mark.parametrize("nth", range(1, 6))
def test_where_no_run_was_before_no_file_is_without_run_json(nth, tmp_path):
    assert killed_at_replacement(nth, tmp_path / "a", tmp_path / "b") == -signal.SIGKILL
    found = files_in(tmp_path / "a", tmp_path / "b")
    assert len(found) == nth and "a/run.json" in found and ("b/run.json" in found) == (nth > 1)


def test_scratch_that_a_killed_process_left_is_removed_after_an_hour_and_no_other_s_earlier(tmp_path):
    for name, minutes in (("old", 61), ("young", 59)):
        scratch = tmp_path / f".unfinished-{name}"
        scratch.mkdir()
        (scratch / "table.csv").write_text("half")
        os.utime(scratch, (time.time() - 60 * minutes,) * 2)
    with all_or_nothing(tmp_path) as (folder,), FolderLock(tmp_path):
        (folder / "whole.txt").write_text("by a command that needs no lock")
    assert {path.name for path in tmp_path.iterdir()} == {".unfinished-young", "whole.txt"}


def test_a_folder_is_one_run_s_at_a_time_and_no_trace_of_the_lock_is_left(tmp_path):
    lock = (
        "import os, sys, pathlib; from utils.running.files import FolderLock\n"
        "with FolderLock(pathlib.Path(sys.argv[1])): os._exit(0)"
    )

    def other():
        return subprocess.run([sys.executable, "-c", lock, str(tmp_path / "a")], capture_output=True, text=True)

    with FolderLock(tmp_path / "a", tmp_path / "b" / "c"):
        assert (tmp_path / "b" / "c").is_dir()
        assert "is in use by another run; allowed: another folder, or later" in other().stderr
    assert list(tmp_path.iterdir()) == []
    assert other().returncode == 0 and (tmp_path / "a" / ".lock").exists()
    with FolderLock(tmp_path / "a"):  # the other process ended with the lock in its hands
        (tmp_path / "a" / "result").write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]


def test_when_one_of_several_folders_is_in_use_those_before_it_are_given_back(tmp_path):
    (tmp_path / "there").mkdir()
    with FolderLock(tmp_path / "used"):
        with pytest.raises(UserError, match="used' is in use by another run") as refused:
            FolderLock(tmp_path / "there", tmp_path / "made" / "below", tmp_path / "used")
        assert {path.name for path in tmp_path.iterdir()} == {"there", "used"}
        with FolderLock(tmp_path / "there"):
            assert refused  # as long as it is kept, so is whatever it holds
        with pytest.raises(UserError, match="in use"):
            FolderLock(tmp_path / "used")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_folder_behind_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        with pytest.raises(ValueError, match="cannot be used"):
            check_folder(str(tmp_path / name))
    assert check_folder(str(tmp_path / "new" / "folder")) == tmp_path / "new" / "folder"
