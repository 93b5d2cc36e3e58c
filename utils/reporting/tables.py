"""Data frames as they are read from CSV, and as text for people."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from utils.running.errors import UserError

Formats = Mapping[str, str | Callable[[Any], str]]  # of columns: a format such as ".2f", or a function of a value

TITLES = {
    "noisy": "noisy",
    "median": "3 x 3 median",
    "ladmm": "LADMM, {depth:.0f} iterations",
    "untrained": "D-LADMM, d = {depth:.0f}, untrained",
    "dladmm": "D-LADMM, d = {depth:.0f}, {training}",
}


def read_table(path: Path) -> pd.DataFrame:
    """A table that `pages.write_tables` wrote: texts that are missing are empty, figures NaN."""
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"table {str(path)!r} cannot be read ({error}); allowed: one that a run has measured") from None
    texts = frame.select_dtypes(exclude="number").columns
    return frame.fillna(dict.fromkeys(texts, ""))


def markdown(frame: pd.DataFrame, formats: Formats | None = None) -> str:
    """The table in Markdown; what is missing is empty, but for a function to say."""

    def cell(value: Any, format: str | Callable[[Any], str]) -> str:
        if callable(format):
            return format(value)
        return "" if pd.isna(value) else f"{value:{format}}"

    texts = frame.apply(lambda column: column.map(partial(cell, format=(formats or {}).get(column.name, ""))))
    return texts.to_markdown(index=False, tablefmt="github", disable_numparse=True) + "\n"


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """The table without the columns that are empty in every row."""
    return frame.loc[:, [(frame[name].notna() & (frame[name] != "")).any() for name in frame]]


def spread(values: pd.Series, digits: int) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def title(row: Mapping[str, Any]) -> str:
    """The method in a row of results, as tables and figures name it."""
    return TITLES[row["method"]].format(depth=row.get("depth"), training=in_words(row.get("training", "")))


def in_words(name: str) -> str:
    """The name of a training or an initialization as text shows it: self-supervised for self_supervised."""
    return name.replace("_", "-")
