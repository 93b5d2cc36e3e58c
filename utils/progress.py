"""Progress: where the training of a run stands, on disk, from where the same command goes on if it was interrupted."""

import io
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch

from utils.checkpoints import reading
from utils.files import replace_file
from utils.processes import from_first, process_number
from utils.provenance import Run
from utils.tables import EpochRecord

PREFIX = "interrupted-"


class Resumable(Protocol):
    """Something whose state can be saved and brought back."""

    def state_dict(self) -> dict:
        """Everything that what it does next depends on."""

    def load_state_dict(self, state: dict) -> None:
        """Goes on from there."""


class Progress:
    """A folder of the run's own in the checkpoint folder, with a file for every network that is replaced after every
    epoch.

    A run with other hyperparameters, versions or inputs has another folder: it starts afresh, and says what differs.

    Args:
        folder: the checkpoint folder.
        run: the run.

    Raises:
        ValueError: a file in the run's folder cannot be read.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder = folder / f"{PREFIX}{run.name}"
        self.run = run
        self.saved = from_first(self._load)
        if process_number() == 0:
            for line in self._news(folder):
                print(line, file=sys.stderr)

    def resume(self, name: str, **parts: Resumable) -> tuple[list[EpochRecord], float]:
        """Brings the parts of a network's training back to where they were saved, if they were.

        Returns:
            the epochs so far, and the seconds that they took.
        """
        if name not in self.saved:
            return [], 0.0
        saved = self.saved.pop(name)
        for part, resumable in parts.items():
            resumable.load_state_dict(saved[part])
        return [EpochRecord(**record) for record in saved["records"]], saved["seconds"]

    def save(self, name: str, records: list[EpochRecord], seconds: float, **parts: Resumable) -> None:
        """Writes where the training of a network stands; process 0 does it for all."""
        if process_number() > 0:
            return
        content: dict[str, Any] = {part: resumable.state_dict() for part, resumable in parts.items()}
        buffer = io.BytesIO()
        torch.save(content | {"records": [asdict(record) for record in records], "seconds": seconds}, buffer)
        if not self.folder.exists():
            self.folder.mkdir()
            replace_file(self.folder / "run.json", self.run.as_json().encode())
        replace_file(self.folder / f"{name}.pt", buffer.getvalue())

    def remove(self) -> None:
        """The run is over and its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _load(self) -> dict[str, dict]:
        saved = {}
        for path in sorted(self.folder.glob("*.pt")):
            with reading(path, "what an interrupted run has left, or nothing there"):
                saved[path.stem] = torch.load(path, weights_only=True, map_location="cpu")
                len(saved[path.stem]["records"])
        return saved

    def _news(self, folder: Path) -> list[str]:
        if self.saved:
            done = ", ".join(f"{len(saved['records'])} epochs of {name}" for name, saved in self.saved.items())
            return [f"going on with the interrupted run in {self.folder}: {done}"]
        news = []
        for other in sorted(folder.glob(f"{PREFIX}*/run.json")):
            differences = ", ".join(self.run.differences(other.read_text()))
            news.append(f"starting afresh: the interrupted run in {other.parent} differs in {differences}")
        return news
