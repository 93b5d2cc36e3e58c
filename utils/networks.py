"""Trains every network in the checkpoint folder, apart from those that `python main_lena.py` trains itself.

`python -m utils.networks` runs one command after the other, those of `NETWORKS`, and writes results/networks.csv and
.md, which say how long each took. A network that this code has trained with these settings already is left alone, and a
training that was stopped goes on after its last finished epoch.
"""

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from utils.evaluation.metrics import Stopwatch
from utils.evaluation.records import NetworkRecord
from utils.reporting.networks import networks_markdown
from utils.reporting.tables import write_csv
from utils.running.checkpoints import SUFFIX, load_description
from utils.running.errors import script
from utils.running.files import all_or_nothing, check_folder
from utils.running.provenance import Run, digest_of_code
from utils.running.settings import one_of, parse_settings, setting
from utils.training.progress import PREFIX

CHECKPOINTS, RESULTS = Path("checkpoints"), Path("results")
SUPERVISED = {
    "training": ["supervised"],
    "depths": [15],
    "patches_per_epoch": 40_000,
    "safeguard_layers": 1,
    "ladmm_max_iterations": 20,
}
ALL_RATES, SOME_RATES = {"training_rates": [0.01, 0.5]}, {"training_rates": [0.02, 0.3]}
RANDOM_VALUED = {"corruption": "random_valued", "noise_rate": 0.2}


class Training(NamedTuple):
    """What a network is for, the module that trains it, the name of its file, and the settings."""

    purpose: str
    module: str
    file: str
    settings: dict[str, Any]


def dladmm(purpose: str, epochs: int, **settings: Any) -> Training:
    """A D-LADMM network of 15 layers."""
    return Training(purpose, "main_lena", f"dladmm_d15{SUFFIX}", SUPERVISED | {"epochs": epochs} | settings)


def cnn(purpose: str, epochs: int, **settings: Any) -> Training:
    """A plain residual network to compare with."""
    return Training(purpose, "utils.rivals.cnn", f"cnn{SUFFIX}", {"epochs": epochs} | settings)


NETWORKS = {
    "supervised": dladmm("10 % salt and pepper", 90),
    "noise_rates": dladmm("1 to 50 % salt and pepper", 45, **ALL_RATES),
    "positions": dladmm("the same at known positions", 45, **ALL_RATES, positions="extremes", loss="central_error"),
    "random_valued": dladmm(
        "20 % random-valued impulses", 60, **RANDOM_VALUED, loss="central_error", activation="adaptive"
    ),
    "missing_blocks": dladmm(
        "2 to 30 % missing blocks",
        20,
        **SOME_RATES,
        corruption="missing_blocks",
        positions="black",
        loss="central_error",
    ),
    "gaussian_and_impulses": dladmm(
        "2 to 30 % salt and pepper, Gaussian noise",
        20,
        **SOME_RATES,
        corruption="gaussian_and_impulses",
        loss="central_error",
    ),
    "cnn": cnn("1 to 50 % salt and pepper", 70, **ALL_RATES),
    "cnn_four_times": cnn("the same, four times as long", 280, **ALL_RATES),
    "cnn_random_valued": cnn("20 % random-valued impulses", 145, **RANDOM_VALUED),
    "cnn_random_valued_four_times": cnn("the same, four times as long", 580, **RANDOM_VALUED),
}


@dataclass(frozen=True)
class Settings:
    """Which networks to train."""

    names: tuple[str, ...] = setting(tuple(NETWORKS), "networks to train", one_of(NETWORKS))


def command(name: str) -> list[str]:
    """The words after `python` that train the network."""
    training = NETWORKS[name]
    words = ["-m", training.module]
    for option, value in training.settings.items():
        words += [f"--{option.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return [*words, "--checkpoint-dir", str(CHECKPOINTS / name)]


def made_by(name: str) -> dict[str, Any]:
    """The description of the run that trained the network; empty if it is not there."""
    path = CHECKPOINTS / name / NETWORKS[name].file
    return json.loads(load_description(path).get("made_by") or "{}") if path.exists() else {}


def is_trained(name: str) -> bool:
    """Whether the network is there, trained by this code with the settings of its command, and no others."""
    run, module = made_by(name), NETWORKS[name].module
    if not run or run["code"]["digest"] != digest_of_code(module):
        return False
    wanted = parse_settings(import_module(module).Settings, "", command(name)[2:])
    return run["settings"] == json.loads(Run(asdict(wanted), command=module).as_json())["settings"]


def train(name: str) -> float | None:
    """Trains a network; the minutes that it took, None if an interrupted training went on."""
    words, watch = command(name), Stopwatch()
    goes_on = any((CHECKPOINTS / name).glob(f"{PREFIX}*"))
    with tempfile.TemporaryDirectory() as results:
        tables = ["--results-dir", results] if NETWORKS[name].module == "main_lena" else []
        code = subprocess.run([sys.executable, *words, *tables]).returncode
    if code:
        raise SystemExit(code)
    return None if goes_on else watch.seconds() / 60


def row(name: str, minutes: float | None) -> NetworkRecord:
    """The row of a network that is trained."""
    words = " ".join(["python", *command(name)])
    return NetworkRecord(name, NETWORKS[name].purpose, words, minutes, made_by(name)["code"]["digest"])


def known_minutes() -> dict[str, float | None]:
    """The minutes in the table in the results folder, by network; only those of its command now, and of this code."""
    path = RESULTS / "networks.csv"
    if not path.exists():
        return {}
    minutes = {}
    with path.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            name = line["name"]
            if name not in NETWORKS or not is_trained(name):
                continue
            now = row(name, None)
            if (line["command"], line["code"]) == (now.command, now.code):
                minutes[name] = float(line["minutes"]) if line["minutes"] else None
    return minutes


def write_table(minutes: dict[str, float | None]) -> None:
    """Writes the table of all networks that are trained."""
    records = [row(name, minutes.get(name)) for name in NETWORKS if is_trained(name)]
    run = Run({"networks": [record.name for record in records]}, command="utils.networks")
    with all_or_nothing(RESULTS) as (results,):
        write_csv(records, results / "networks.csv", run.name)
        text = f"{networks_markdown(records)}\n{run.as_markdown()}"
        (results / "networks.md").write_text(text, encoding="utf-8")


def retrain(names: Sequence[str]) -> None:
    """Trains the networks that are not trained yet, and writes the table of all after each, and at the end."""
    minutes = known_minutes()
    for name in names:
        if is_trained(name):
            print(f"{name} is trained by this code already")
        else:
            minutes[name] = train(name)
            write_table(minutes)
    write_table(minutes)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains the networks of the command line, by default all."""
    settings = parse_settings(Settings, __doc__, argv)
    with script():
        check_folder(str(RESULTS))
        retrain(settings.names)


if __name__ == "__main__":
    main()
