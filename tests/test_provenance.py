"""Claims about what a run is: its settings and inputs, its code, and where and how it computes."""

import hashlib
import json

import pytest
import torch

from tests.helpers import copy_code
from utils.running.provenance import Run, digest_of_code


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the code, which is taken for the code that runs."""
    folder = tmp_path / "clone"
    copy_code(folder)
    monkeypatch.setattr("utils.running.provenance.ROOT", folder)
    return folder


def test_a_clone_has_the_digest_of_the_code_and_so_has_one_with_other_ends_of_lines(copied, monkeypatch):
    clone = digest_of_code()
    for path in copied.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert digest_of_code() == clone
    monkeypatch.undo()
    assert digest_of_code() == clone


def test_tests_and_installed_packages_are_not_the_code_of_a_run(copied):
    before = digest_of_code()
    for name in ("tests/test_all.py", ".venv/lib/package.py", "results/note.py"):
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_text("")
    assert digest_of_code() == before


@pytest.mark.parametrize("name", ["main_lena.py", "models/losses.py", "data/patches.py", "utils/training/sources.py"])
def test_every_edit_changes_the_digest_of_the_code(name, copied):
    before, path = digest_of_code(), copied / name
    text = path.read_text()
    path.write_text(text.replace("0", "1", 1))
    edited = digest_of_code()
    path.write_text(text)
    assert digest_of_code() == before
    path.rename(path.with_name("renamed.py"))
    renamed = digest_of_code()
    assert len({before, edited, renamed}) == 3


def test_two_runs_differ_by_what_their_results_depend_on():
    run = Run({"seed": 1, "results_dir": "here"}, {"image": torch.zeros(3), "mask": None})
    assert Run({"seed": 1, "results_dir": "there"}, {"image": torch.zeros(3)}).name == run.name
    others = {
        "seed (1, now 2)": Run({"seed": 2}, {"image": torch.zeros(3)}),
        "device of the machine (cpu, now meta)": Run({"seed": 1}, {"image": torch.zeros(3)}, torch.device("meta")),
        "compiled of the machine (False, now True)": Run({"seed": 1}, {"image": torch.zeros(3)}, compiled=True),
    }
    for difference, other in others.items():
        assert other.differences(run.as_json()) == [difference] and other.name != run.name
    ones = Run({"seed": 1}, {"image": torch.ones(3)})
    zeros, now = (hashlib.sha256(x.numpy().tobytes()).hexdigest()[:8] for x in (torch.zeros(3), torch.ones(3)))
    assert ones.differences(run.as_json()) == [f"image of the inputs ({zeros}, now {now})"]
    assert json.loads(run.as_json())["code"] == {"digest": digest_of_code()}
