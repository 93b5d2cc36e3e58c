"""What a long study has computed is on disk as soon as it is there: the same command, started again, goes on."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

from utils.reporting.progress import PREFIX, Progress
from utils.running.errors import UserError
from utils.running.files import RUN, FolderLock, replace_file
from utils.running.provenance import Run

Record = TypeVar("Record")  # a dataclass whose fields JSON knows
Keep = Callable[[Sequence[Any], Callable[[], Any]], Any]  # (key, compute) -> value, both of which JSON knows


def fresh(key: Sequence[Any], compute: Callable[[], Any]) -> Any:
    """The value, computed anew: nothing is kept."""
    return compute()


def kept_rows(
    keep: Keep, key: Sequence[Any], of: type[Record], compute: Callable[[], Iterable[Record]]
) -> list[Record]:
    """The rows of that key, which are kept as lists of their fields."""
    return [of(*row) for row in keep(key, lambda: [list(astuple(row)) for row in compute()])]


class Kept:
    """The values of a run, in its own folder: another run, also of other code, starts afresh and says what differs.

    Nothing is written before the first value is computed.

    Args:
        folder: in which the run has a folder, see utils.reporting.progress.
        run: the run.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self.run, self.folder, self.values = run, folder / f"{PREFIX}{run.name}", {}
        self.file = self.folder / "values.jsonl"
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else ():
            with suppress(ValueError):  # the run may have been killed in the middle of a line
                key, self.values[key] = json.loads(line)
        if self.values:
            print(f"going on with the interrupted run in {self.folder}: {len(self.values)} values", file=sys.stderr)
        else:
            Progress(str(folder), run)  # says what differs from an interrupted run

    def __call__(self, key: Sequence[Any], compute: Callable[[], Any]) -> Any:
        """The value of that key: it is computed if it is not there yet.

        Raises:
            UserError: the folder cannot be written to.
        """
        name = json.dumps(key)
        if name not in self.values:
            if not self.values:
                replace_file(self.folder / RUN, self.run.as_json().encode())
            self.values[name] = compute()
            self._append(json.dumps([name, self.values[name]]))
        return self.values[name]

    def _append(self, line: str) -> None:
        try:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}")  # not at the end of a line that is broken off
        except OSError as error:
            raise UserError(f"{self.file} cannot be written ({error.strerror}); the tables are as before") from error


@contextmanager
def keeping(folder: Path, run: Run) -> Iterator[Kept]:
    """The kept values of a run, which no other process uses; they are removed when the block ends well.

    Args:
        folder: for the runs of one command; it is removed too if nothing else is in it.
        run: the run.

    Raises:
        UserError: another process uses them.
    """
    with FolderLock(folder / f"{PREFIX}{run.name}"):
        kept = Kept(folder, run)
        yield kept
        shutil.rmtree(kept.folder, ignore_errors=True)
    with suppress(OSError):  # it is not empty
        folder.rmdir()
