"""Claims about checkpoints, files and provenance: they are whole, they come back, and they say what made them."""

import errno
import hashlib
import json
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch

from models import DLADMM
from models.errors import InvalidArgument
from models.functions import L1, L21
from utils.running import provenance
from utils.running.checkpoints import load_network, save_network
from utils.running.errors import UserError
from utils.running.files import all_or_nothing, locked
from utils.running.provenance import as_json, code, name_of, read_provenance
from utils.studies.fits import Huber

A = torch.from_numpy(np.random.default_rng(0).normal(size=(16, 30))).float()
X = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 16))).float()


@pytest.mark.parametrize(
    "parts",
    [
        {"alpha": 0.6},
        {"alpha": 0.6, "B": torch.ones(16, 3)},
        {"f": L21(0.4, group=3), "g": L1(0.3)},
        *({"alpha": 0.6, "weights": name, "activation": "proximal"} for name in ("tied", "scalar", "convergent")),
    ],
)
def test_checkpoints_bring_the_network_back(parts, tmp_path):
    network = DLADMM(A, 2, **({"activation": "shared_proximal"} | parts), restored="X-BE")
    for parameter in network.parameters():
        parameter.data *= 1.1
    network.layers[1].relaxation = 1.8
    save_network(network, tmp_path / "network.safetensors", {"depths": (2,)})
    loaded = load_network(tmp_path / "network.safetensors")
    relaxations = [[layer.relaxation for layer in net.layers] for net in (network, loaded)]
    assert loaded.restored == "X-BE" and relaxations[0] == relaxations[1]
    for before, after in zip(network(X)[-1], loaded(X)[-1], strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0.01 * before.detach().abs().max().item())


def test_a_function_without_a_line_in_the_table_cannot_be_saved_and_nothing_is_written(tmp_path):
    with pytest.raises(InvalidArgument, match="Huber has no line in models.functions.FUNCTIONS"):
        save_network(DLADMM(A, 2, f=Huber()), tmp_path / "own", {})
    assert not list(tmp_path.iterdir())


def test_weights_that_are_all_zero_or_very_small_come_back(tmp_path):
    network = DLADMM(A, 1, 0.6, activation="piecewise_linear")
    for parameter, factor in zip(network.parameters(), (1, 0, 1e-30, 0, 1e-6, 1, 1), strict=True):
        parameter.data *= factor
    save_network(network, tmp_path / "network.safetensors", {})
    loaded = load_network(tmp_path / "network.safetensors")
    for before, after in zip(network.parameters(), loaded.parameters(), strict=True):
        largest = before.detach().abs().max().item()
        torch.testing.assert_close(after, before, rtol=0, atol=2**-11 * largest)


def test_files_of_a_run_appear_together_or_if_it_fails_never(tmp_path):
    before = dict.fromkeys(("kept.txt", "old_1.png", "old_2.png"), "before")
    for name, content in before.items():
        (tmp_path / name).write_text(content)
    old = list(tmp_path.glob("old_*.png"))
    for fault in (RuntimeError(), OSError(errno.ENOSPC, "No space left"), None):
        with suppress(RuntimeError, UserError), all_or_nothing(tmp_path, obsolete=old) as (folder,):
            (folder / "new.txt").write_text("after")
            (folder / "old_1.png").write_text("after")
            assert not (tmp_path / "new.txt").exists()
            if fault:
                raise fault
        expected = before if fault else {"kept.txt": "before", "new.txt": "after", "old_1.png": "after"}
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected


def test_a_folder_is_one_run_s_at_a_time_however_it_ends_and_the_lock_leaves_no_trace(tmp_path):
    lock = (
        "import os, sys, pathlib; from utils.running.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): os._exit(0)"
    )

    def other():
        return subprocess.run([sys.executable, "-c", lock, str(tmp_path / "b")], capture_output=True, text=True)

    with locked(tmp_path / "a", tmp_path / "b"):
        assert "b' is in use by another run; allowed: another folder, or later" in other().stderr
    assert other().returncode == 0  # it ended with the lock in its hands
    with locked(tmp_path / "b"):
        with pytest.raises(UserError, match="in use"), locked(tmp_path / "c", tmp_path / "b"):
            pass
        with locked(tmp_path / "c"):  # was given back
            assert list(tmp_path.iterdir()) == []


def test_two_runs_differ_by_what_their_results_depend_on(tmp_path):
    def made(settings=None, image=None, **more):
        inputs = {"image": torch.zeros(3) if image is None else image, "mask": None}
        return provenance.provenance("main_lena", {"seed": 1, "results_dir": "here"} | (settings or {}), inputs, **more)

    run = made()
    assert name_of(made({"results_dir": "there"})) == name_of(run)
    assert run["inputs"] == {"image": hashlib.sha256(torch.zeros(3).numpy().tobytes()).hexdigest()[:8]}
    others = made({"seed": 2}), made(device="meta"), made(compiled=True), made(image=torch.ones(3))
    assert len({name_of(each) for each in (run, *others)}) == 5
    (tmp_path / "a.json").write_text(as_json(run))
    (tmp_path / "b.json").write_text(json.dumps({"a": 1}))
    assert [read_provenance(tmp_path / f"{name}.json") for name in "abc"] == [run, None, None]


def test_the_code_is_its_commit_and_what_was_changed_since(tmp_path, monkeypatch):
    def git(*words):
        done = subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert {path.parent.name for path in provenance.ROOT.glob("[!t]*/__init__.py")} <= set(provenance.CODE)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.py").write_text("A = 1\n")
    assert code() == {"commit": "", "changes": ""}
    git("init")
    git("add", ".")
    git("-c", "user.name=n", "-c", "user.email=e", "commit", "-m", "one")
    found = []
    for content in ("A = 1\n", "A = 2\n", "A = 3\n"):
        (tmp_path / "models" / "a.py").write_text(content)
        found.append(code())
    assert {each["commit"] for each in found} == {git("rev-parse", "HEAD")}
    assert found[0]["changes"] == "" and len({each["changes"] for each in found}) == 3
