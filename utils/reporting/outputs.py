"""Outputs of main_lena.py: everything that a run measures, all of it or nothing, and then its page."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from data.formats import save_pixels
from data.images import to_pixels
from models.samples import process_number
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import Learned, Observation, Restoration, Row, table_of_results
from utils.reporting import figures
from utils.reporting.pages import RESULTS, as_png, show, write_tables
from utils.reporting.results import text_table
from utils.running.checkpoints import SUFFIX, load_settings, save_network
from utils.running.errors import UserError
from utils.running.files import all_or_nothing, check_folder, is_same_file, locked
from utils.running.provenance import as_json, read_provenance
from utils.running.resume import PREFIX, RUN, Progress

NAME = "results"  # of the table of a run and of its description
NETWORKS = f"dladmm_d*{SUFFIX}"
READ = "image", "positions", "dictionary", "constraint", "training_images"  # settings that may name files
PICTURES = "clean.png", "noisy.png", "ladmm.png", "dladmm_d*.png"
OTHERS = "comparison.png", "training.png", "layers.png", f"{NAME}.md", f"{NAME}.csv", "history.csv"
STARTED = Stopwatch()


class Outcome(NamedTuple):
    """The results of a run of main_lena.py, from which `report` writes all files."""

    observation: Observation
    classical: list[Restoration]  # LADMM to convergence last
    learned: list[Learned]  # by training, then by depth
    trace: list[Row]  # iterations of classical LADMM
    safeguard: list[Row]  # of the deepest network of the first training
    progress: Progress  # with the description of the run

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables, by the names of their files."""
        trace, restorations = pd.DataFrame(self.trace), [trained.restoration for trained in self.learned]
        return {
            NAME: table_of_results([*self.classical, *restorations], trace),
            "history": pd.DataFrame([row for trained in self.learned for row in trained.history]),
            "layers": pd.DataFrame([row for trained in self.learned for row in trained.layers]),
            "ladmm": trace,
            "safeguard": pd.DataFrame(self.safeguard),
        }


def published_settings() -> Mapping[str, Any]:
    """Those of the published results, in the default folder; empty where there are none."""
    return (read_provenance(RESULTS / f"{NAME}.json") or {}).get("settings", {})


@contextmanager
def output_folders(settings: Any) -> Iterator[None]:
    """Locks the two folders of a run until the block ends; of several processes the first one does it. Refused is a
    folder with an input, or with a file to replace that no run made that is described there or was interrupted."""
    folders = results, checkpoints = check_folder(settings.results_dir), check_folder(settings.checkpoint_dir)
    for name in settings.chosen(*READ).values():
        for folder in folders:
            inside = Path(name).is_file() and is_same_file(Path(name).resolve().parent, folder)
            if inside or (Path(name).is_dir() and is_same_file(name, folder)):
                raise UserError(f"{name!r} is in {str(folder)!r}, where a run replaces files; allowed: elsewhere")
    described = map(read_provenance, [results / f"{NAME}.json", *checkpoints.glob(f"{PREFIX}*/{RUN}")])
    runs = [made_by["settings"] | {"training": ""} for made_by in described if made_by]
    taken = [] if runs else _found(results, *PICTURES, *OTHERS)
    taken += [path for path in _found(checkpoints, NETWORKS) if load_settings(path) | {"training": ""} not in runs]
    if taken:
        raise UserError(f"{str(taken[0])!r} is there, and no run in {str(results)!r} made it; allowed: another folder")
    with locked(*(folders if process_number() == 0 else ())):
        yield


def report(settings: Any, outcome: Outcome) -> None:
    """Writes the tables, pictures and networks of a run, makes its page, and prints the table; process 0 does it. What
    is saved of its trainings is removed when all files are written."""
    if process_number() > 0:
        return
    made_by, tables, seen = outcome.progress.made_by, outcome.tables, outcome.observation
    pictures = {} if seen.clean is None else {"clean": seen.clean}
    pictures |= {"noisy": seen.noisy, "ladmm": outcome.classical[-1].image}
    results, checkpoints = Path(settings.results_dir), Path(settings.checkpoint_dir)
    obsolete = _found(results, *PICTURES) + _found(checkpoints, NETWORKS)
    with all_or_nothing(results, checkpoints, obsolete=obsolete) as (folder, networks):
        for trained in outcome.learned:
            of_network = made_by["settings"] | {"training": trained.restoration.row["training"]}
            save_network(trained.network, networks / f"{trained.name}{SUFFIX}", of_network, as_json(made_by))
            pictures[trained.name] = trained.restoration.image
        for name, picture in pictures.items():  # with pixels of the type that the image has in its file
            save_pixels(to_pixels(picture, seen.dtype), folder / f"{name}.png")
        shown = [outcome.classical[0], outcome.classical[-1], *(trained.restoration for trained in outcome.learned)]
        (folder / "comparison.png").write_bytes(as_png(figures.comparison(seen.clean, shown)))
        write_tables(NAME, tables, made_by, STARTED.seconds(), folder)
    show(NAME, results)
    outcome.progress.remove()
    print(text_table(tables[NAME].fillna({"training": ""}), made_by["settings"]))
    print(f"\nTables and pictures are in {results}/, networks in {checkpoints}/.")


def _found(folder: Path, *names: str) -> list[Path]:
    """The files in a folder that have such names."""
    return [path for name in names for path in sorted(folder.glob(name))]
