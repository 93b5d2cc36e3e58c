"""Experiments whose settings are constants of their module: each is a command that writes its files into results/."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure

from data.dictionary import load_dictionary
from utils.reporting.tables import write_csv
from utils.running.devices import PAYS_FROM, pick_compiled
from utils.running.errors import script
from utils.running.files import all_or_nothing, check_folder
from utils.running.provenance import Run
from utils.running.settings import NoSettings, parse_settings

RESULTS = Path("results")


class Report(NamedTuple):
    """What an experiment found: a text in Markdown, tables, and figures by the names of their files."""

    text: str
    tables: Mapping[str, Sequence[Any]]  # rows, see write_csv
    figures: Mapping[str, Figure]


def run_experiment(
    command: str,
    description: str,
    settings: dict[str, Any],
    work: Callable[[], Report],
    argv: Sequence[str] | None = None,
    compiled: bool = False,
) -> None:
    """Does the work and writes its files, all of them or none; every file names its run.

    Args:
        command: the module that is run, such as utils.synthetic; the text is written to synthetic.md.
        description: for --help, the only option.
        settings: what the results depend on, besides the code and the shipped dictionary.
        work: the experiment.
        argv: the command line; None stands for that of the process.
        compiled: whether networks are compiled where that works.
    """
    parse_settings(NoSettings, description, argv)
    with script("nothing was written"):
        check_folder(str(RESULTS))
        works = compiled and pick_compiled("auto", PAYS_FROM, torch.device("cpu"))
        run = Run(settings, {"dictionary": load_dictionary()}, compiled=works, command=command)
        text, tables, figures = work()
        with all_or_nothing(RESULTS) as (folder,):
            for name, rows in tables.items():
                write_csv(rows, folder / f"{name}.csv", run.name)
            for name, figure in figures.items():
                figure.savefig(folder / f"{name}.png", metadata={"Description": run.as_json()})
            (folder / f"{command.split('.')[-1]}.md").write_text(f"{text}\n{run.as_markdown()}", encoding="utf-8")
