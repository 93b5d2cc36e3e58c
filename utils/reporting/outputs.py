"""Outputs of main_lena.py: everything that a run writes, all of it or nothing. Every file names its run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure

from data.images import save_pixels, to_pixels
from utils.evaluation.observation import Observation
from utils.evaluation.records import Classical, Learned, SafeguardRecord
from utils.reporting import figures
from utils.reporting.markdown import results_markdown, results_text, with_equivalents
from utils.reporting.tables import write_csv
from utils.running.checkpoints import SUFFIX, save_network
from utils.running.files import all_or_nothing
from utils.running.processes import process_number
from utils.running.provenance import Run
from utils.training.progress import Progress

OBSOLETE = ("dladmm_d*.png", "clean.png")  # what an earlier run may have left and this one may not write


class OutputSettings(Protocol):
    """The settings that outputs depend on: see `Settings` in main_lena.py."""

    results_dir: str
    checkpoint_dir: str


def report(
    settings: OutputSettings,
    observation: Observation,
    classical: Classical,
    learned: Sequence[Learned],
    safeguard: Sequence[SafeguardRecord],
    progress: Progress,
) -> None:
    """Writes the tables, pictures, curves and networks of a run, and prints the table; the first process does it.

    Args:
        settings: where to write.
        observation: the corrupted image.
        classical: what LADMM and the median restored.
        learned: what networks restored.
        safeguard: the deepest network beyond its depth.
        progress: of the run, which every file names. It is removed when all files are written.
    """
    if process_number() > 0:
        return
    run = progress.run
    restorations = [*classical.restorations, *(trained.restoration for trained in learned)]
    results = with_equivalents([restoration.result for restoration in restorations], classical.trace)
    tables = {
        "results": results,
        "history": [record for trained in learned for record in trained.history],
        "layers": [record for trained in learned for record in trained.layers],
        "ladmm": classical.trace,
        "safeguard": safeguard,
    }
    pictures = {} if observation.clean is None else {"clean": observation.clean}
    pictures |= {"noisy": observation.noisy, "ladmm": classical.restorations[-1].image}
    pictures |= {_name(trained): trained.restoration.image for trained in learned}
    curves = figures.of_run(observation.clean, classical, learned, tables["safeguard"])
    markdown = results_markdown(results, classical, safeguard, run.settings)
    results_dir, checkpoint_dir = Path(settings.results_dir), Path(settings.checkpoint_dir)
    with all_or_nothing(checkpoint_dir) as checkpoints, all_or_nothing(results_dir, OBSOLETE) as folder:
        for trained in learned:
            save_network(trained.network, checkpoints / f"{_name(trained)}{SUFFIX}", run.settings, run.as_json())
        _write_pictures(folder, pictures, curves, observation.dtype, run)
        for name, rows in tables.items():
            write_csv(rows, folder / f"{name}.csv", run.name)
        (folder / "results.md").write_text(f"{markdown}\n{run.as_markdown()}", encoding="utf-8")
        (folder / "run.json").write_text(run.as_json(), encoding="utf-8")
    progress.remove()
    print(results_text(results, run.settings))
    print(f"\nTables and pictures are in {results_dir}/, networks in {checkpoint_dir}/.")


def _name(trained: Learned) -> str:
    """The name of a network's files."""
    return f"dladmm_d{trained.restoration.result.depth:02d}"


def _write_pictures(
    folder: Path, pictures: Mapping[str, np.ndarray], curves: Mapping[str, Figure], dtype: np.dtype, run: Run
) -> None:
    """Writes pictures, values in [0, 1], with pixels of the type uint8 or uint16, and figures."""
    for name, picture in pictures.items():
        save_pixels(to_pixels(picture, dtype), folder / f"{name}.png", run.title)
    for name, figure in curves.items():
        figure.savefig(folder / f"{name}.png", metadata={"Description": run.title})
