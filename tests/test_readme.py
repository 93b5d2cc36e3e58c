"""Claims about the README: what it says to run can be run, what it names is there, and its sentences fit the tables."""

import re
import shlex
from dataclasses import fields
from importlib import import_module
from itertools import islice

import pytest
import torch

import main_lena
from data.images import load_image
from models import DLADMM, ladmm
from tests.helpers import ROOT, salt_and_pepper
from utils.evaluation.metrics import psnr
from utils.reporting import __main__ as reporting
from utils.reporting.tables import read_table
from utils.restore import __main__ as restore
from utils.restore.remedies import REMEDIES
from utils.running.settings import parse_settings
from utils.studies import rivals
from utils.studies.comparison_page import BESIDE, DETECTED, LOST, PLAIN, TRAINED, duels

README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPET, COMMITTED = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = re.findall(r"python (main_lena\.py|-m (?!venv|pytest)[\w.]+)([^#&`\n]*)", README)
(OTHER_STUDIES,) = re.findall(r"utils\.studies\.\w+ +# or ([\w, ]+)", README)
COMMANDS += [(f"-m utils.studies.{name}", "") for name in OTHER_STUDIES.split(", ")]
SETTINGS = {
    "main_lena": main_lena.Settings, "utils.restore": restore.Settings, "utils.reporting": reporting.Settings,
}  # fmt: skip


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


def test_a_committed_network_restores_an_array_in_four_lines():
    clean = torch.from_numpy(load_image("camera")[:64, 96:160])
    names = {"image": torch.from_numpy(salt_and_pepper(clean.numpy(), 0.1, 1))}
    exec(COMMITTED, names)
    noisy, restored = (psnr(names[name], clean) for name in ("image", "restored"))
    assert restored > noisy + 10


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


def test_options_in_sentences_are_those_of_the_two_commands():
    known = {"--help"} | {f"--{f.name.replace('_', '-')}" for of in SETTINGS.values() for f in fields(of)}
    sentences = re.sub(r"(?m)^    .*\n", "", README).replace("--nproc-per-node", "")
    assert set(re.findall(r"(?<![\w!-])--[a-z][\w-]*", sentences)) <= known


def test_files_and_rooms_are_there():
    named = set(re.findall(r"\b(?:models|data|utils|results|tests|checkpoints)/[\w./]*|\bmain_lena\.py", README))
    assert len(named) > 20 and not [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
    kinds = {name for row in re.findall(r"(?m)^\| (`\w+`.*?) \|", README) for name in re.findall(r"`(\w+)`", row)}
    assert kinds == set(REMEDIES)


@pytest.fixture(scope="module")
def lost():
    """On how many images each of our methods loses to each rival, by experiment and noise rate."""
    return duels(read_table(ROOT / "results" / "comparison.csv"))


def test_every_rival_that_wins_on_an_image_has_a_row(lost):
    """In the table by noise; with detected positions none wins there, as README has no brackets in that row."""
    assert set(lost["experiment"]) == {"noise_rates", *BESIDE.values(), *LOST["experiment"]}
    by_noise = lost[lost["experiment"].isin(["noise_rates", *BESIDE.values()])]
    shown = {method.title for method in rivals.methods() if method.readme}
    blind = by_noise[by_noise["ours"].isin([f"{TRAINED}, stride 4", "D-LADMM, trained at 20 %, stride 4"])]
    winners = set(blind[blind["lost"] > 0]["rival"])
    assert {rival for rival in winners if "stride 16" not in rival} <= shown  # LADMM's other stride is better
    assert (by_noise[by_noise["ours"] == f"{DETECTED}, stride 4"]["lost"] == 0).all()


def test_the_plain_command_and_known_positions_lose_on_as_many_images_as_it_says_and_nowhere_else(lost):
    (said,) = re.findall(
        r"on (\d) with 30 % black or white, on (\d) with Gaussian noise; "
        r"known positions on (\d), (\d), (\d) with 5, 15, 30 %",
        README,
    )
    share, mixed, *positions = map(int, said)
    most = lost[lost["experiment"].isin(LOST["experiment"])].groupby(["ours", "experiment"])["lost"].max()
    plain, known = most[PLAIN], most["D-LADMM, positions, trained at 1 to 50 %, stride 8"]
    assert plain[plain > 0].to_dict() == {"clipped_30": share, "mixed": mixed}
    assert known[known > 0].to_dict() == dict(zip(("clipped_5", "clipped_15", "clipped_30"), positions, strict=True))
