"""Pages: what is shown of results, in Markdown and figures, and the tables of README.md. Made from tables in seconds.

The file results/NAME.json names the module that measured NAME.csv and more tables, if there are any. A function `show`
of that module, (tables, provenance) -> Page, makes the page from them.
"""

import io
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from utils.reporting.tables import read_table
from utils.running.errors import UserError
from utils.running.files import all_or_nothing, is_same_file, replace_file
from utils.running.provenance import ROOT, Provenance, as_json, read_provenance

README, RESULTS = ROOT / "README.md", Path("results")
SHOWN_BY = {"main_lena": "utils.reporting.results"}  # other modules show themselves what they have measured


class Page(NamedTuple):
    """What is shown of a result: Markdown, figures by the names of their files, and tables of README.md by name."""

    text: str
    figures: Mapping[str, Figure] = {}
    readme: Mapping[str, str] = {}


def show(name: str, folder: Path = RESULTS) -> Page:
    """Makes the page of a result again: NAME.md, its figures, and its tables in README.md if that shows the folder."""
    made_by = read_provenance(folder / f"{name}.json")
    if made_by is None:
        raise UserError(f"{str(folder / name)}.json is missing or describes no result; allowed: a measured result")
    module, commit = made_by["module"], made_by["commit"][:8] or "unknown"
    shown_by = import_module(SHOWN_BY.get(module, module))
    page = shown_by.show({table: read_table(folder / f"{table}.csv") for table in made_by["tables"]}, made_by)
    command = f"python -m {module}" if "." in module else f"python {module}.py"
    origin = f"`{command}` at commit {commit}{', with changes' if made_by['changes'] else ''}: see {name}.json.\n"
    with all_or_nothing(folder) as (scratch,):
        for figure_name, figure in page.figures.items():
            (scratch / f"{figure_name}.png").write_bytes(as_png(figure))
        (scratch / f"{name}.md").write_text(f"{page.text}\n{origin}", encoding="utf-8")
    if page.readme and is_same_file(folder, README.parent / RESULTS):
        text = README.read_text(encoding="utf-8")
        if (updated := with_tables(text, page.readme)) != text:
            replace_file(README, updated.encode("utf-8"))
    return page


def as_png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file, which names no version of a program."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def write_tables(name: str, tables: Mapping[str, pd.DataFrame], made_by: Provenance, seconds: float, to: Path) -> None:
    """Writes the tables of a result to a folder as CSV, and what made them: NAME.json. Figures have six digits; what is
    missing, or is not a number, is empty."""
    for table, frame in tables.items():
        frame.to_csv(to / f"{table}.csv", index=False, float_format="%.6g", lineterminator="\n")
    about = made_by | {"tables": list(tables), "minutes": round(seconds / 60, 2)}
    (to / f"{name}.json").write_text(as_json(about), encoding="utf-8")


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """The text with these tables between their marks, without the padding of their cells."""
    for name, table in tables.items():
        narrow = re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", table))
        begin, end = f"<!-- {name}: from results/ -->\n", "<!-- end -->"
        text = re.sub(f"{begin}.*?{end}", lambda _, new=begin + narrow + end: new, text, flags=re.DOTALL)
    return text
