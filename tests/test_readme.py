"""Claims about the README: what it says to run can be run, what it names is there, its tables are those of results/."""

import re
import shlex
from dataclasses import fields
from importlib import import_module
from itertools import islice

import pytest
import torch

import main_lena
from models import DLADMM, ladmm
from tests.helpers import ROOT
from utils.evaluation.records import Result
from utils.reporting.markdown import depths_table
from utils.reporting.readme import MARKED, update, with_tables
from utils.reporting.tables import read_csv
from utils.restore import __main__ as restore
from utils.restore.damage import DAMAGE
from utils.running.settings import parse_settings
from utils.studies import comparison_tables, convergent_tables, seeds
from utils.studies.comparison_tables import BY_NOISE, LOST, PLAIN, ComparisonRecord, difference, is_rival

README = (ROOT / "README.md").read_text(encoding="utf-8")
(SNIPPET,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = re.findall(r"python (main_lena\.py|-m (?!venv|pytest)[\w.]+)([^#&\n]*)", README)
(OTHER_STUDIES,) = re.findall(r"utils\.studies\.\w+ +# or ([\w, ]+)", README)
POSITIONS = "D-LADMM, positions, trained at 1 to 50 %, stride 8"
SETTINGS = {"main_lena": main_lena.Settings, "utils.restore": restore.Settings}


def results(name, cls):
    """The rows of a file in results/, as the command wrote it that this working tree has."""
    return read_csv(ROOT / "results" / f"{name}.csv", cls)


@pytest.fixture(scope="module")
def tables():
    """The tables of README.md, made again from results/."""
    return (
        {"depths": depths_table(results("results", Result))}
        | seeds.readme_tables(results("seeds", seeds.SeedRecord))
        | comparison_tables.readme_tables(results("comparison", ComparisonRecord))
        | convergent_tables.readme_tables(results("convergent", convergent_tables.ConvergenceRecord))
    )


def test_it_is_short():
    assert len(README) <= 9000


def test_the_python_snippet_runs_and_learns_and_its_untrained_network_is_ladmm():
    names = {}
    exec(SNIPPET, names)
    network, A, X, states = (names[name] for name in ("network", "A", "X", "states"))
    *_, iterated = islice(ladmm(network.problem, X, beta=1.0), 15)
    torch.testing.assert_close(DLADMM(A, depth=15, alpha=0.7)(X)[-1].AZ, iterated.AZ)
    assert len(states) == 15 and names["restored"].shape == X.shape
    learned, before = (network.problem.objective(state, X).mean() for state in (states[-1], iterated))
    assert learned < before


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_is_there_and_takes_these_options(command, monkeypatch, capsys):
    module, options = command[0].removeprefix("-m ").removesuffix(".py"), shlex.split(command[1])
    if module in SETTINGS:
        parse_settings(SETTINGS[module], "", options)
        return
    with pytest.raises(SystemExit):
        import_module(module).main(["--help"])
    shown = capsys.readouterr().out
    assert all(option in shown for option in options if option.startswith("--"))


@pytest.mark.parametrize("name", OTHER_STUDIES.split(", "))
def test_a_study_is_there(name):
    assert callable(import_module(f"utils.studies.{name}").main)


def test_options_in_sentences_are_those_of_the_two_commands():
    known = {"--help"} | {f"--{f.name.replace('_', '-')}" for of in SETTINGS.values() for f in fields(of)}
    sentences = re.sub(r"(?m)^    .*\n", "", README).replace("--nproc-per-node", "")
    assert set(re.findall(r"(?<![\w!-])--[a-z][\w-]*", sentences)) <= known


def test_files_and_rooms_are_there():
    named = set(re.findall(r"\b(?:models|data|utils|results|tests|checkpoints)/[\w./]*|\bmain_lena\.py", README))
    assert len(named) > 20 and not [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
    kinds = {name for row in re.findall(r"(?m)^\| (`\w+`.*?) \|", README) for name in re.findall(r"`(\w+)`", row)}
    assert kinds == set(DAMAGE)


def test_the_tables_are_those_of_the_results(tables):
    assert {name for _, name, _ in MARKED.findall(README)} == set(tables)
    assert with_tables(README, tables) == README


def test_a_changed_figure_is_noticed_and_the_rest_is_left_alone(tables):
    for mark in MARKED.finditer(README):
        figure = mark.end(1) + re.search(r"\d\.\d| \d \|", README[mark.end(1) :]).start() + 1
        changed = f"{README[:figure]}x{README[figure + 1 :]}and more"
        assert with_tables(changed, {}) == changed
        assert with_tables(changed, tables) == f"{README}and more"


def test_a_run_updates_the_tables_if_its_results_are_those_of_the_readme(tables, tmp_path):
    readme, changed = tmp_path / "README.md", README.replace("| LADMM, published | 31.30", "| LADMM, published | 99.99")
    readme.write_text(changed, encoding="utf-8")
    for folder, expected in (("elsewhere", changed), ("results", README)):
        (tmp_path / folder).mkdir()
        update(tables, tmp_path / folder, readme)
        assert readme.read_text(encoding="utf-8") == expected


def test_every_rival_that_wins_on_an_image_has_a_row():
    records = results("comparison", ComparisonRecord)
    by_rate = {"salt_and_pepper": 0, "noise_rates": 0, "random_valued": 1}  # place in a row of the table by noise
    assert {record.experiment for record in records} == {*by_rate, *(damage.experiment for damage in LOST)}
    shown = [{methods[place] for methods in BY_NOISE.values()} for place in (0, 1)]
    for name, rate in dict.fromkeys((r.experiment, r.noise_rate) for r in records if r.experiment in by_rate):
        rows, place = [r for r in records if (r.experiment, r.noise_rate) == (name, rate)], by_rate[name]
        blind, detected = (
            BY_NOISE[f"**{ours}**"][place] for ours in ("D-LADMM, stride 4", "the same, detected positions")
        )
        for rival in {row.method for row in rows if is_rival(row.method)}:
            if "stride 16" not in rival and difference(rows, blind, rival, rate)[1]:  # LADMM's other stride is better
                assert rival in shown[place]
            assert not detected or difference(rows, detected, rival, rate)[1] == 0  # README has no brackets there


def test_the_plain_command_and_known_positions_lose_on_as_many_images_as_it_says_and_nowhere_else():
    (said,) = re.findall(
        r"on (\d) with 30 % black or white, on (\d) with Gaussian noise; "
        r"known positions on (\d), (\d), (\d) with 5, 15, 30 %",
        README,
    )
    share, mixed, *positions = map(int, said)
    lost = {PLAIN: {}, POSITIONS: {}}
    for experiment in {damage.experiment for damage in LOST}:
        rows = [record for record in results("comparison", ComparisonRecord) if record.experiment == experiment]
        rivals = {row.method for row in rows if is_rival(row.method)}
        for method in lost.keys() & {row.method for row in rows}:
            count = max(difference(rows, method, rival, rows[0].noise_rate)[1] for rival in rivals)
            lost[method] |= {experiment: count} if count else {}
    assert lost[PLAIN] == {"clipped_30": share, "mixed": mixed}
    assert lost[POSITIONS] == dict(zip(("clipped_5", "clipped_15", "clipped_30"), positions, strict=True))
