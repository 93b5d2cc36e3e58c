"""The tables of README.md: each stands between two marks that name it, and is written by the command that measures it.

They hold no seconds, so that another machine of the same kind writes the same bytes.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from utils.running.files import is_same_file, replace_file

README, RESULTS = Path("README.md"), Path("results")
MARKED = re.compile(r"(<!-- (\w+): from results/ -->\n).*?(<!-- end -->)", re.DOTALL)


def update(tables: Mapping[str, str], results: Path, readme: Path = README) -> None:
    """Writes these tables between their marks, if the results are those that README.md shows: in the default folder.

    Args:
        tables: Markdown by name.
        results: the folder that the command has written.
        readme: the file with the marks; it is replaced at once, and only if a table has changed.

    Raises:
        UserError: the file cannot be written.
    """
    if not readme.exists() or not is_same_file(results, readme.parent / RESULTS):
        return
    text = readme.read_text(encoding="utf-8")
    updated = with_tables(text, tables)
    if updated != text:
        replace_file(readme, updated.encode("utf-8"))


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """The text with these tables between their marks, without the padding of their cells; others stay as they are."""

    def written(marked: re.Match[str]) -> str:
        begin, name, end = marked.groups()
        if name not in tables:
            return marked.group()
        return f"{begin}{re.sub(r'-{3,}', '---', re.sub(r' {2,}', ' ', tables[name]))}{end}"

    return MARKED.sub(written, text)
