"""Progress: the state of a run's trainings on disk. The same command goes on from there if the run was interrupted."""

import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from models.samples import from_first, process_number
from models.training import Epoch, Training
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.records import EpochRecord
from utils.running.errors import UserError
from utils.running.files import RUN, replace_file
from utils.running.provenance import Run, is_description

PREFIX = "interrupted-"
PAUSE = 2.0  # seconds from a save to the next on a GPU, where an epoch can be shorter than a save


class Progress:
    """A folder of the run in the checkpoint folder, with a file for every network in training.

    A run with other hyperparameters, versions or inputs has another folder. It starts afresh, and says what differs.

    Args:
        folder: the checkpoint folder; None: nothing is read and nothing is saved.
        run: the run.

    Raises:
        UserError: a file in the run's folder cannot be read.
    """

    def __init__(self, folder: str | None, run: Run) -> None:
        self.run = run
        self.folder = None if folder is None else Path(folder) / f"{PREFIX}{run.name}"
        files = [] if folder is None else sorted(self.folder.glob("*.pt"))
        self.saved = {} if folder is None else from_first(lambda: {path.stem: _read(path) for path in files})
        self.since_save = Stopwatch()
        if folder is not None and process_number() == 0:
            for line in self._messages(Path(folder)):
                print(line, file=sys.stderr)

    def resume(self, name: str, training: Training) -> tuple[list[EpochRecord], float]:
        """Brings a training back to its last finished epoch, if it was saved; the records and seconds until then."""
        saved = self.saved.get(name)
        if saved is None:
            return [], 0.0
        training.load_state_dict(saved["training"])
        return [EpochRecord(**record) for record in saved["history"]], saved["seconds"]

    def save(self, name: str, training: Training, history: Sequence[EpochRecord], seconds: float) -> None:
        """Saves a training after an epoch, with its records and seconds so far; process 0 does it for all.

        On a GPU not after every epoch: see `PAUSE`.
        """
        if process_number() > 0 or self.folder is None:
            return
        pause = PAUSE if training.on_gpu and training.finished < training.epochs else 0.0
        if self.since_save.seconds() < pause:
            return
        rows = [asdict(record) for record in history]
        buffer = io.BytesIO()
        torch.save({"training": training.state_dict(), "history": rows, "seconds": seconds}, buffer)
        if not self.folder.exists():
            self.folder.mkdir()
            replace_file(self.folder / RUN, self.run.as_json().encode())
        replace_file(self.folder / f"{name}.pt", buffer.getvalue())
        self.since_save = Stopwatch()

    def remove(self) -> None:
        """Removes the folder: the run is over and its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _messages(self, folder: Path) -> list[str]:
        """Says from where the run goes on, or why it does not go on from an interrupted one."""
        if self.saved:
            done = ", ".join(f"{saved['training']['finished']} epochs of {name}" for name, saved in self.saved.items())
            return [f"going on with the interrupted run in {self.folder}: {done}"]
        messages = []
        for description in sorted(folder.glob(f"{PREFIX}*/{RUN}")):
            if description.parent != self.folder and is_description(description):
                differences = ", ".join(self.run.differences(description.read_text(encoding="utf-8")))
                messages.append(
                    f"starting afresh: the interrupted run in {description.parent} differs in {differences}"
                )
        return messages


def with_bar(training: Training, name: str, history: Sequence[EpochRecord]) -> Iterator[Epoch]:
    """The epochs of a training, with a progress bar in the first process.

    Args:
        training: the training.
        name: of its network's files.
        history: the records so far; whoever takes an epoch adds one. The bar shows the PSNR of the last one.
    """
    title, quiet = name.replace("dladmm_d", "d = ").replace("_", " "), process_number() > 0
    done = training.finished
    with tqdm(training, title, training.epochs, unit="epoch", initial=done, disable=quiet) as bar:
        for epoch in bar:
            yield epoch
            psnr = history[-1].psnr
            bar.set_postfix(loss=f"{epoch.loss:.3f}", psnr="unknown" if psnr is None else f"{psnr:.2f}")


def _read(path: Path) -> dict[str, Any]:
    """What `Progress.save` wrote. Only tensors and plain values are read: no code can run."""
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # a broken file can make PyTorch's reader fail in many ways, assertions among them
        saved = None
    if not isinstance(saved, dict) or set(saved) != {"training", "history", "seconds"}:
        raise UserError(
            f"{str(path)!r} cannot be read: it is broken, or no interrupted run left it; allowed: remove its folder"
        )
    return saved
