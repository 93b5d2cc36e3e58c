"""Claims about what a run is: its settings and inputs, its code, and where and how it computes."""

import hashlib
import json
import re

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
    clone = digest_of_code("main_lena")
    for path in copied.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert digest_of_code("main_lena") == clone
    monkeypatch.undo()
    assert digest_of_code("main_lena") == clone


COMMANDS = "main_lena", "utils.one", "utils.studies.two", "utils.studies.rivals.three", "tests.benchmarks.four"
SHARED = "main_lena.py", "models/losses.py", "data/patches.py", "utils/sources/base.py", "utils/__init__.py"


@pytest.mark.parametrize(
    ("edited", "changed"),
    [
        *((name, set(COMMANDS)) for name in SHARED),
        ("utils/studies/another.py", {"utils.studies.two"}),
        ("utils/studies/rivals/another.py", {"utils.studies.two", "utils.studies.rivals.three"}),
        ("utils/restore/another.py", set()),
        ("tests/benchmarks/another.py", {"tests.benchmarks.four"}),
        ("another.py", set()),
    ],
)
def test_an_edit_changes_the_digest_of_all_commands_and_in_a_study_of_those_beside_and_above_it_alone(
    edited, changed, copied
):
    before = {command: digest_of_code(command) for command in COMMANDS}
    path = copied / edited
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("\nEDITED = 1\n")
    assert {command for command in COMMANDS if digest_of_code(command) != before[command]} == changed


def test_a_module_of_another_name_is_another_code(copied):
    before = digest_of_code("main_lena")
    (copied / "models" / "losses.py").rename(copied / "models" / "another.py")
    assert digest_of_code("main_lena") != before


def test_comments_docstrings_and_layout_leave_the_digest_and_other_texts_change_it(copied):
    before, path = digest_of_code("main_lena"), copied / "data" / "masks.py"
    text = path.read_text()
    path.write_text(text.replace('"""', '"""In short: ', 1).replace("\n\n\n", "\n\n\n\n# why\n"))
    assert path.read_text() != text and digest_of_code("main_lena") == before
    documented = (copied / "data" / "errors.py").read_text()
    without = re.sub(r'    """.*?"""', "    pass", documented)
    assert without != documented
    (copied / "data" / "errors.py").write_text(without)
    assert digest_of_code("main_lena") == before
    path.write_text(f"{text}\nMESSAGE = 'one'\n")
    one = digest_of_code("main_lena")
    path.write_text(f"{text}\nMESSAGE = 'two'\n")
    assert len({before, one, digest_of_code("main_lena")}) == 3


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
    assert json.loads(run.as_json())["code"] == {"command": "main_lena", "digest": digest_of_code("main_lena")}
