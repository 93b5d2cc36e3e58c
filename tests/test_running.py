"""Claims about files and checkpoints: they are whole, they come back, and a folder is one run's at a time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models import DLADMM
from models.functions import L21, WeightedL1
from utils.running.checkpoints import load_network, save_network
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


def test_a_folder_is_one_run_s_at_a_time_and_no_trace_of_the_lock_is_left(tmp_path):
    lock = "import sys, pathlib; from utils.running.files import FolderLock; FolderLock(pathlib.Path(sys.argv[1]))"

    def other():
        return subprocess.run([sys.executable, "-c", lock, str(tmp_path / "a")], capture_output=True, text=True)

    with FolderLock(tmp_path / "a", tmp_path / "b" / "c"):
        assert (tmp_path / "b" / "c").is_dir()
        assert "is in use by another run; allowed: another folder, or later" in other().stderr
    assert list(tmp_path.iterdir()) == []
    assert other().returncode == 0
    with FolderLock(tmp_path / "a"):  # the other process ended with the lock in its hands
        (tmp_path / "a" / "result").write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]


def test_a_folder_behind_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        with pytest.raises(ValueError, match="cannot be used"):
            check_folder(str(tmp_path / name))
    assert check_folder(str(tmp_path / "new" / "folder")) == tmp_path / "new" / "folder"
