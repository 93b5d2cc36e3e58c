"""Compares D-LADMM with filters, total variation, inpainting and LADMM on corruptions, images and noise rates.

`python -m utils.comparison` restores with the trained networks in the checkpoint folder, trains nothing, and writes
results/comparison.csv and .md, and a figure for each experiment below. The seed of every corruption is SEED. Weights of
the other methods are chosen on the validation images, which no row shows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import median_filter
from skimage.restoration import denoise_tv_chambolle, inpaint_biharmonic
from tqdm import tqdm

from data.corruption import CORRUPTIONS
from data.dictionary import load_dictionary
from data.images import TEST_IMAGES, VALIDATION_IMAGES, load_image
from data.patches import PatchGrid
from data.positions import Weigh, extremes
from models import Problem
from utils import figures
from utils.checkpoints import load_network
from utils.evaluation import solve_to_convergence
from utils.files import all_or_nothing
from utils.observation import Observation, Stopwatch, psnr, ssim
from utils.provenance import Run, digest
from utils.restore import restored_bands
from utils.script import script
from utils.tables import ComparisonRecord, Knowledge, comparison_markdown, write_csv
from utils.training import TRAININGS

SEED = 1126
CHECKPOINTS, RESULTS, CPU = Path("checkpoints"), Path("results"), torch.device("cpu")
BETA, TOLERANCE, ITERATIONS = 3.0, 0.01, 2000  # of LADMM, as in main_lena.py
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2)  # of LADMM, from which the validation images choose
TV_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # likewise
RATES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
BLIND, POSITIONS_KNOWN = Knowledge(), Knowledge(corrupted_positions="yes")

Restore = Callable[[np.ndarray], np.ndarray]  # noisy image -> restored image, values in [0, 1]


class Method(NamedTuple):
    """A way to restore an image, what it knows besides that image, and the images that it is for."""

    name: str
    knows: Knowledge
    restore: Restore
    images: Sequence[str] = TEST_IMAGES


class Case(NamedTuple):
    """A corruption at a rate."""

    corruption: str
    rate: float

    def corrupt(self, image: np.ndarray) -> np.ndarray:
        """The corrupted image."""
        return CORRUPTIONS[self.corruption](image, self.rate, SEED)

    def best(self, restore: Callable[..., np.ndarray], weights: Sequence[float]) -> Restore:
        """restore(weight, noisy) with the weight of the highest PSNR, in the mean over details of validation images."""
        details = [load_image(name)[20:276, 128:384] for name in VALIDATION_IMAGES]

        def quality(weight: float) -> float:
            return sum(psnr(restore(weight, self.corrupt(clean)), clean) for clean in details)

        weight = max(weights, key=quality)
        tqdm.write(f"{self.corruption}, {self.rate:g}: {restore.__name__} has the weight {weight:g}")
        return partial(restore, weight)


def median(size: int, noisy: np.ndarray) -> np.ndarray:
    """The median of the square of that side around each pixel."""
    return median_filter(noisy, size=size, axes=(0, 1))


def median_of_extremes(noisy: np.ndarray) -> np.ndarray:
    """The 3 x 3 median where the image is black or white, and the image elsewhere."""
    return np.where(extremes(noisy) == 0, median(3, noisy), noisy)


def inpaint_extremes(noisy: np.ndarray) -> np.ndarray:
    """scikit-image's biharmonic inpainting where the image is black or white."""
    return inpaint_biharmonic(noisy, extremes(noisy) == 0).clip(0, 1).astype(np.float32)


def total_variation(weight: float, noisy: np.ndarray) -> np.ndarray:
    """scikit-image's total variation denoising."""
    return denoise_tv_chambolle(noisy, weight).clip(0, 1).astype(np.float32)


def converged_ladmm(alpha: float, noisy: np.ndarray, stride: int = 16) -> np.ndarray:
    """LADMM until its gap is at most a hundredth of the objective, by default on patches that do not overlap."""
    return _ladmm(Observation(noisy, PatchGrid(noisy.shape, 16, stride), CPU), alpha)


def converged_ladmm_of_extremes(alpha: float, noisy: np.ndarray) -> np.ndarray:
    """The same where black and white are known to be corrupted; only they are replaced."""
    return _ladmm(Observation(noisy, PatchGrid(noisy.shape, 16, 16), CPU, extremes, "corrupted"), alpha)


def _ladmm(observation: Observation, alpha: float) -> np.ndarray:
    problem = Problem(load_dictionary(), alpha).weighted(observation.X_weights)
    return observation.image_of(solve_to_convergence(problem, observation.X, BETA, TOLERANCE, ITERATIONS))


def filters() -> list[Method]:
    """Filters, which learn nothing and have no weight to choose."""
    return [
        Method("noisy", BLIND, lambda noisy: noisy),
        Method("3 x 3 median", BLIND, partial(median, 3)),
        Method("5 x 5 median", BLIND, partial(median, 5)),
        Method("3 x 3 median where 0 or 1", POSITIONS_KNOWN, median_of_extremes),
    ]


def networks(
    name: str,
    folder: str,
    strides: Sequence[int],
    training: str = "supervised",
    weigh: Weigh | None = None,
    **only: Sequence[str],
) -> list[Method]:
    """D-LADMM, d = 15, as it was trained into a folder of checkpoints, with each stride; none if it is not there.

    Where positions are known, only the pixels there are replaced.
    """
    path = CHECKPOINTS / folder / "dladmm_d15.pt"
    if not path.exists():
        tqdm.write(f"{path} is not there and left out; README.md says how to train it")
        return []
    network = load_network(path)

    def restore(stride: int, noisy: np.ndarray) -> np.ndarray:
        grid, pixels = PatchGrid(noisy.shape, 16, stride), torch.from_numpy(noisy)
        weights, replaced = (None, "all") if weigh is None else (torch.from_numpy(weigh(noisy)), "corrupted")
        return torch.cat(list(restored_bands(network, grid, pixels, weights, replaced))).numpy()

    knows = replace(TRAININGS[training].knows, corrupted_positions="no" if weigh is None else "yes")
    return [Method(f"D-LADMM, {name}, stride {each}", knows, partial(restore, each), **only) for each in strides]


def salt_and_pepper_methods(case: Case) -> list[Method]:
    """What the salt and pepper of the paper is restored with."""
    return [
        *filters(),
        Method("total variation", BLIND, case.best(total_variation, TV_WEIGHTS)),
        Method("biharmonic inpainting", POSITIONS_KNOWN, inpaint_extremes),
        Method("LADMM to convergence, stride 16", BLIND, case.best(converged_ladmm, ALPHAS)),
        Method(
            "LADMM to convergence, positions, stride 16",
            POSITIONS_KNOWN,
            case.best(converged_ladmm_of_extremes, ALPHAS),
        ),
        *salt_and_pepper_networks(),
    ]


def salt_and_pepper_networks() -> list[Method]:
    """Trained on the noisy Lena, on clean patches of other images, and on those with known positions."""
    return [
        *networks("unsupervised", ".", (16,), "unsupervised", images=("lena",)),
        *networks("supervised", "supervised", (16, 4)),
        *networks("trained at 1 to 50 %", "noise_rates", (16, 4)),
        *networks_with_positions((16, 4)),
    ]


def networks_with_positions(strides: Sequence[int]) -> list[Method]:
    """Trained on clean patches of other images, with salt and pepper at known positions."""
    return networks("positions, trained at 1 to 50 %", "positions", strides, weigh=extremes)


def random_valued_methods(case: Case) -> list[Method]:
    """What impulses of any grey value are restored with, whose positions nobody can read off."""
    ladmm = case.best(converged_ladmm, ALPHAS)
    return [
        *filters(),
        Method("total variation", BLIND, case.best(total_variation, TV_WEIGHTS)),
        Method("LADMM to convergence, stride 16", BLIND, ladmm),
        Method("LADMM to convergence, stride 8", BLIND, partial(ladmm, stride=8)),
        *random_valued_networks(),
    ]


def random_valued_networks() -> list[Method]:
    """Trained on clean patches of other images."""
    return networks("supervised", "random_valued", (16, 8, 4))


def rate_methods(case: Case) -> list[Method]:
    """Networks trained at 10 %, at all rates and at this very rate, and with known positions, beside the others."""
    at_rate = "supervised" if case.rate == 0.1 else f"rate_{case.rate:g}"
    return [
        *filters(),
        Method("biharmonic inpainting", POSITIONS_KNOWN, inpaint_extremes),
        *networks("trained at 10 %", "supervised", (16,)),
        *networks("trained at 1 to 50 %", "noise_rates", (16,)),
        *networks("trained at each rate", at_rate, (16,)),
        *networks_with_positions((16,)),
    ]


def missing_blocks_methods(case: Case) -> list[Method]:
    """What fills black blocks; the network was trained with single pixels missing."""
    return [
        *filters(),
        Method("biharmonic inpainting", POSITIONS_KNOWN, inpaint_extremes),
        *networks_with_positions((16, 4)),
    ]


def colour_methods(case: Case) -> list[Method]:
    """The filters and the supervised network, which restores each channel by itself."""
    methods = [*filters(), *networks("supervised", "supervised", (4,))]
    return [method._replace(images=[name for name in TEST_IMAGES if name != "coins"]) for method in methods]


class Experiment(NamedTuple):
    """A corruption at some rates, and the methods for each of them."""

    title: str
    corruption: str
    rates: Sequence[float]
    methods: Callable[[Case], list[Method]]
    colour: bool = False


EXPERIMENTS = {
    "salt_and_pepper": Experiment("10 % salt and pepper", "salt_and_pepper", (0.1,), salt_and_pepper_methods),
    "random_valued": Experiment("20 % random-valued impulses", "random_valued", (0.2,), random_valued_methods),
    "noise_rates": Experiment("Salt and pepper by noise rate", "salt_and_pepper", RATES, rate_methods),
    "missing_blocks": Experiment(
        "10 % of the squares of 4 x 4 pixels missing", "missing_blocks", (0.1,), missing_blocks_methods
    ),
    "colour": Experiment("10 % salt and pepper in every channel", "salt_and_pepper", (0.1,), colour_methods, True),
}


def run(name: str, experiment: Experiment) -> Iterator[tuple[ComparisonRecord, np.ndarray]]:
    """Yields what every method makes of every test image, row and image."""
    for rate in experiment.rates:
        case = Case(experiment.corruption, rate)
        for method in tqdm(experiment.methods(case), f"{name}, {rate:g}", unit="method"):
            for image in method.images:
                clean = load_image(image, experiment.colour)
                noisy = case.corrupt(clean)
                watch = Stopwatch()
                restored = method.restore(noisy)
                seconds = watch.seconds()
                quality = {"psnr": psnr(restored, clean), "ssim": ssim(restored, clean)}
                record = ComparisonRecord(
                    name, case.corruption, rate, image, method.name, method.knows, **quality, seconds=seconds
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
        else:
            of_lena = {
                f"{r.method}, {r.psnr:.2f} dB".replace(", ", "\n"): image for r, image in found if r.image == "lena"
            }
            curves[name] = figures.errors(load_image("lena", experiment.colour), of_lena)
    titles = {name: experiment.title for name, experiment in EXPERIMENTS.items()}
    chosen = {"seed": SEED, "beta": BETA, "tolerance": TOLERANCE, "iterations": ITERATIONS, "alphas": ALPHAS}
    trained = {path.parent.name: digest(path.read_bytes()) for path in sorted(CHECKPOINTS.rglob("dladmm_d15.pt"))}
    made_by = Run(chosen | {"total variation": TV_WEIGHTS, "rates": RATES, "networks": trained})
    markdown = f"{comparison_markdown(records, titles)}\n{made_by.as_markdown()}"
    with all_or_nothing(RESULTS) as results:
        write_csv(records, results / "comparison.csv", made_by.name)
        (results / "comparison.md").write_text(markdown, encoding="utf-8")
        for name, figure in curves.items():
            figure.savefig(results / f"{name}.png", metadata={"Description": made_by.as_json()})


if __name__ == "__main__":
    with script():
        main()
