"""Compares D-LADMM with filters, total variation, inpainting and LADMM on corruptions, images and noise rates.

`python -m utils.comparison` restores with the trained networks in the checkpoint folder, some of which learn on each
noisy image first, and writes results/comparison.csv and .md, and a figure for each experiment below. The seed of every
corruption is utils.methods.SEED. No row shows an image that a choice was made with.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data.images import clipped, load_image
from utils import methods
from utils.evaluation import rivals
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.evaluation.records import ComparisonRecord
from utils.methods import Case, Method
from utils.reporting import figures
from utils.reporting.markdown import comparison_markdown
from utils.reporting.tables import write_csv
from utils.running.checkpoints import SUFFIX
from utils.running.errors import script
from utils.running.files import all_or_nothing
from utils.running.provenance import Run, digest

RESULTS = Path("results")
RATES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5)


class Experiment(NamedTuple):
    """A corruption at some rates, and the methods for each of them."""

    title: str
    corruption: str
    rates: Sequence[float]
    pick_methods: Callable[[Case], list[Method]]
    colour: bool = False
    clipped: float = 0  # share of the pixels that are made black or white, see data.images.clipped

    def clean(self, image: str) -> np.ndarray:
        """The test image of that name, before it is corrupted."""
        return clipped(load_image(image, self.colour), self.clipped)


EXPERIMENTS = {
    "salt_and_pepper": Experiment("10 % salt and pepper", "salt_and_pepper", (0.1,), methods.salt_and_pepper),
    "random_valued": Experiment("20 % random-valued impulses", "random_valued", (0.2,), methods.random_valued),
    "noise_rates": Experiment("Salt and pepper by noise rate", "salt_and_pepper", RATES, methods.rate),
    "missing_blocks": Experiment(
        "10 % of the squares of 4 x 4 pixels missing", "missing_blocks", (0.1,), methods.missing_blocks
    ),
    "mixed": Experiment(
        "10 % salt and pepper and Gaussian noise of 0.04", "gaussian_and_impulses", (0.1,), methods.mixed
    ),
    "colour": Experiment("10 % salt and pepper in every channel", "salt_and_pepper", (0.1,), methods.colour, True),
}
for percent in (5, 15, 30):
    title, share = f"10 % salt and pepper, {percent} % of the pixels black or white themselves", percent / 100
    EXPERIMENTS[f"clipped_{percent}"] = Experiment(title, "salt_and_pepper", (0.1,), methods.clipped, clipped=share)


def run(name: str, experiment: Experiment) -> Iterator[tuple[ComparisonRecord, np.ndarray]]:
    """Yields the row and the restored image of every method and every test image."""
    for rate in experiment.rates:
        case = Case(experiment.corruption, rate)
        for method in tqdm(experiment.pick_methods(case), f"{name}, {rate:g}", unit="method"):
            for image in method.images:
                clean = experiment.clean(image)
                noisy = case.corrupt(clean)
                watch = Stopwatch()
                restored = method.restore(noisy)
                seconds = watch.seconds()
                quality = {"psnr": psnr(restored, clean), "ssim": ssim(restored, clean)}
                record = ComparisonRecord(
                    name, case.corruption, rate, image, method.name, method.side_information, **quality, seconds=seconds
                )
                yield record, restored


def main() -> None:
    """Runs all experiments and writes their tables and figures."""
    records, curves = [], {}
    for name, experiment in EXPERIMENTS.items():
        found = list(run(name, experiment))
        rows = [record for record, _ in found]
        records += rows
        if len(experiment.rates) > 1:
            curves[name] = figures.noise_rates(rows)
            continue
        lena = [(f"{r.method}, {r.psnr:.2f} dB".replace(", ", "\n"), image) for r, image in found if r.image == "lena"]
        curves[name] = figures.errors(experiment.clean("lena"), dict(lena))
    titles = {name: experiment.title for name, experiment in EXPERIMENTS.items()}
    chosen = {
        "seed": methods.SEED,
        "beta": rivals.BETA,
        "tolerance": rivals.TOLERANCE,
        "iterations": rivals.MAX_ITERATIONS,
    }
    files = sorted(methods.CHECKPOINTS.rglob(f"{methods.NETWORK}*{SUFFIX}"))
    trained = {path.relative_to(methods.CHECKPOINTS).as_posix(): digest(path.read_bytes()) for path in files}
    made_by = Run(
        chosen | {"alphas": methods.ALPHAS, "total variation": methods.TV_WEIGHTS, "rates": RATES, "networks": trained},
        command="utils.comparison",
    )
    markdown = f"{comparison_markdown(records, titles)}\n{made_by.as_markdown()}"
    with all_or_nothing(RESULTS) as (results,):
        write_csv(records, results / "comparison.csv", made_by.name)
        (results / "comparison.md").write_text(markdown, encoding="utf-8")
        for name, figure in curves.items():
            figure.savefig(results / f"{name}.png", metadata={"Description": made_by.as_json()})


if __name__ == "__main__":
    with script():
        main()
