"""Outputs of main_lena.py: everything that a run writes, all of it or nothing. Every file names its run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure

from data.formats import save_pixels
from data.images import to_pixels
from utils.evaluation.observation import Observation
from utils.evaluation.records import Classical, Learned, SafeguardRecord
from utils.reporting import figures
from utils.reporting.markdown import results_markdown, results_text, with_equivalents
from utils.reporting.tables import write_csv
from utils.running.checkpoints import SUFFIX, load_settings, save_network
from utils.running.errors import UserError
from utils.running.files import FolderLock, all_or_nothing, check_folder, is_same_file
from utils.running.processes import process_number
from utils.running.provenance import Run, is_description
from utils.training.progress import Progress

RUN = "run.json"
PICTURES = ("clean", "noisy", "ladmm", "comparison", "training", "layers", "convergence", "safeguard")
TABLES = ("results", "history", "layers", "ladmm", "safeguard")


class OutputSettings(Protocol):
    """The settings that outputs depend on: see `Settings` in main_lena.py."""

    image: str
    positions: str
    dictionary: str
    constraint: str
    training_images: str
    results_dir: str
    checkpoint_dir: str


@contextmanager
def output_folders(settings: OutputSettings) -> Iterator[None]:
    """The two folders of a run, which are its own until the block ends. Of several processes, the first locks them.

    Raises:
        UserError: a folder cannot be used, holds an input, or holds a file that no run made and this one would replace.
    """
    folders = [check_folder(settings.results_dir), check_folder(settings.checkpoint_dir)]
    inputs = (settings.image, settings.positions, settings.dictionary, settings.constraint, settings.training_images)
    for name in inputs:
        for folder in folders:
            inside = Path(name).is_file() and is_same_file(Path(name).resolve().parent, folder)
            if inside or (Path(name).is_dir() and is_same_file(name, folder)):
                raise UserError(f"{name!r} is in {str(folder)!r}, where a run replaces files; allowed: elsewhere")
    with FolderLock(*(folders if process_number() == 0 else ())):
        _check_made_by_a_run(*folders)
        yield


def _check_made_by_a_run(results: Path, checkpoints: Path) -> None:
    """Refuses to replace files that no run made."""
    names = {f"{name}.csv" for name in TABLES} | {f"{name}.png" for name in PICTURES} | {"results.md", RUN}
    found = [path for path in results.glob("*") if path.name in names or path.match("dladmm_d*.png")]
    if found and not is_description(results / RUN):
        raise UserError(f"{str(found[0])!r} is there, and no run made it; allowed: another folder for results")
    for path in checkpoints.glob(f"dladmm_d*{SUFFIX}"):
        try:
            load_settings(path)
        except UserError:
            raise UserError(f"{str(path)!r} is there, and no run made it; allowed: another folder") from None


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
    rows = (
        results,
        [record for trained in learned for record in trained.history],
        [record for trained in learned for record in trained.layers],
        classical.trace,
        safeguard,
    )
    pictures = _pictures(observation, classical, learned)
    curves = figures.of_run(observation.clean, classical, learned, safeguard)
    markdown = results_markdown(results, classical, safeguard, run.settings)
    results_dir, checkpoint_dir = Path(settings.results_dir), Path(settings.checkpoint_dir)
    networks = [*results_dir.glob("dladmm_d*.png"), *checkpoint_dir.glob(f"dladmm_d*{SUFFIX}")]
    obsolete = [*networks, results_dir / "clean.png"]
    with all_or_nothing(results_dir, checkpoint_dir, obsolete=obsolete) as (folder, checkpoints):
        for trained in learned:
            own = run.settings | {"training": trained.restoration.result.training}
            save_network(trained.network, checkpoints / f"{trained.name}{SUFFIX}", own, run.as_json())
        _write_pictures(folder, pictures, curves, observation.dtype, run)
        for name, table in zip(TABLES, rows, strict=True):
            write_csv(table, folder / f"{name}.csv", run.name)
        (folder / "results.md").write_text(f"{markdown}\n{run.as_markdown()}", encoding="utf-8")
        (folder / RUN).write_text(run.as_json(), encoding="utf-8")
    progress.remove()
    print(results_text(results, run.settings))
    print(f"\nTables and pictures are in {results_dir}/, networks in {checkpoint_dir}/.")


def _pictures(observation: Observation, classical: Classical, learned: Sequence[Learned]) -> dict[str, np.ndarray]:
    """The images of a run, values in [0, 1], by the names of their files."""
    pictures = {} if observation.clean is None else {"clean": observation.clean}
    pictures |= {"noisy": observation.noisy, "ladmm": classical.restorations[-1].image}
    return pictures | {trained.name: trained.restoration.image for trained in learned}


def _write_pictures(
    folder: Path, pictures: Mapping[str, np.ndarray], curves: Mapping[str, Figure], dtype: np.dtype, run: Run
) -> None:
    """Writes pictures, values in [0, 1], with pixels of the type uint8 or uint16, and figures."""
    for name, picture in pictures.items():
        save_pixels(to_pixels(picture, dtype), folder / f"{name}.png", run.title)
    for name, figure in curves.items():
        figure.savefig(folder / f"{name}.png", metadata={"Description": run.title})
