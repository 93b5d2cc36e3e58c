"""Results of main_lena.py: all that a run measures is written, or nothing; then their page, a table of README.md.

The page is made from the tables alone, see utils.reporting.pages.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from data.formats import save_pixels
from data.images import to_pixels
from models.samples import process_number
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import NOTHING_KNOWN, Learned, Observation, Restoration, Row, table_of_results
from utils.reporting import figures, pages
from utils.reporting.pages import RESULTS, Page
from utils.reporting.tables import filled, in_words, markdown, title
from utils.running.checkpoints import SUFFIX, load_settings, save_network
from utils.running.errors import UserError
from utils.running.files import all_or_nothing, check_folder, is_same_file, locked
from utils.running.provenance import Provenance, as_json, read_provenance
from utils.running.resume import PREFIX, RUN, Progress

NAME = "results"  # of the table of a run and of its description
NETWORKS = f"dladmm_d*{SUFFIX}"
READ = "image", "positions", "dictionary", "constraint", "training_images"  # settings that may name files
PICTURES = "clean.png", "noisy.png", "ladmm.png", "dladmm_d*.png"
OTHERS = "comparison.png", "training.png", "layers.png", f"{NAME}.md", f"{NAME}.csv", "history.csv"
STARTED = Stopwatch()
# Xie et al. 2019, table and figure of the Lena experiment: training loss and PSNR, with the authors' dictionary.
PUBLISHED = {
    ("noisy", 0): (np.nan, 15.4), ("ladmm", 0): (np.nan, 31.3),
    ("dladmm", 5): (1.667, 33.57), ("dladmm", 10): (1.663, 35.44), ("dladmm", 15): (1.659, 35.61),
}  # fmt: skip
# The published figures stand beside runs with these settings, whatever the network and its training are. Dictionary,
# noise and loss still differ.
EXPERIMENT = {"image": "lena", "corruption": "salt_and_pepper", "noise_rate": 0.1, "positions": "unknown"}
EXPERIMENT |= {"f": "l1", "g": "l1", "constraint": "identity"}
FORMATS = {
    "training loss": ".3f", "published loss": ".3f", "PSNR (dB)": ".2f", "published PSNR": ".2f", "SSIM": ".4f",
    "seconds": ".1f", "objective": ".3f", "above the optimum": ".2%", "certified gap": ".3f",
}  # fmt: skip
NO_CLEAN_IMAGE = "There is no clean image to compare with, so no PSNR and no SSIM.\n"
ABOUT_RESULTS = """\
Figures are of the last layer, of an image cut to [0, 1]. SSIM is scikit-image's. The training loss is the mean over the
last epoch. LADMM has the penalty β = {ladmm_beta:g}, and has converged when its duality gap is at most the tolerance,
relative to the objective. Untrained networks start at {initialization} (W1) and β = {beta:g}: they are LADMM
only if they start at LADMM's weights.

Published figures are of the authors' dictionary, noise and loss, which are not used here, and of the layer that is best
against the clean image. So published training losses cannot be compared.

Unsupervised networks learn from the noisy image, by default with the objective as the loss, as in the paper. The
self-supervised ones know the noise as well: they learn to undo it where the noisy image was corrupted once
more. Their losses cannot be compared with each other, and their objective is not what they were trained on.
"""
ABOUT_CERTIFICATES = """\
For any Z and λ, the objective at a feasible E and the dual objective at a λ scaled into the feasible set enclose the
optimum. Their distance is the certified gap, which knows no optimum. "Above the optimum" is relative to the objective
of LADMM after {iteration:.0f} iterations, {objective:.3f}, certified to {share:.2%} by its own gap. Equivalent LADMM
iterations are those after which LADMM first has this objective, or this PSNR. Figures are means over the patches.
"""
ABOUT_SAFEGUARD = """\
The objective of the deepest network beyond its depth, its last layer repeated, on out-of-distribution inputs. Without
the safeguard the layers are free to diverge. With it (models/convergence.py) an update that would not reduce the
fixed-point residual of LADMM enough is replaced by LADMM's, patch by patch. The last column counts the updates of that
layer alone, so it may be 100 % in one and 0 % in another.
"""


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
    for name, folder in product(settings.chosen(*READ).values(), folders):
        read = Path(name).resolve()
        if read.exists() and is_same_file(read if read.is_dir() else read.parent, folder):
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
        (folder / "comparison.png").write_bytes(pages.as_png(figures.comparison(seen.clean, shown)))
        pages.write_tables(NAME, tables, made_by, STARTED.seconds(), folder)
    pages.show(NAME, results)
    outcome.progress.remove()
    print(text_table(tables[NAME].fillna({"training": ""}), made_by["settings"]))
    print(f"Tables and pictures are in {results}/, networks in {checkpoints}/.")


def _found(folder: Path, *names: str) -> list[Path]:
    """The files in a folder that have such names."""
    return [path for name in names for path in sorted(folder.glob(name))]


def show(tables: Mapping[str, pd.DataFrame], made_by: Provenance) -> Page:
    """The page of a run."""
    results, settings = tables["results"], made_by["settings"]
    beside = with_published(results, settings)
    columns = ["method", *NOTHING_KNOWN, "training_loss", "psnr", "ssim", "seconds", "published PSNR", "published loss"]
    headings = {name: name.replace("_", " ") for name in columns} | {"psnr": "PSNR (dB)", "ssim": "SSIM"}
    about = ABOUT_RESULTS.format_map(settings | {"initialization": in_words(settings["initialization"])})
    sections = [
        f"# Results\n\n{markdown(filled(beside[columns].rename(columns=headings)), FORMATS)}\n{about}",
        *([] if results["psnr"].notna().any() else [NO_CLEAN_IMAGE]),
        f"## Certificates\n\n{certificates(results, tables['ladmm'])}",
        f"## Safeguard\n\n{safeguard(tables['safeguard'])}\n{ABOUT_SAFEGUARD}",
    ]
    readme = {"depths": depths_table(results, settings)} if settings.items() >= EXPERIMENT.items() else {}
    converged = results[results["method"] == "ladmm"].iloc[-1]
    layers = figures.layers(tables["layers"], tables["ladmm"], converged)
    return Page("\n".join(sections), {"training": figures.training(tables["history"]), "layers": layers}, readme)


def text_table(results: pd.DataFrame, settings: dict[str, Any]) -> str:
    """The table for the terminal, less than 100 columns wide."""
    headings = {"method": "method", "training_loss": "loss", "psnr": "PSNR (dB)", "ssim": "SSIM", "seconds": "sec"}
    headings["published PSNR"] = "paper"
    formats = {"loss": ".3f", "PSNR (dB)": ".2f", "SSIM": ".3f", "sec": ".1f", "paper": ".2f"}
    table = markdown(filled(with_published(results, settings)[[*headings]].rename(columns=headings)), formats)
    return table + ("" if results["psnr"].notna().any() else f"\n{NO_CLEAN_IMAGE}")


def with_published(results: pd.DataFrame, settings: dict[str, Any]) -> pd.DataFrame:
    """The results with titles, and what is published of noisy, of LADMM's longest run, and of the paper's training."""
    longest = results["depth"][results["method"] == "ladmm"].max()

    def published(row: pd.Series) -> tuple[float, float]:
        unlike = (row["method"] == "ladmm" and row["depth"] < longest) or row["training"] not in ("", "unsupervised")
        depth = row["depth"] if row["method"] == "dladmm" else 0
        known = {} if unlike or not settings.items() >= EXPERIMENT.items() else PUBLISHED
        return known.get((row["method"], depth), (np.nan, np.nan))

    columns = ["published loss", "published PSNR"]
    beside = results.join(pd.DataFrame([published(row) for _, row in results.iterrows()], columns=columns))
    return beside.assign(method=[title(row) for _, row in results.iterrows()])


def depths_table(results: pd.DataFrame, settings: dict[str, Any]) -> str:
    """The PSNR of every method by the number d of layers, for README.md; what has no layers has one for every d."""
    longest = results["depth"][results["method"] == "ladmm"].max()
    by_key = results.assign(depth=results["depth"].fillna(0)).set_index(["method", "training", "depth"])["psnr"]
    beta, start = f"{settings['ladmm_beta']:g}", in_words(settings["initialization"])
    rows = {
        "3 × 3 median": lambda d: by_key.get(("median", "", 0)),
        f"LADMM (β = {beta}), d iterations": lambda d: by_key.get(("ladmm", "", d)),
        f"LADMM (β = {beta}) to convergence": lambda d: by_key.get(("ladmm", "", longest)),
        "LADMM, published": lambda d: PUBLISHED["ladmm", 0][1],
        f"D-LADMM, untrained, W1 {start}": lambda d: by_key.get(("untrained", "", d)),
        "**D-LADMM, unsupervised**": lambda d: by_key.get(("dladmm", "unsupervised", d)),
        "D-LADMM, published": lambda d: PUBLISHED.get(("dladmm", d), (np.nan, np.nan))[1],
        "**D-LADMM, self-supervised**": lambda d: by_key.get(("dladmm", "self_supervised", d)),
    }
    table = pd.DataFrame({"PSNR in dB": list(rows)})
    for depth in sorted(results["depth"][results["method"] == "dladmm"].unique()):
        table[f"d = {depth:.0f}"] = pd.Series([figure(depth) for figure in rows.values()], dtype=float)
    return markdown(table, dict.fromkeys(table.columns[1:], ".2f"))


def certificates(results: pd.DataFrame, trace: pd.DataFrame) -> str:
    """Objective, distance to the optimum and certified gap of all that solve the problem."""
    last, solved = trace.iloc[-1], results[results["objective"].notna()]
    optimum = max(last["objective"], 1e-12)  # zero for a black image
    iterations = {"ladmm_same_objective": "LADMM iterations to this objective"}
    if results["psnr"].notna().any():
        iterations["ladmm_same_psnr"] = "and to this PSNR"
    table = solved.assign(method=[title(row) for _, row in solved.iterrows()], above=solved["objective"] / optimum - 1)
    table = table[["method", "objective", "above", "gap"]]
    table.columns = ["method", "objective", "above the optimum", "certified gap"]
    for name, heading in iterations.items():
        counts = [f"> {last['iteration']:.0f}" if np.isnan(count) else f"{count:.0f}" for count in solved[name]]
        table[heading] = np.where(solved["method"] == "dladmm", counts, "")
    return f"{markdown(table, FORMATS)}\n{ABOUT_CERTIFICATES.format(**last, share=last['gap'] / optimum)}"


def safeguard(guarded: pd.DataFrame) -> str:
    """Objective with and without the safeguard, and of LADMM, after some numbers of layers."""
    shown = guarded[guarded["layer"].isin((5, 10, 15, 30, 50, 100, 200, guarded["layer"].max()))]
    by_method = shown.pivot_table(index=["input", "layer"], columns="method", values="objective", sort=False)
    replaced = shown.set_index(["input", "layer"])["replaced"].dropna()
    table = by_method[["ladmm", "safeguarded", "unguarded"]].assign(replaced=replaced).reset_index()
    table.columns = ["input", "layers", "LADMM", "safeguarded", "unguarded", "updates replaced"]

    def or_diverged(objective: float) -> str:
        return f"{objective:.2f}" if objective < 1e4 else f"{objective:.0e}" if np.isfinite(objective) else "diverged"

    formats = dict.fromkeys(("LADMM", "safeguarded", "unguarded"), or_diverged)
    return markdown(table, formats | {"updates replaced": ".0%"})
