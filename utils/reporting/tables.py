"""Tables of any rows: CSV for programs, Markdown and aligned text for people."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

Columns = dict[str, Callable[[Any], str]]  # heading -> the cell of a row


def write_csv(rows: Sequence[Any], path: Path, run: str) -> None:
    """Writes rows, which are instances of one dataclass, whose fields are the columns.

    A field that is a dataclass itself has a column for each of its fields. Figures have six digits, None is empty. A
    last column has the name of the run, see utils.running.provenance.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(name for name, _ in _cells(rows[0])), "run"])
        for row in rows:
            values = (value for _, value in _cells(row))
            writer.writerow([*(f"{value:.6g}" if isinstance(value, float) else value for value in values), run])


def markdown_table(rows: Sequence[Any], columns: Columns) -> str:
    """The rows as a Markdown table."""
    cells = [[cell(row) for cell in columns.values()] for row in rows]
    return tabulate(cells, list(columns), tablefmt="github", disable_numparse=True) + "\n"


def text_table(rows: Sequence[Any], columns: Columns) -> str:
    """The rows as aligned text: the first two columns to the left, the others to the right."""
    cells = [[cell(row) for cell in columns.values()] for row in rows]
    align = ["left" if place < 2 else "right" for place in range(len(columns))]
    return tabulate(cells, list(columns), tablefmt="simple", disable_numparse=True, colalign=align)


def number(value: float | None, digits: int) -> str:
    """The value with so many digits after the point; empty for None."""
    return "" if value is None else f"{value:.{digits}f}"


def _cells(row: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(row):
        value = getattr(row, field.name)
        if is_dataclass(value):
            yield from _cells(value)
        else:
            yield field.name, value
