"""Progress: the state of a run's trainings on disk. The same command goes on from there if the run was interrupted."""

import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from models import DLADMM, Problem
from models.losses import Loss
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import Observation
from utils.evaluation.records import EpochRecord
from utils.running.errors import UserError
from utils.running.files import replace_file
from utils.running.processes import from_first, process_number
from utils.running.provenance import Run, is_description
from utils.training.samples import Source

PREFIX = "interrupted-"


class Resumable(Protocol):
    """Something whose state can be saved and brought back."""

    def state_dict(self) -> dict:
        """Everything that its next results depend on."""

    def load_state_dict(self, state: dict) -> object:
        """Goes on from there."""


class Progress:
    """A folder of the run's own in the checkpoint folder, with a file for every network in training.

    A run with other hyperparameters, versions or inputs has another folder. It starts afresh, and says what differs.

    Args:
        folder: the checkpoint folder.
        run: the run.

    Raises:
        UserError: a file in the run's folder cannot be read.
    """

    def __init__(self, folder: str, run: Run) -> None:
        self.folder = Path(folder) / f"{PREFIX}{run.name}"
        self.run = run
        self.saved = from_first(self._load)
        if process_number() == 0:
            for line in self._messages(Path(folder)):
                print(line, file=sys.stderr)

    def training(self, name: str) -> "TrainingProgress":
        """The progress of the network of that name."""
        return TrainingProgress(self, name)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Replaces the file of a network; process 0 does it for all."""
        if process_number() > 0:
            return
        buffer = io.BytesIO()
        torch.save(content, buffer)
        if not self.folder.exists():
            self.folder.mkdir()
            replace_file(self.folder / "run.json", self.run.as_json().encode())
        replace_file(self.folder / f"{name}.pt", buffer.getvalue())

    def remove(self) -> None:
        """Removes the folder: the run is over and its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _load(self) -> dict[str, dict]:
        return {path.stem: _read(path) for path in sorted(self.folder.glob("*.pt"))}

    def _messages(self, folder: Path) -> list[str]:
        if self.saved:
            done = ", ".join(f"{len(saved['records'])} epochs of {name}" for name, saved in self.saved.items())
            return [f"going on with the interrupted run in {self.folder}: {done}"]
        messages = []
        for other in sorted(folder.glob(f"{PREFIX}*/run.json")):
            if other.parent != self.folder and is_description(other):
                differences = ", ".join(self.run.differences(other.read_text(encoding="utf-8")))
                messages.append(f"starting afresh: the interrupted run in {other.parent} differs in {differences}")
        return messages


class TrainingProgress:
    """The progress of one network: its finished epochs, and the state after the last one.

    Args:
        progress: of the run.
        name: of the network.
    """

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress = progress
        self.name = name
        self.saved = progress.saved.pop(name, {"records": [], "seconds": 0.0})
        self.history = [EpochRecord(**record) for record in self.saved["records"]]
        self.watch = Stopwatch()

    def resume(self, **parts: Resumable) -> int:
        """Brings the parts of a training back to where they were saved, if they were; the number of finished epochs."""
        self.parts = parts
        if self.history:
            for part, resumable in parts.items():
                resumable.load_state_dict(self.saved[part])
        return len(self.history)

    def bar(self, losses: Iterable[float], epochs: int) -> Iterator[float]:
        """The losses of the epochs, with a progress bar in the first process."""
        title = self.name.replace("dladmm_d", "d = ").replace("_", " ")
        done, quiet = len(self.history), process_number() > 0
        with tqdm(losses, title, epochs, unit="epoch", initial=done, disable=quiet) as bar:
            for loss in bar:
                yield loss
                psnr = self.history[-1].psnr
                bar.set_postfix(loss=f"{loss:.3f}", psnr="unknown" if psnr is None else f"{psnr:.2f}")

    def finish_epoch(self, record: EpochRecord) -> None:
        """Adds a record to the history, and saves it with the state of all parts."""
        self.history.append(record)
        content: dict[str, Any] = {part: resumable.state_dict() for part, resumable in self.parts.items()}
        content |= {"records": [asdict(record) for record in self.history], "seconds": self.seconds()}
        self.progress.write(self.name, content)

    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.saved["seconds"] + self.watch.seconds()


class Unsaved:
    """A training that is not saved: in place of TrainingProgress."""

    def resume(self, **parts: Resumable) -> int:
        """No epoch is finished."""
        return 0


class Plan(NamedTuple):
    """A training: its name in `TRAININGS`, the networks before it, and what they learn from."""

    training: str
    networks: list[DLADMM]
    samples: Source
    loss: Loss
    compiled: bool


def inputs_of(observation: Observation, problem: Problem, plans: Sequence[Plan]) -> dict[str, Tensor | None]:
    """What a run reads from files, by name: see utils.running.provenance."""
    inputs = observation.inputs() | {"dictionary": problem.A, "constraint": problem.B}
    for plan in plans:
        inputs |= plan.samples.inputs()
    return inputs


def _read(path: Path) -> dict[str, Any]:
    """What `TrainingProgress.finish_epoch` wrote. Only tensors and plain values are read: no code can run."""
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # a broken file can make PyTorch's reader fail in many ways, assertions among them
        saved = None
    if not isinstance(saved, dict) or not {"records", "seconds"} < set(saved):
        raise UserError(
            f"{str(path)!r} cannot be read: it is broken, or no interrupted run left it; allowed: remove its folder"
        )
    return saved
