"""Compares D-LADMM with other methods, see utils.studies.rivals, on corruptions, images, noise rates and noise seeds.

`python -m utils.studies.comparison` restores with the trained networks in the checkpoint folder, some of which learn on
each noisy image first. No row shows an image that a choice was made with. `--images FOLDER` takes the clean pictures in
a folder instead; results go to results/FOLDER/. The same command goes on after an interruption.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from data.damage import DAMAGES
from data.formats import READ, pictures_in
from data.images import TEST_IMAGES, VALIDATION_IMAGES, Image, clipped, load_image, load_pixels, to_grey
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.evaluation.observation import Row
from utils.reporting import pages
from utils.reporting.figures import detail_of, subplots
from utils.running.errors import UserError, script
from utils.running.files import check_folder, is_same_file
from utils.running.provenance import Provenance, digest
from utils.running.settings import Checked, parse_settings, setting
from utils.studies import ours, rivals
from utils.studies.comparison_page import page
from utils.studies.rivals import SEEDS
from utils.studies.study import GOES_ON, Keep, Measured, run_study

NAME = "utils.studies.comparison"
METHODS = {method.key: method for method in (*rivals.methods(), *ours.METHODS)}
DRAWN, DETAIL = "lena", "tab:red"  # with the first seed, as every method restores it


@dataclass(frozen=True)
class Settings(Checked):
    """What is compared."""

    images: str = setting("", "a folder of clean pictures; none: the shipped test images")


class Experiment(NamedTuple):
    """A damage, and the methods of D-LADMM whose wins and losses are counted besides those of the plain command."""

    title: str  # in the tables
    counted: Sequence[str]  # their keys
    damage: str = "salt_and_pepper"
    rates: Sequence[float] = (0.1,)
    colour: bool = False
    clipped: float = 0  # share of the pixels that are made black or white first

    def clean(self, image: str) -> Image:
        """The image, a name in data.images or a path, before it is damaged."""
        loaded = load_image(image, self.colour)
        return clipped(loaded if self.colour else to_grey(loaded), self.clipped)

    def is_for(self, image: str) -> bool:
        """Whether it has colours, if they are asked for, and values between those that become black and white."""
        loaded, ends = load_image(image, colour=True), (self.clipped / 2, 1 - self.clipped / 2)
        black, white = np.quantile(loaded if self.colour else to_grey(loaded), ends)
        return bool(black < white) and (not self.colour or (loaded.ndim == 3 and bool(np.ptp(loaded, axis=2).any())))


RATES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
EXPERIMENTS = {
    "salt_and_pepper": Experiment(
        "10 % salt and pepper", ("noise_rates_4", "noise_rates_8", "detected_4", "detected_8")
    ),
    "random_valued": Experiment(
        "20 % random-valued impulses", ("random_valued_4", "random_valued_8"), "random_valued", (0.2,)
    ),
    "noise_rates": Experiment("Salt and pepper by noise rate", ("noise_rates_4", "detected_4"), rates=RATES),
    "missing_blocks": Experiment("10 % of the squares of 4 x 4 pixels missing", ["missing_blocks_4"], "missing_blocks"),
    "mixed": Experiment(
        "10 % salt and pepper and Gaussian noise of 0.04",
        ("gaussian_and_impulses_4", "gaussian_and_impulses_8"), "gaussian_and_impulses",
    ),
    "colour": Experiment("10 % salt and pepper in every channel", ("supervised_4", "detected_4"), colour=True),
} | {
    f"clipped_{percent}": Experiment(
        f"10 % salt and pepper, {percent} % of the pixels black or white themselves",
        ("noise_rates_8", "detected_8"), clipped=percent / 100,
    )
    for percent in (5, 15, 30)
}  # fmt: skip


def chosen(damage: str, rate: float, key: str, weights: Sequence[float]) -> float:
    """The weight with which a method is best on details of the validation images."""
    clean = [load_image(name)[20:276, 128:384] for name in VALIDATION_IMAGES]
    pairs = [(DAMAGES[damage].corrupt(detail, rate, SEEDS[0]), detail) for detail in clean]
    return rivals.best_weight(lambda weight, noisy: METHODS[key].restorer(damage, weight)(noisy), weights, pairs)


def restored(name: str, damage: str, rate: float, seed: int, image: str, key: str, weight: float | None) -> Row:
    """PSNR, SSIM and seconds of a restored image; of Lena with the first seed, a detail to be drawn."""
    clean = EXPERIMENTS[name].clean(image)
    noisy = DAMAGES[damage].corrupt(clean, rate, seed)
    restore, watch = METHODS[key].restorer(damage, weight), Stopwatch()
    found, seconds = restore(noisy), watch.seconds()
    detail = found[detail_of(DETAIL, found.shape)] if (image, seed) == (DRAWN, SEEDS[0]) else None
    return {"psnr": psnr(found, clean), "ssim": ssim(found, clean), "seconds": seconds, "detail": detail}


def follow(name: str, images: Sequence[str], keep: Keep) -> list[Row]:
    """The rows of an experiment on these images, with the chosen weights."""
    rows, damage, choose, measure_one = [], EXPERIMENTS[name].damage, keep(chosen), keep(restored)
    cases = product(EXPERIMENTS[name].rates, [of for of in METHODS.values() if of.is_for(name, damage)])
    for rate, method in tqdm(list(cases) if images else [], name, unit="method"):
        about, known = {"experiment": name, "corruption": damage, "noise_rate": rate}, method.knowledge(damage)
        weight = choose(damage, rate, method.key, method.weights) if method.weights else None
        for seed, image in product(method.seeds, [image for image in images if image in (method.images or images)]):
            place = {"seed": seed, "image": Path(image).name, "method": method.title}
            figures = measure_one(name, damage, rate, seed, image, method.key, weight)
            rows.append(about | place | known | figures | {"weight": weight})
    return rows


def measure(keep: Keep, images: Sequence[str]) -> Measured:
    """All experiments that have images."""
    rows, drawn = [], {}
    for name, experiment in EXPERIMENTS.items():
        rows += follow(name, [image for image in images if experiment.is_for(image)], keep)
    frame, case = pd.DataFrame(rows), ["experiment", "noise_rate", "method"]
    for name, of_lena in frame.dropna(subset="detail").groupby("experiment", sort=False):
        if len(EXPERIMENTS[name].rates) == 1:
            clean = EXPERIMENTS[name].clean(DRAWN)
            drawn[name] = errors(clean[detail_of(DETAIL, clean.shape)], of_lena.to_dict("records"))
    weights = frame.dropna(subset="weight").drop_duplicates(case)[[*case, "weight"]]
    tables = {"comparison": frame.drop(columns=["detail", "weight"]), "comparison_weights": weights}
    return Measured(tables, drawn)


def errors(clean: Image, rows: Sequence[Row]) -> Figure:
    """The detail of the clean image and of restored ones, in these rows, with the absolute error below."""
    titled = {f"{row['method']}, {row['psnr']:.2f} dB".replace(", ", "\n"): row["detail"] for row in rows}
    titled = {"clean": clean} | titled
    lines = math.ceil(len(titled) / 8)  # of methods, which make the picture about as wide as a slide
    columns = math.ceil(len(titled) / lines)
    figure, axes = subplots(1.6 * columns + 0.8, 3.9 * lines, 2 * lines, columns)
    for axis in axes.flat:
        axis.set_axis_off()
    for place, (title, detail) in enumerate(titled.items()):
        above, below = axes[2 * (place // columns) :, place % columns][:2]
        above.set_title(title, fontsize=7)
        above.imshow(detail, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        error = np.atleast_3d(np.abs(detail - clean)).mean(axis=2)
        shown = below.imshow(error, cmap="magma", vmin=0, vmax=0.1, interpolation="nearest")
    figure.colorbar(shown, ax=axes[1::2], label="absolute error", shrink=0.8)
    return figure


def show(tables: Mapping[str, pd.DataFrame], made_by: Provenance) -> pages.Page:
    """See utils.reporting.pages."""
    sections = {}
    for name, of in EXPERIMENTS.items():
        sections[name] = of.title, [METHODS[key].title for key in ("plain", *of.counted) if key in METHODS]
    return page(tables["comparison"], tables["comparison_weights"], sections, made_by["settings"].get("images", ""))


def networks_for(images: Sequence[str]) -> dict[str, bytes]:
    """The files of all networks that restore these images, or any, by their names; they have to be there."""
    methods = [of for of in METHODS.values() if not of.images or set(of.images) & set(images)]
    files = sorted({file for method in methods for file in method.networks})
    for file in files:
        if not (rivals.CHECKPOINTS / file).exists():
            command = "-m utils.studies.networks" if "/" in file else "main_lena.py"
            raise UserError(f"{rivals.CHECKPOINTS / file} is not there; `python {command}` trains it")
    return {file: (rivals.CHECKPOINTS / file).read_bytes() for file in files}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all experiments and writes their tables and pictures."""
    name = parse_settings(Settings, __doc__, argv).images
    settings: dict[str, Any] = {"weights": {of.key: of.weights for of in METHODS.values() if of.weights}}
    with script(GOES_ON):
        inputs, images, folder = networks_for(() if name else TEST_IMAGES), TEST_IMAGES, None
        if name:
            images, folder = pictures_in(name), check_folder(pages.RESULTS / Path(name).resolve().name)
            if not images:
                raise UserError(f"images are {name!r}; allowed: a folder with pictures ({' '.join(READ)})")
            if is_same_file(folder, pages.RESULTS) or is_same_file(folder, name):
                where = f"images are {name!r}, and results would go to {str(folder)!r}"
                raise UserError(f"{where}; allowed: another folder")
            settings["images"] = folder.name
            inputs |= {Path(image).name: digest(load_pixels(image).tobytes()).encode() for image in images}
        run_study(NAME, folder, settings, inputs, "auto", images=list(images))


if __name__ == "__main__":
    main()
