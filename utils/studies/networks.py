"""Trains every network in the checkpoint folder, apart from those that `python main_lena.py` trains itself.

`python -m utils.studies.networks` runs one command after the other, those of `NETWORKS`, and writes
results/networks.csv and .md, which say how long each took. A network that this code has trained with these settings
already is left alone, and a training that was stopped goes on after its last finished epoch.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import main_lena
from utils.evaluation.metrics import Stopwatch
from utils.reporting.progress import PREFIX
from utils.reporting.tables import Columns, markdown_table, number, read_csv, write_csv
from utils.running.checkpoints import SUFFIX, load_description
from utils.running.errors import script
from utils.running.files import all_or_nothing, check_folder
from utils.running.provenance import Run, digest_of_code
from utils.running.settings import one_of, parse_settings, setting
from utils.studies.rivals import cnn
from utils.studies.study import RESULTS

CHECKPOINTS = Path("checkpoints")
# By the first word of a command: the module that it runs, and the name of the file that it writes.
PROGRAMS = {"main_lena.py": (main_lena, "dladmm_d15"), "-m": (cnn, cnn.NAME)}
DLADMM = (
    "main_lena.py --training supervised --depths 15 --patches-per-epoch 40000 --safeguard-layers 1 "
    "--ladmm-max-iterations 20"
)
CNN = "-m utils.studies.rivals.cnn"
ALL_RATES, SOME_RATES = "--training-rates 0.01 0.5", "--training-rates 0.02 0.3 --corruption"
RANDOM_VALUED, CENTRAL = "--corruption random_valued --noise-rate 0.2", "--loss central_error"
NETWORKS = {  # what each is for, and the command that trains it
    "supervised": ("10 % salt and pepper", f"{DLADMM} --epochs 90"),
    "noise_rates": ("1 to 50 % salt and pepper", f"{DLADMM} --epochs 45 {ALL_RATES}"),
    "positions": (
        "the same at known positions", f"{DLADMM} --epochs 45 {ALL_RATES} --positions extremes {CENTRAL}",
    ),
    "random_valued": (
        "20 % random-valued impulses", f"{DLADMM} --epochs 60 {RANDOM_VALUED} {CENTRAL} --activation adaptive",
    ),
    "missing_blocks": (
        "2 to 30 % missing blocks", f"{DLADMM} --epochs 20 {SOME_RATES} missing_blocks --positions black {CENTRAL}",
    ),
    "gaussian_and_impulses": (
        "2 to 30 % salt and pepper, Gaussian noise",
        f"{DLADMM} --epochs 20 {SOME_RATES} gaussian_and_impulses {CENTRAL}",
    ),
    "specks": (
        "specks of any kind, also below JPEG",
        f"{DLADMM} --epochs 60 --training-rates 0.003 0.4 --corruption specks {CENTRAL} --activation adaptive "
        "--training-images shipped_and_drawn",
    ),
    "cnn": ("1 to 50 % salt and pepper", f"{CNN} --epochs 70 {ALL_RATES}"),
    "cnn_four_times": ("the same, four times as long", f"{CNN} --epochs 280 {ALL_RATES}"),
    "cnn_random_valued": ("20 % random-valued impulses", f"{CNN} --epochs 145 {RANDOM_VALUED}"),
    "cnn_random_valued_four_times": ("the same, four times as long", f"{CNN} --epochs 580 {RANDOM_VALUED}"),
}  # fmt: skip
ABOUT = """\
Networks in the checkpoint folder, each trained by its command, which `python -m utils.studies.networks` runs. `python
main_lena.py` trains the others, on the noisy Lena. Minutes are those of the whole command, start and end included, on
two cores; those that have none were trained side by side on a GPU, or by older code, as the digest says. The training
of a residual CNN depends on chance: where it was repeated, the one that is better on the validation images is kept.

All learn from pairs of a noisy and a clean patch of photographs that packages ship, in several sizes, symmetries and
contrasts, corrupted afresh in every epoch. `central_error` is the norm of a patch's error in which the middle of a
patch counts more, as it does where patches overlap. The last ones are plain residual convolutional networks to compare
with (utils/studies/rivals/cnn.py).
"""


@dataclass(frozen=True)
class Settings:
    """Which networks to train."""

    names: tuple[str, ...] = setting(tuple(NETWORKS), "networks to train", one_of(NETWORKS))


@dataclass(frozen=True)
class NetworkRecord:
    """A network in the checkpoint folder."""

    name: str
    purpose: str
    command: str
    minutes: float | None
    code: str  # digest of the code that trained it


def command(name: str) -> list[str]:
    """What stands behind `python` in the command that trains the network."""
    return [*NETWORKS[name][1].split(), "--checkpoint-dir", str(CHECKPOINTS / name)]


def options(name: str) -> list[str]:
    """The options of that command."""
    line = command(name)
    return line[2 if line[0] == "-m" else 1 :]


def trained(name: str) -> NetworkRecord | None:
    """The row of a network; None unless it is there, trained with the settings of its command, no others.

    Settings that were not there when it was trained do not count. The row names the code that trained it, which may be
    older. The minutes are those in the results folder, if its table has them for this command and that code.
    """
    line, table = command(name), RESULTS / "networks.csv"
    module, file = PROGRAMS[line[0]]
    path = CHECKPOINTS / name / f"{file}{SUFFIX}"
    made_by = json.loads(load_description(path).get("made_by") or "{}") if path.exists() else {}
    settings = parse_settings(module.Settings, "", options(name))
    wanted = json.loads(Run(asdict(settings), command=module.__name__).as_json())
    had = made_by.get("settings", {})
    if not had or any(had.get(name, value) != value for name, value in wanted["settings"].items()):
        return None
    rows = read_csv(table, NetworkRecord) if table.exists() else []
    minutes = {(row.command, row.code): row.minutes for row in rows}
    made = " ".join(["python", *line]), made_by["code"]["digest"]
    return NetworkRecord(name, NETWORKS[name][0], made[0], minutes.get(made), made[1])


def train(name: str) -> float | None:
    """Trains a network; the minutes that it took, None if an interrupted training went on."""
    watch, goes_on = Stopwatch(), any((CHECKPOINTS / name).glob(f"{PREFIX}*"))
    line = command(name)
    with tempfile.TemporaryDirectory() as results:
        tables = ["--results-dir", results] if line[0] == "main_lena.py" else []
        code = subprocess.run([sys.executable, *line, *tables]).returncode
    if code:
        raise SystemExit(code)
    return None if goes_on else watch.seconds() / 60


def write_table(**minutes: float | None) -> None:
    """Writes the table of all networks that are trained, and the command of every network below it.

    Args:
        minutes: of networks that have just been trained, by name.
    """
    rows = [row for row in map(trained, NETWORKS) if row is not None]
    records = [replace(row, minutes=minutes.get(row.name, row.minutes)) for row in rows]
    columns: Columns = {
        "network": lambda row: row.name,
        "for": lambda row: row.purpose,
        "minutes": lambda row: number(row.minutes, 1),
        "digest of the code": lambda row: row.code,
    }
    commands = "\n".join(f"    {row.command}" for row in records)
    run = Run({"networks": [row.name for row in records]}, command="utils.studies.networks")
    text = f"# Networks\n\n{markdown_table(records, columns)}\n{ABOUT}\n{commands}\n\n{run.as_markdown()}"
    with all_or_nothing(RESULTS) as (results,):
        write_csv(records, results / "networks.csv", run.name)
        (results / "networks.md").write_text(text, encoding="utf-8")


def retrain(names: Sequence[str]) -> None:
    """Trains the networks that are not trained yet, and writes the table of all after each, and at the end."""
    for name in names:
        row = trained(name)
        if row and row.code == digest_of_code(PROGRAMS[command(name)[0]][0].__name__):
            print(f"{name} is trained by this code already")
        else:
            write_table(**{name: train(name)})
    write_table()


def main(argv: Sequence[str] | None = None) -> None:
    """Trains the networks of the command line, by default all."""
    settings = parse_settings(Settings, __doc__, argv)
    with script():
        check_folder(str(RESULTS))
        retrain(settings.names)


if __name__ == "__main__":
    main()
