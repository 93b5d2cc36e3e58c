"""What all studies share. A study is a module that measures tables, and shows them; its settings are its constants.

    def measure(keep: Keep) -> Measured             what takes long is a function of plain values, called by keep
    def show(tables, made_by) -> Page               see utils.reporting.pages
    main = command("utils.studies.NAME")

A new study is such a module in this folder. It writes results/NAME.csv, NAME.json, and more tables if it measures more.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pandas as pd
import torch
from matplotlib.figure import Figure

from data.dictionary import load_dictionary
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import Row as Row
from utils.reporting import pages
from utils.reporting.pages import Page as Page
from utils.running.devices import PAYS_FROM, pick_compiled, pick_precision
from utils.running.errors import script
from utils.running.files import all_or_nothing, check_folder
from utils.running.provenance import Provenance, provenance
from utils.running.resume import memory_of
from utils.running.settings import Checked, parse_settings

Keep = Callable[[Callable], Callable]  # a function -> the same, whose values are kept until the study has ended
Tables = Mapping[str, pd.DataFrame]  # by the names of their files
GOES_ON = "the tables are as before; the same command goes on from there"


class Measured(NamedTuple):
    """What a study has measured: tables, and pictures of images, by the names of their files."""

    tables: Tables
    pictures: Mapping[str, Figure] = {}


def command(name: str, **how: Any) -> Callable[..., None]:
    """The `main` of a study without options; how: see `run_study`."""

    def main(argv: Sequence[str] | None = None) -> None:
        parse_settings(Checked, import_module(name).__doc__, argv)
        with script(GOES_ON):
            run_study(name, **how)

    return main


def run_study(
    name: str,
    folder: Path | None = None,  # of the results; None stands for the default one
    settings: Mapping[str, Any] | None = None,  # that results depend on besides the constants of the module
    inputs: Mapping[str, bytes | torch.Tensor] | None = None,  # likewise, besides the shipped dictionary
    precision: str = "float32",  # of its trainings, see utils.running.devices.pick_precision
    **options: Any,
) -> None:
    """Measures, writes all files of the study or none, and makes their page."""
    module, watch = import_module(name), Stopwatch()
    folder = check_folder(pages.RESULTS if folder is None else folder)
    read = {"dictionary": load_dictionary()} | dict(inputs or {})
    compiled, precision = pick_compiled("auto", PAYS_FROM, torch.device("cpu")), pick_precision(precision, "cpu")
    made_by = provenance(name, constants(module) | dict(settings or {}), read, "cpu", compiled, precision)
    with memory_of(folder, made_by) as memory:
        measured = module.measure(memory.cache, **options)
        write(name.split(".")[-1], measured, folder, made_by, watch.seconds())
    pages.show(name.split(".")[-1], folder)


def write(name: str, measured: Measured, folder: Path, made_by: Provenance, seconds: float) -> None:
    """Writes the tables and pictures of a study, and last what made them."""
    with all_or_nothing(folder) as (scratch,):
        pages.write_tables(name, measured.tables, made_by, seconds, scratch)
        for picture, figure in measured.pictures.items():
            (scratch / f"{picture}.png").write_bytes(pages.as_png(figure))


def constants(module: ModuleType) -> dict[str, Any]:
    """The constants of a module that JSON knows, by their names in lower case; texts are no settings."""
    settings = {}
    for name, value in vars(module).items():
        with suppress(TypeError):
            if name.isupper() and not isinstance(value, str):
                settings[name.lower()] = json.loads(json.dumps(value))
    return settings
