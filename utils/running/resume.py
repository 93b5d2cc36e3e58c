"""Resume: what a run has computed is on disk, and the same command goes on from there if it was interrupted.

Of trainings it is their state after every epoch (`Progress`), of studies the values of functions (`memory_of`).
"""

import io
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from joblib import Memory
from tqdm import tqdm

from models.samples import from_first, process_number
from models.training import Training
from utils.running.errors import UserError
from utils.running.files import locked, replace_file
from utils.running.provenance import Provenance, as_json, name_of

PREFIX, RUN = "interrupted-", "run.json"
PAUSE = 2.0  # seconds from a save to the next on a GPU, where an epoch can be shorter than a save


class Progress:
    """A folder of the run in the checkpoint folder, with a file for every network in training; in no folder, none. A
    run with other settings, code, versions or inputs has another folder: it starts afresh."""

    def __init__(self, folder: str | None, made_by: Provenance) -> None:
        self.made_by, self.last_save = made_by, -PAUSE
        self.folder = None if folder is None else Path(folder) / f"{PREFIX}{name_of(made_by)}"
        files = [] if folder is None else sorted(self.folder.glob("*.pt"))
        self.saved = from_first(lambda: {path.stem: _read(path) for path in files})
        if self.saved and process_number() == 0:
            done = ", ".join(f"{saved['training']['finished']} epochs of {name}" for name, saved in self.saved.items())
            print(f"going on with the interrupted run in {self.folder}: {done}", file=sys.stderr)

    def resume(self, name: str, training: Training) -> tuple[list[dict[str, Any]], float]:
        """Brings a training back to its last finished epoch, if it was saved; the rows and seconds until then."""
        saved = self.saved.get(name)
        if saved is None:
            return [], 0.0
        training.load_state_dict(saved["training"])
        return saved["history"], saved["seconds"]

    def save(self, name: str, training: Training, history: Sequence[dict[str, Any]], seconds: float) -> None:
        """Saves a training after an epoch, with its rows and seconds so far, in process 0; on a GPU see `PAUSE`."""
        pause = PAUSE if training.on_gpu and training.finished < training.epochs else 0.0
        if process_number() > 0 or self.folder is None or time.monotonic() < self.last_save + pause:
            return
        buffer = io.BytesIO()
        torch.save({"training": training.state_dict(), "history": list(history), "seconds": seconds}, buffer)
        if not self.folder.exists():
            replace_file(self.folder / RUN, as_json(self.made_by).encode())
        replace_file(self.folder / f"{name}.pt", buffer.getvalue())
        self.last_save = time.monotonic()

    def remove(self) -> None:
        """Removes the folder: the run is over and its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def epoch_bar(training: Training, name: str) -> tqdm:
    """The epochs of a training, with a bar of progress in the first process."""
    title, done, quiet = name.replace("dladmm_d", "d = ").replace("_", " "), training.finished, process_number() > 0
    return tqdm(training, title, training.epochs, unit="epoch", initial=done, disable=quiet)


@contextmanager
def memory_of(folder: Path, made_by: Provenance) -> Iterator[Memory]:
    """Keeps the values of functions until the block ends well, for one process at a time. A run with other settings or
    inputs has another folder. joblib computes a value again if its function has changed."""
    kept = folder / f"{PREFIX}{name_of({name: made_by[name] for name in ('module', 'settings', 'inputs')})}"
    with locked(kept):
        if any(kept.rglob("output.pkl")):
            print(f"going on with the interrupted run in {kept}", file=sys.stderr)
        yield Memory(kept, verbose=0)
        shutil.rmtree(kept, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    """What `Progress.save` wrote. Only tensors and plain values are read: no code can run."""
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        return {name: saved[name] for name in ("training", "history", "seconds")}
    except Exception as error:  # a broken file can make PyTorch's reader fail in many ways, assertions among them
        reason = "it is broken, or no interrupted run left it; allowed: remove its folder"
        raise UserError(f"{str(path)!r} cannot be read: {reason}") from error
