"""Outputs of main_lena.py: everything that a run writes, all of it or nothing. Every file names its run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from data.formats import save_pixels
from data.images import to_pixels
from models.samples import process_number
from utils.evaluation.observation import Observation
from utils.evaluation.records import Classical, Learned, Result, SafeguardRecord
from utils.reporting import figures
from utils.reporting.markdown import depths_table, results_markdown, results_text, with_equivalents
from utils.reporting.progress import Progress
from utils.reporting.published import is_published
from utils.reporting.readme import update
from utils.reporting.tables import write_csv
from utils.running.checkpoints import SUFFIX, load_settings, save_network
from utils.running.errors import UserError
from utils.running.files import RUN, FolderLock, all_or_nothing, check_folder, is_same_file
from utils.running.provenance import is_description

PICTURES = ("clean", "noisy", "ladmm", "comparison", "training", "layers", "convergence", "safeguard")
TABLES = ("results", "history", "layers", "ladmm", "safeguard")


class Outcome(NamedTuple):
    """The results of a run of main_lena.py, from which `report` writes all files."""

    observation: Observation
    classical: Classical
    learned: list[Learned]  # by training, then by depth
    safeguard: list[SafeguardRecord]  # of the deepest network of the first training
    progress: Progress  # with the description of the run

    @property
    def results(self) -> list[Result]:
        """The rows of all methods, classical ones first; networks have their equivalent iterations of LADMM."""
        restorations = [*self.classical.restorations, *(trained.restoration for trained in self.learned)]
        return with_equivalents([restoration.result for restoration in restorations], self.classical.trace)


@contextmanager
def output_folders(settings: Any) -> Iterator[None]:
    """Locks the two folders of a run until the block ends. Of several processes, the first one does it.

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
    replaced = [path for path in results.glob("*") if path.name in names or path.match("dladmm_d*.png")]
    if replaced and not is_description(results / RUN):
        raise UserError(f"{str(replaced[0])!r} is there, and no run made it; allowed: another folder for results")
    for path in checkpoints.glob(f"dladmm_d*{SUFFIX}"):
        try:
            load_settings(path)
        except UserError:
            raise UserError(f"{str(path)!r} is there, and no run made it; allowed: another folder") from None


def report(settings: Any, outcome: Outcome) -> None:
    """Writes the tables, pictures, curves and networks of a run, and prints the table; the first process does it.

    README.md shows the run if its folder is the default one and it is the published experiment.

    Args:
        settings: `Settings` of main_lena.py.
        outcome: every file names its run. What is saved of the trainings is removed when all files are written.
    """
    if process_number() > 0:
        return
    _, classical, learned, safeguard, progress = outcome
    run, results = progress.run, outcome.results
    rows = (
        results,
        [record for trained in learned for record in trained.history],
        [record for trained in learned for record in trained.layers],
        classical.trace,
        safeguard,
    )
    markdown = results_markdown(results, classical, safeguard, run.settings)
    results_dir, checkpoint_dir = Path(settings.results_dir), Path(settings.checkpoint_dir)
    networks = [*results_dir.glob("dladmm_d*.png"), *checkpoint_dir.glob(f"dladmm_d*{SUFFIX}")]
    obsolete = [*networks, results_dir / "clean.png"]
    with all_or_nothing(results_dir, checkpoint_dir, obsolete=obsolete) as (folder, checkpoints):
        for trained in learned:
            settings_of_network = run.settings | {"training": trained.restoration.result.training}
            file = checkpoints / f"{trained.name}{SUFFIX}"
            save_network(trained.network, file, settings_of_network, run.as_json())
        _write_pictures(folder, outcome)
        for name, table in zip(TABLES, rows, strict=True):
            write_csv(table, folder / f"{name}.csv", run.name)
        (folder / "results.md").write_text(f"{markdown}\n{run.as_markdown()}", encoding="utf-8")
        (folder / RUN).write_text(run.as_json(), encoding="utf-8")
    progress.remove()
    if is_published(run.settings):
        update({"depths": depths_table(results)}, results_dir)
    print(results_text(results, run.settings))
    print(f"\nTables and pictures are in {results_dir}/, networks in {checkpoint_dir}/.")


def _write_pictures(folder: Path, outcome: Outcome) -> None:
    """Writes the images, with pixels of the type that the image has in its file, and the figures."""
    observation, classical, learned, safeguard, progress = outcome
    pictures = {} if observation.clean is None else {"clean": observation.clean}
    pictures |= {"noisy": observation.noisy, "ladmm": classical.restorations[-1].image}
    pictures |= {trained.name: trained.restoration.image for trained in learned}
    for name, picture in pictures.items():
        save_pixels(to_pixels(picture, observation.dtype), folder / f"{name}.png")
    for name, figure in figures.of_run(observation.clean, classical, learned, safeguard).items():
        figure.savefig(folder / f"{name}.png", metadata={"Description": progress.run.title})
