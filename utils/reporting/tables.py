"""Tables of any rows: CSV for programs, Markdown and aligned text for people."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
from tabulate import tabulate

Row = TypeVar("Row")
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


def read_csv(path: Path, cls: type[Row]) -> list[Row]:
    """The rows of a file that `write_csv` wrote from instances of the dataclass `cls`, without the run's name."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(cells, cls) for cells in csv.DictReader(file)]


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


def grouped(rows: Iterable[Row], *names: str) -> dict[tuple, list[Row]]:
    """The rows by their values of these fields, in the order in which they first come."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    return groups


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def _cells(row: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(row):
        value = getattr(row, field.name)
        if is_dataclass(value):
            yield from _cells(value)
        else:
            yield field.name, value


def _row(cells: dict[str, str], cls: type[Row]) -> Row:
    """The instance of a dataclass with these cells; a field that is a dataclass itself has cells of its own."""
    types = get_type_hints(cls)
    return cls(**{n: _row(cells, t) if is_dataclass(t) else _value(cells[n], t) for n, t in types.items()})


def _value(text: str, of_type: Any) -> Any:
    """The value in a cell, of a type such as int or float | None."""
    allowed = get_args(of_type) or (of_type,)
    return None if not text and NoneType in allowed else allowed[0](text)
