"""Claims about what all studies share: an interrupted one goes on with what it has, to the same tables."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.helpers import refusal, rows
from utils.studies import comparison
from utils.studies.comparison import MEDIANS, Experiment
from utils.studies.kept import kept_rows
from utils.studies.methods import Baseline, Case
from utils.studies.study import Report, run_study


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str
    value: float
    last: int | None


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """The folder of results."""
    monkeypatch.setattr("utils.studies.study.RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_an_interrupted_study_goes_on_with_the_rows_it_has_and_leaves_only_its_files(results, capsys):
    computed = []

    def study(fails):
        def row(number):
            if number == fails:
                raise KeyboardInterrupt
            computed.append(number)
            return [Row("é", 0.1 * number, None), Row("b", 1 / 3, 2)]

        def work(keep):
            found = [r for n in range(4) for r in kept_rows(keep, ("row", n), Row, partial(row, n))]
            return Report("# Study", {"rows": found})

        run_study("utils.studies.one", sys.modules[__name__], work, ())
        return [tuple(line.values())[:-1] for line in rows(results / "rows.csv")]

    undisturbed = study(None)
    assert computed == [0, 1, 2, 3] and undisturbed[2] == ("é", "0.1", "") and len(undisturbed) == 8
    with pytest.raises(SystemExit):
        study(2)
    run_study("utils.studies.another", sys.modules[__name__], lambda keep: Report(keep(("text",), str), {}), ())
    (results / "another.md").unlink()
    assert "starting afresh" not in capsys.readouterr().err
    with pytest.raises(SystemExit):
        study(2)
    assert "tables are as before" in capsys.readouterr().err and len(rows(results / "rows.csv")) == 8
    assert study(None) == undisturbed
    assert computed == [0, 1, 2, 3, 0, 1, 2, 3] and "2 values" in capsys.readouterr().err
    assert sorted(path.name for path in results.iterdir()) == ["one.md", "rows.csv"]


def test_a_study_that_is_refused_or_keeps_nothing_leaves_nothing(results, monkeypatch, capsys):
    monkeypatch.setattr("utils.studies.methods.CHECKPOINTS", results / "none")
    assert "is not there; `python -m utils.studies.networks` trains it" in refusal(capsys, comparison.main, [])
    with pytest.raises(ZeroDivisionError):
        run_study("utils.studies.one", sys.modules[__name__], lambda keep: 1 / 0, ())
    assert not results.exists()


def test_what_a_study_keeps_is_for_one_process_at_a_time(results, capsys):
    """Two would compute the same and write to one file."""

    def second(keep):
        return Report("# Second", {})

    def first(keep):
        keep(("value",), lambda: 1)
        said.append(refusal(capsys, run_study, "utils.studies.one", sys.modules[__name__], second, ()))
        return Report("# First", {})

    said = []
    run_study("utils.studies.one", sys.modules[__name__], first, ())
    assert len(said) == 1 and "is in use by another run" in said[0]
    assert [path.name for path in results.iterdir()] == ["one.md"]


def test_a_run_that_goes_on_says_so_and_one_of_other_code_says_what_differs(results, capsys):
    def interrupted(settings):
        def work(keep):
            keep(("value",), lambda: 1)
            raise KeyboardInterrupt

        with pytest.raises(SystemExit):
            run_study("utils.studies.one", sys.modules[__name__], work, (), settings)
        return capsys.readouterr().err

    assert "interrupted run" not in interrupted({"size": 1})
    assert "size (1, now 2)" in interrupted({"size": 2})
    said = interrupted({"size": 2})
    assert "1 values" in said and "starting afresh" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")
def test_a_full_disk_is_one_line_and_not_a_traceback(results, capsys):
    def work(keep):
        keep(("first",), lambda: 1)
        keep.file.unlink()
        keep.file.symlink_to("/dev/full")
        keep(("second",), lambda: 2)

    said = refusal(capsys, run_study, "utils.studies.one", sys.modules[__name__], work, ())
    assert "values.jsonl cannot be written (No space left on device)" in said and "tables are as before" in said


def test_the_comparison_of_the_shipped_images_goes_on_and_draws_lena_by_every_method(results, monkeypatch):
    """The pictures are not kept, so that those of Lena are restored again."""
    restored = []

    def fade(noisy):
        restored.append(noisy.shape)
        if len(restored) == 20:
            raise KeyboardInterrupt
        return 0.5 * noisy

    small = {"one": Experiment("One", (MEDIANS[0], Baseline("fade", fade)), [Case("salt_and_pepper", 0.1)])}
    monkeypatch.setattr(comparison, "EXPERIMENTS", small)
    monkeypatch.setattr(comparison, "check_networks", lambda: None)
    drawn = []
    monkeypatch.setattr(comparison, "errors", lambda clean, images: drawn.extend(images))
    monkeypatch.setattr(comparison, "readme_tables", lambda records: {})
    whole = 18
    restored.extend([()] * 10)  # it is interrupted in the middle
    with pytest.raises(SystemExit):
        comparison.main([])
    comparison.main([])
    assert len(restored) == 10 + whole + 1 + 1  # the one that was interrupted, and Lena's
    assert [name.split("\n")[0] for name in drawn] == ["noisy", "fade"]
    found = rows(results / "comparison.csv")
    assert len(found) == 2 * whole and not list(results.glob("interrupted-*"))
