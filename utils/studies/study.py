"""What all studies share: a study is a command without options, its settings are the constants of its module."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure

from data.dictionary import load_dictionary
from utils.reporting.progress import PREFIX
from utils.reporting.readme import RESULTS, update
from utils.reporting.tables import write_csv
from utils.running.devices import PAYS_FROM, pick_compiled, pick_precision
from utils.running.errors import script
from utils.running.files import all_or_nothing, check_folder
from utils.running.provenance import Run
from utils.running.settings import NoSettings, parse_settings
from utils.studies.kept import Keep, keeping


class Report(NamedTuple):
    """What a study found: a text in Markdown, tables, figures by the names of their files, and tables for README.md."""

    text: str
    tables: Mapping[str, Sequence[Any]]  # rows, see write_csv
    figures: Mapping[str, Figure] = {}
    readme: Mapping[str, str] = {}  # see utils.reporting.readme


def run_study(
    command: str,
    module: ModuleType,
    work: Callable[[Keep], Report],
    argv: Sequence[str] | None = None,
    more: Mapping[str, Any] | None = None,
    precision: str = "float32",
) -> None:
    """Does the work and writes its files, all of them or none; every file names its run. README.md's tables come last.

    Args:
        command: the module that is run, such as utils.studies.synthetic; the text is written to synthetic.md.
        module: the same: its docstring is for --help, and its constants are what the results depend on, besides the
            code and the shipped dictionary.
        work: the study; what it gives to its argument is kept, so that the same command goes on after an interruption.
        argv: the command line; None stands for that of the process.
        more: what else the results depend on.
        precision: of the products in its trainings, see utils.running.devices.pick_precision.
    """
    parse_settings(NoSettings, module.__doc__, argv)
    with script("the tables are as before"):
        check_folder(str(RESULTS))
        device, inputs = torch.device("cpu"), {"dictionary": load_dictionary()}
        compiled, precision = pick_compiled("auto", PAYS_FROM, device), pick_precision(precision, device)
        run = Run(constants(module) | dict(more or {}), inputs, device, compiled, precision, command)
        with keeping(RESULTS / f"{PREFIX}{_name(command)}", run) as keep:
            report = work(keep)
            write(report, RESULTS, run)
            update(report.readme, RESULTS)


def write(report: Report, results: Path, run: Run) -> None:
    """Writes the files of a report to a folder, all of them or none; the text has the name of the run's module."""
    text, tables, figures, _ = report
    with all_or_nothing(results) as (folder,):
        for name, rows in tables.items():
            write_csv(rows, folder / f"{name}.csv", run.name)
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", metadata={"Description": run.as_json()})
        file = folder / f"{_name(run.code['command'])}.md"
        file.write_text(f"{text}\n{run.as_markdown()}", encoding="utf-8")


def _name(command: str) -> str:
    """The last part of the name of a module."""
    return command.split(".")[-1]


def constants(module: ModuleType) -> dict[str, Any]:
    """The constants of a module that JSON knows, by their names in lower case; texts are no settings."""
    settings = {}
    for name, value in vars(module).items():
        try:
            if name.isupper() and not isinstance(value, str):
                settings[name.lower()] = json.loads(json.dumps(value))
        except TypeError:
            continue
    return settings
