"""The clean pictures of a folder as a test set of utils.studies.comparison, and the table of the paper on each of them.

As in the paper, networks learn on the corrupted picture that they restore, and classical LADMM runs beside them.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.damage import DAMAGES
from data.dictionary import load_dictionary
from data.formats import FORMATS
from data.images import load_image, load_pixels, to_grey
from data.patches import PatchGrid, patch_side
from main_lena import Settings, learn, pose, restore_classically
from utils.evaluation.observation import Observation
from utils.evaluation.records import SideInformation
from utils.reporting.progress import Progress
from utils.reporting.tables import Columns, grouped, markdown_table
from utils.running.devices import pick_compiled, pick_device, pick_precision
from utils.running.errors import UserError
from utils.running.files import check_folder, is_same_file
from utils.running.provenance import Run, digest
from utils.studies import study
from utils.studies.comparison_tables import ABOUT, OF_NO_PICTURE, Compared, ComparisonRecord, images_of
from utils.studies.kept import Keep, Kept, keeping
from utils.studies.methods import SEEDS
from utils.studies.study import Report, write

SETTINGS = Settings(training=("unsupervised",))  # of the networks; the others are those of main_lena.py
ITERATIONS = (15, 150, 1500)  # of classical LADMM
ABOUT_PAPER = f"""\
## LADMM and D-LADMM trained on each picture, as in the paper

{SETTINGS.noise_rate:.0%} salt and pepper, patches without overlap. Each network, of d layers, has learned on the
corrupted picture alone, with the settings of main_lena.py. PSNR in dB / SSIM.
"""


def find_pictures(name: str) -> dict[str, str]:
    """The pictures in a folder, in the order of their names: paths of the files, and digests of the pixels.

    Raises:
        UserError: there is no such folder, no picture in it, or one that nothing can be measured on.
        InvalidInput: a picture cannot be read.
    """
    files = sorted(str(path) for path in Path(name).glob("*") if path.suffix.lower() in FORMATS)
    if not files:
        found = "has no picture" if Path(name).is_dir() else "is no folder"
        raise UserError(f"images are {name!r}, which {found}; allowed: a folder with pictures ({' '.join(FORMATS)})")
    side = patch_side(len(load_dictionary()))
    for file in files:
        grey = to_grey(load_image(file))
        if min(grey.shape) < side or grey.min() == grey.max():
            size = f"{grey.shape[1]} x {grey.shape[0]} pixels{' of one value' if grey.min() == grey.max() else ''}"
            raise UserError(f"image {file!r} has {size}; allowed: at least {side} x {side}, of more than one value")
    return {file: digest(load_pixels(file).tobytes()) for file in files}


def results_of(name: str) -> Path:
    """The folder of the results on a folder of pictures; it need not exist yet.

    Raises:
        UserError: it is that of the pictures or of all results, or may not be written to.
    """
    folder = study.RESULTS / Path(name).resolve().name
    if is_same_file(folder, study.RESULTS) or is_same_file(folder, name):
        raise UserError(f"images are {name!r}, and results would go to {str(folder)!r}; allowed: another folder")
    return check_folder(str(folder))


def run_on(
    name: str, command: str, settings: Mapping[str, Any], compare: Callable[[Sequence[str], Keep], Compared]
) -> None:
    """Runs the experiment of the paper on each picture of a folder, then the others, and writes their tables.

    Args:
        name: of the folder; that of the results in results/ has the same.
        command: the module that is run.
        settings: what the results depend on besides the pictures and the code.
        compare: (paths of the pictures, keep) -> the other experiments.
    """
    images, results = find_pictures(name), results_of(name)
    work, device = sum(SETTINGS.depths) * SETTINGS.epochs * SETTINGS.patches_per_epoch, pick_device(SETTINGS.device)
    compiled, precision = pick_compiled(SETTINGS.compile, work, device), pick_precision(SETTINGS.precision, device)
    settings = dict(settings) | {"trainings": asdict(SETTINGS), "iterations": ITERATIONS}
    run = Run(settings, {"dictionary": load_dictionary()}, device, compiled, precision, command)
    run.inputs |= {Path(image).name: pixels for image, pixels in images.items()}
    with keeping(results, run) as kept:
        paper = [record for image in images for record in as_in_paper(image, kept)]
        records, sections, figures = compare(list(images), kept)
        about = ABOUT.format(seeds=len(SEEDS), networks=OF_NO_PICTURE, first=paper[0].image)
        text = "\n".join([f"# Comparison on the pictures of {results.name}\n", about, paper_table(paper), *sections])
        write(Report(text, {"comparison": [*paper, *records]}, figures), results, run)


def as_in_paper(image: str, kept: Kept) -> list[ComparisonRecord]:
    """What LADMM and networks that learn on a noisy picture restore of it; an interrupted training goes on."""
    name, saved_in = Path(image).name, kept.folder / Path(image).name
    rows = kept(("paper", name), lambda: _restored(to_grey(load_image(image)), saved_in, kept.run))
    shutil.rmtree(saved_in, ignore_errors=True)
    case, seed = (SETTINGS.corruption, SETTINGS.noise_rate), SETTINGS.seed
    return [
        ComparisonRecord("paper", *case, seed, name, title, SideInformation(**known), *figures)
        for title, known, *figures in rows
    ]


def paper_table(records: Sequence[ComparisonRecord]) -> str:
    """PSNR and SSIM of every method on each picture, and their means."""
    lines = {image: [row for row in records if row.image == image] for image in images_of(records)} | {"mean": records}

    def cell(rows: Sequence[ComparisonRecord]) -> str:
        return f"{np.mean([row.psnr for row in rows]):.2f} / {np.mean([row.ssim for row in rows]):.4f}"

    columns: Columns = {"picture": lambda line: line}
    for (method,) in grouped(records, "method"):
        columns[method] = lambda line, method=method: cell([row for row in lines[line] if row.method == method])
    return f"{ABOUT_PAPER}\n{markdown_table(list(lines), columns)}"


def _restored(clean: np.ndarray, saved_in: Path, run: Run) -> list[list[Any]]:
    """Of each method its name, what it knows, PSNR, SSIM and seconds. Trainings are saved in a folder."""
    noisy = DAMAGES[SETTINGS.corruption].corrupt(clean, SETTINGS.noise_rate, SETTINGS.seed)
    side, device = patch_side(len(load_dictionary(SETTINGS.dictionary))), torch.device(run.machine["device"])
    seen = Observation(noisy, PatchGrid(clean.shape, side, side), device, clean=clean)
    problem = pose(SETTINGS, seen)
    longer = replace(SETTINGS, depths=ITERATIONS, ladmm_max_iterations=1)
    *restorations, _ = restore_classically(longer, seen, problem, ()).restorations  # the last one is of one iteration
    saved_in.mkdir(exist_ok=True)
    shared = seen, problem, run.machine["compiled"], run.machine["precision"], Progress(str(saved_in), run)
    networks = [learn(training, d, SETTINGS, *shared) for training in SETTINGS.training for d in SETTINGS.depths]
    rows = [restoration.result for restoration in (*restorations, *(network.restoration for network in networks))]
    return [[r.title, asdict(r.side_information), r.psnr, r.ssim, r.seconds or 0.0] for r in rows]
