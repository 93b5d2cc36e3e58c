"""Compares D-LADMM with filters, total variation, inpainting and LADMM on corruptions, images and noise rates.

`python -m utils.comparison` restores with the trained networks in the checkpoint folder, trains nothing, and writes
results/comparison.csv and .md, and a figure for each experiment below. The seed of every corruption is SEED. Weights of
the other methods are chosen on the validation images, which no row shows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from data.corruption import CORRUPTIONS
from data.images import TEST_IMAGES, VALIDATION_IMAGES, load_image
from data.masks import FindMask, black, extremes
from utils.evaluation import rivals
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.evaluation.records import ComparisonRecord, SideInformation
from utils.evaluation.restoration import grid_for, restored_bands
from utils.reporting import figures
from utils.reporting.markdown import comparison_markdown
from utils.reporting.tables import write_csv
from utils.running.checkpoints import SUFFIX, load_network, load_settings
from utils.running.errors import script
from utils.running.files import all_or_nothing
from utils.running.provenance import Run, digest
from utils.training.sources import TRAININGS

SEED = 1126
CHECKPOINTS, RESULTS, NETWORK = Path("checkpoints"), Path("results"), "dladmm_d15"
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2)  # of LADMM, from which the validation images choose
TV_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # likewise
RATES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
BLIND, POSITIONS_KNOWN = SideInformation(), SideInformation(known_positions="yes")

Restore = Callable[[np.ndarray], np.ndarray]  # noisy image -> restored image, values in [0, 1]


class Method(NamedTuple):
    """A way to restore an image, what it is given besides that image, and the images that it is for."""

    name: str
    side_information: SideInformation
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
        """restore(weight, noisy) with the weight of the highest mean PSNR over details of the validation images."""
        details = [load_image(name)[20:276, 128:384] for name in VALIDATION_IMAGES]

        def quality(weight: float) -> float:
            return sum(psnr(restore(weight, self.corrupt(clean)), clean) for clean in details)

        weight = max(weights, key=quality)
        tqdm.write(f"{self.corruption}, {self.rate:g}: {restore.__name__} has the weight {weight:g}")
        return partial(restore, weight)


def filters(find_mask: FindMask = extremes) -> list[Method]:
    """Filters, which learn nothing and have no weight to choose; the last one is told the corrupted pixels."""
    return [
        Method("noisy", BLIND, lambda noisy: noisy),
        Method("3 x 3 median", BLIND, partial(rivals.median, 3)),
        Method("5 x 5 median", BLIND, partial(rivals.median, 5)),
        Method("3 x 3 median where 0 or 1", POSITIONS_KNOWN, partial(rivals.median_of_extremes, find_mask=find_mask)),
    ]


def networks(
    name: str, file: str, strides: Sequence[int], find_mask: FindMask | None = None, **only: Sequence[str]
) -> list[Method]:
    """D-LADMM, d = 15, from a file in the folder of checkpoints, with each stride; none if it is not there.

    Where positions are known, only the corrupted pixels are replaced.
    """
    path = CHECKPOINTS / f"{file}{SUFFIX}"
    if not path.exists():
        tqdm.write(f"{path} is not there and left out")
        return []
    network, settings = load_network(path), SimpleNamespace(**({"training_images": "shipped"} | load_settings(path)))

    def restore(stride: int, noisy: np.ndarray) -> np.ndarray:
        grid, pixels = grid_for(network, noisy.shape, stride), torch.from_numpy(noisy)
        mask, replaced = (None, "all") if find_mask is None else (torch.from_numpy(find_mask(noisy)), "corrupted")
        return torch.cat(list(restored_bands(network, grid, pixels, mask, replaced))).numpy()

    told = TRAININGS[settings.training].side_information(settings)
    told = replace(told, known_positions="no" if find_mask is None else "yes")
    return [Method(f"D-LADMM, {name}, stride {stride}", told, partial(restore, stride), **only) for stride in strides]


def salt_and_pepper_methods(case: Case) -> list[Method]:
    """The methods for the salt and pepper of the paper."""
    return [
        *filters(),
        Method("total variation", BLIND, case.best(rivals.total_variation, TV_WEIGHTS)),
        Method("biharmonic inpainting", POSITIONS_KNOWN, rivals.inpaint_extremes),
        Method("LADMM to convergence, stride 16", BLIND, case.best(rivals.converged_ladmm, ALPHAS)),
        Method(
            "LADMM to convergence, positions, stride 16",
            POSITIONS_KNOWN,
            case.best(rivals.converged_ladmm_of_extremes, ALPHAS),
        ),
        *salt_and_pepper_networks(),
    ]


def salt_and_pepper_networks() -> list[Method]:
    """Trained on the noisy Lena, on clean patches of other images, and on those with known positions."""
    return [
        *networks("unsupervised", NETWORK, (16,), images=("lena",)),
        *networks("self-supervised", f"{NETWORK}_self_supervised", (16, 4), images=("lena",)),
        *networks("supervised", f"supervised/{NETWORK}", (16, 4)),
        *networks("trained at 1 to 50 %", f"noise_rates/{NETWORK}", (16, 4)),
        *networks_with_positions((16, 4)),
    ]


def networks_with_positions(strides: Sequence[int], find_mask: FindMask = extremes) -> list[Method]:
    """Trained on clean patches of other images, with salt and pepper at known positions."""
    return networks("positions, trained at 1 to 50 %", f"positions/{NETWORK}", strides, find_mask)


def random_valued_methods(case: Case) -> list[Method]:
    """The methods for impulses of any grey value, whose positions are unknown."""
    ladmm = case.best(rivals.converged_ladmm, ALPHAS)
    return [
        *filters(),
        Method("total variation", BLIND, case.best(rivals.total_variation, TV_WEIGHTS)),
        Method("LADMM to convergence, stride 16", BLIND, ladmm),
        Method("LADMM to convergence, stride 8", BLIND, partial(ladmm, stride=8)),
        *random_valued_networks(),
    ]


def random_valued_networks() -> list[Method]:
    """Trained on clean patches of other images."""
    return networks("supervised", f"random_valued/{NETWORK}", (16, 8, 4))


def rate_methods(case: Case) -> list[Method]:
    """Networks trained at 10 %, at all rates, at this rate, and with known positions, beside the other methods."""
    at_rate = "supervised" if case.rate == 0.1 else f"rate_{case.rate:g}"
    return [
        *filters(),
        Method("biharmonic inpainting", POSITIONS_KNOWN, rivals.inpaint_extremes),
        *networks("trained at 10 %", f"supervised/{NETWORK}", (16,)),
        *networks("trained at 1 to 50 %", f"noise_rates/{NETWORK}", (16,)),
        *networks("trained at each rate", f"{at_rate}/{NETWORK}", (16,)),
        *networks_with_positions((16,)),
    ]


def missing_blocks_methods(case: Case) -> list[Method]:
    """The methods that fill black blocks. The network was trained with single pixels missing."""
    return [
        *filters(black),
        Method("biharmonic inpainting", POSITIONS_KNOWN, partial(rivals.inpaint_extremes, find_mask=black)),
        *networks_with_positions((16, 4), black),
    ]


def colour_methods(case: Case) -> list[Method]:
    """The filters and the supervised network, which restores each channel by itself."""
    methods = [*filters(), *networks("supervised", f"supervised/{NETWORK}", (4,))]
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
    """Yields the row and the restored image of every method and every test image."""
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
        else:
            of_lena = {
                f"{r.method}, {r.psnr:.2f} dB".replace(", ", "\n"): image for r, image in found if r.image == "lena"
            }
            curves[name] = figures.errors(load_image("lena", experiment.colour), of_lena)
    titles = {name: experiment.title for name, experiment in EXPERIMENTS.items()}
    chosen = {"seed": SEED, "beta": rivals.BETA, "tolerance": rivals.TOLERANCE, "iterations": rivals.MAX_ITERATIONS}
    files = sorted(CHECKPOINTS.rglob(f"{NETWORK}*{SUFFIX}"))
    trained = {path.relative_to(CHECKPOINTS).as_posix(): digest(path.read_bytes()) for path in files}
    made_by = Run(chosen | {"alphas": ALPHAS, "total variation": TV_WEIGHTS, "rates": RATES, "networks": trained})
    markdown = f"{comparison_markdown(records, titles)}\n{made_by.as_markdown()}"
    with all_or_nothing(RESULTS) as (results,):
        write_csv(records, results / "comparison.csv", made_by.name)
        (results / "comparison.md").write_text(markdown, encoding="utf-8")
        for name, figure in curves.items():
            figure.savefig(results / f"{name}.png", metadata={"Description": made_by.as_json()})


if __name__ == "__main__":
    with script():
        main()
