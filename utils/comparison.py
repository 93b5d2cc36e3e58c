"""Compares D-LADMM with other methods, see utils.rivals, on corruptions, images, noise rates and noise seeds.

`python -m utils.comparison` restores with the trained networks in the checkpoint folder, some of which learn on each
noisy image first, and writes results/comparison.csv and .md, and a figure for each experiment below. The seeds of
the corruptions are utils.methods.SEEDS. No row shows an image that a choice was made with.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from data.images import clipped, load_image
from utils import methods
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.evaluation.records import ComparisonRecord
from utils.methods import Case, Method
from utils.networks import NETWORKS
from utils.reporting import figures
from utils.reporting.comparison import comparison_markdown
from utils.reporting.experiments import Report, run_experiment
from utils.rivals import classical
from utils.running.checkpoints import SUFFIX
from utils.running.errors import UserError
from utils.running.provenance import digest

RATES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5)


class Experiment(NamedTuple):
    """A corruption at some rates, the methods for each of them, and those whose wins and losses are counted."""

    title: str
    corruption: str
    rates: Sequence[float]
    pick_methods: Callable[[Case], list[Method]]
    ours: Sequence[str]
    colour: bool = False
    clipped: float = 0  # share of the pixels that are made black or white, see data.images.clipped

    def clean(self, image: str) -> np.ndarray:
        """The test image of that name, before it is corrupted."""
        return clipped(load_image(image, self.colour), self.clipped)


BLIND, DETECTED = "D-LADMM, trained at 1 to 50 %", "D-LADMM, detected positions, trained at 1 to 50 %"
EXPERIMENTS = {
    "salt_and_pepper": Experiment(
        "10 % salt and pepper",
        "salt_and_pepper",
        (0.1,),
        methods.salt_and_pepper,
        (f"{BLIND}, stride 4", f"{BLIND}, stride 8", f"{DETECTED}, stride 4", f"{DETECTED}, stride 8"),
    ),
    "random_valued": Experiment(
        "20 % random-valued impulses",
        "random_valued",
        (0.2,),
        methods.random_valued,
        ("D-LADMM, supervised, stride 4", "D-LADMM, supervised, stride 8"),
    ),
    "noise_rates": Experiment(
        "Salt and pepper by noise rate",
        "salt_and_pepper",
        RATES,
        methods.rate,
        (f"{BLIND}, stride 4", f"{DETECTED}, stride 4"),
    ),
    "missing_blocks": Experiment(
        "10 % of the squares of 4 x 4 pixels missing",
        "missing_blocks",
        (0.1,),
        methods.missing_blocks,
        ("D-LADMM, blocks of 2 to 30 %, stride 4",),
    ),
    "mixed": Experiment(
        "10 % salt and pepper and Gaussian noise of 0.04",
        "gaussian_and_impulses",
        (0.1,),
        methods.mixed,
        ("D-LADMM, trained at 2 to 30 %, stride 4", "D-LADMM, trained at 2 to 30 %, stride 8"),
    ),
    "colour": Experiment(
        "10 % salt and pepper in every channel",
        "salt_and_pepper",
        (0.1,),
        methods.colour,
        ("D-LADMM, supervised, stride 4", f"{DETECTED}, stride 4"),
        colour=True,
    ),
}
for percent in (5, 15, 30):
    EXPERIMENTS[f"clipped_{percent}"] = Experiment(
        f"10 % salt and pepper, {percent} % of the pixels black or white themselves",
        "salt_and_pepper",
        (0.1,),
        methods.clipped,
        (f"{BLIND}, stride 8", f"{DETECTED}, stride 8"),
        clipped=percent / 100,
    )


class Found(NamedTuple):
    """The rows of an experiment, its figure, and the weights that were chosen, by method and noise rate."""

    rows: list[ComparisonRecord]
    figure: Figure
    weights: dict[tuple[str, float], float]


def run(name: str, experiment: Experiment) -> Iterator[tuple[ComparisonRecord, np.ndarray, float | None]]:
    """Yields the row and the restored image of every method, test image and noise seed, and the method's weight."""
    for rate in experiment.rates:
        case = Case(experiment.corruption, rate)
        for method in tqdm(experiment.pick_methods(case), f"{name}, {rate:g}", unit="method"):
            for seed, image in product(method.seeds, method.images):
                clean = experiment.clean(image)
                noisy = case.corrupt(clean, seed)
                watch = Stopwatch()
                restored = method.restore(noisy)
                row = {"seconds": watch.seconds(), "psnr": psnr(restored, clean), "ssim": ssim(restored, clean)}
                row |= {"method": method.name, "side_information": method.side_information}
                yield ComparisonRecord(name, case.corruption, rate, seed, image, **row), restored, method.weight


def follow(name: str, experiment: Experiment) -> Found:
    """Runs an experiment. Its figure: curves over the rates, or Lena as every method restores it."""
    rows, pictures, weights = [], {}, {}
    for row, restored, weight in run(name, experiment):
        rows.append(row)
        if weight is not None:
            weights[row.method, row.noise_rate] = weight
        if (row.image, row.seed) == ("lena", methods.SEEDS[0]):
            pictures[f"{row.method}, {row.psnr:.2f} dB".replace(", ", "\n")] = restored
    if len(experiment.rates) > 1:
        return Found(rows, figures.noise_rates(rows), weights)
    return Found(rows, figures.errors(experiment.clean("lena"), pictures), weights)


def check_networks() -> None:
    """Looks for the networks of the table, before any work.

    Raises:
        UserError: one is not in the checkpoint folder.
    """
    trained = {f"{name}/{training.file}": "-m utils.networks" for name, training in NETWORKS.items()}
    trained |= {f"{methods.NETWORK}{end}{SUFFIX}": "main_lena.py" for end in ("", "_self_supervised")}
    for file, command in trained.items():
        if not (methods.CHECKPOINTS / file).exists():
            raise UserError(f"{methods.CHECKPOINTS / file} is not there; `python {command}` trains it")


def settings() -> dict[str, Any]:
    """What the results depend on: constants of the methods, and the networks in the checkpoint folder."""
    files = sorted(methods.CHECKPOINTS.rglob(f"*{SUFFIX}"))
    return {
        "seeds": methods.SEEDS,
        "beta": classical.BETA,
        "tolerance": classical.TOLERANCE,
        "iterations": classical.MAX_ITERATIONS,
        "alphas": methods.ALPHAS,
        "total variation": methods.TV_WEIGHTS,
        "centre-weighted median": methods.SCALES,
        "non-local means": methods.SMOOTHING,
        "rates": RATES,
        "networks": {path.relative_to(methods.CHECKPOINTS).as_posix(): digest(path.read_bytes()) for path in files},
    }


def compare() -> Report:
    """Runs all experiments."""
    check_networks()
    found = {name: follow(name, experiment) for name, experiment in EXPERIMENTS.items()}
    records = [record for part in found.values() for record in part.rows]
    titles, ours = ({name: getattr(e, part) for name, e in EXPERIMENTS.items()} for part in ("title", "ours"))
    weights, curves = ({name: getattr(f, part) for name, f in found.items()} for part in ("weights", "figure"))
    return Report(comparison_markdown(records, titles, ours, weights), {"comparison": records}, curves)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all experiments and writes their tables and figures."""
    run_experiment("utils.comparison", __doc__, settings(), compare, argv, compiled=True)


if __name__ == "__main__":
    main()
