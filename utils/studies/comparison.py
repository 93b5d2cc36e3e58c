"""Compares D-LADMM with other methods, see utils.studies.rivals, on corruptions, images, noise rates and noise seeds.

`python -m utils.studies.comparison` restores with the trained networks in the checkpoint folder, some of which learn on
each noisy image first, and writes results/comparison.csv and .md, and a figure for each experiment below. The seeds of
the corruptions are utils.studies.methods.SEEDS. No row shows an image that a choice was made with. `--images FOLDER`
takes the clean pictures in a folder instead, and has networks learn on each of them as well, as in the paper; tables go
to results/FOLDER/. The same command goes on after an interruption.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import median_filter
from tqdm import tqdm

from data.images import TEST_IMAGES, clipped, load_image, to_grey
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.running.checkpoints import SUFFIX
from utils.running.errors import UserError, script
from utils.running.settings import parse_settings, setting
from utils.studies import methods, networks, pictures
from utils.studies.comparison_figures import curves, errors
from utils.studies.comparison_tables import ABOUT, OF_LENA, Compared, ComparisonRecord, readme_tables, section
from utils.studies.kept import Keep, fresh
from utils.studies.methods import LENAS_OWN, NETWORK, SEEDS, Baseline, Case, Method, Network, PlainCommand, TrainedCNN
from utils.studies.rivals import classical
from utils.studies.rivals.medians import impulses, switching_median
from utils.studies.study import Report, constants, run_study

COMMAND = "utils.studies.comparison"
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7)  # of LADMM, from which the validation images choose
TV_WEIGHTS = (0.6, 0.8, 1.0, 1.2, 1.5, 1.8, 2.2, 2.7)  # of the data term, likewise
SMOOTHING = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)  # of non-local means, likewise
RATES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
MEDIANS = (
    Baseline("noisy", lambda noisy: noisy),
    Baseline("3 x 3 median", partial(median_filter, size=3)),
    Baseline("5 x 5 median", partial(median_filter, size=5)),
)
FILTERS = (*MEDIANS, Baseline("adaptive switching median", switching_median, positions=True))
CENTRE_WEIGHTED = (
    Baseline("adaptive centre-weighted median", lambda scale, noisy: impulses(scale, noisy)[0], methods.SCALES),
    Baseline("its detector, biharmonic inpainting", classical.inpainted_impulses, methods.SCALES),
)
VARIATION = Baseline("total variation, ℓ1 data term", classical.total_variation, TV_WEIGHTS)
INPAINTING = Baseline("biharmonic inpainting", classical.inpainted, positions=True)
SMOOTHED = Baseline("biharmonic inpainting, non-local means", classical.inpainted_and_smoothed, SMOOTHING, True)
LADMM = [
    Baseline(f"LADMM to convergence, stride {stride}", partial(classical.converged_ladmm, stride=stride), ALPHAS)
    for stride in (16, 8)
]
LADMM_WITH_POSITIONS = [replace(of, name=of.name.replace(",", ", positions,"), positions=True) for of in LADMM]
CNNS = TrainedCNN("residual CNN"), TrainedCNN("residual CNN, four times the epochs", "_four_times")
PLAIN = PlainCommand()
AT_ONE_RATE = partial(Network, "trained at 10 %", f"supervised/{NETWORK}")
AT_ALL_RATES = partial(Network, "trained at 1 to 50 %", f"noise_rates/{NETWORK}")
WITH_POSITIONS = partial(Network, "positions, trained at 1 to 50 %", f"positions/{NETWORK}", positions="yes")
WITH_DETECTOR = partial(
    Network, "detected positions, trained at 1 to 50 %", f"positions/{NETWORK}", positions="detected"
)

SALT_AND_PEPPER = Case("salt_and_pepper", 0.1)


@dataclass(frozen=True)
class Settings:
    """What is compared."""

    images: str = setting("", "a folder of clean pictures; none: the shipped test images")


@dataclass(frozen=True)
class Experiment:
    """A corruption, and what is compared on it.

    Attributes:
        title: in the tables.
        compared: methods by their names in the tables, or networks of D-LADMM.
        cases: the corruption at one rate or several.
        colour: whether images are in colour.
        clipped: share of the pixels that are made black or white, see data.images.clipped.
        test_images: names in data.images, or paths of files.
    """

    title: str
    compared: Sequence[Baseline | TrainedCNN | Network | PlainCommand]
    cases: Sequence[Case] = (SALT_AND_PEPPER,)
    colour: bool = False
    clipped: float = 0
    test_images: Sequence[str] = TEST_IMAGES

    def clean(self, image: str) -> np.ndarray:
        """The test image of that name, before it is corrupted."""
        return clipped(self._loaded(image), self.clipped)

    def images(self, method: Method) -> list[str]:
        """The test images that the method restores."""
        return [image for image in self.shown if image in (method.images or self.shown)]

    @cached_property
    def shown(self) -> list[str]:
        """The test images that it is for: those with colours if it is in colour, and with values between black and
        white if they are clipped."""

        def is_for(image: np.ndarray) -> bool:
            black, white = np.quantile(image, (self.clipped / 2, 1 - self.clipped / 2))
            return black < white and (not self.colour or (image.ndim == 3 and bool(np.ptp(image, axis=2).any())))

        return [image for image in self.test_images if is_for(self._loaded(image))]

    def on(self, images: Sequence[str]) -> "Experiment":
        """The same on other test images, without the networks that are for Lena alone."""
        compared = [of for of in self.compared if not (isinstance(of, Network) and of.file in LENAS_OWN)]
        return replace(self, compared=compared, test_images=images)

    def _loaded(self, image: str) -> np.ndarray:
        loaded = load_image(image, self.colour)
        return loaded if self.colour else to_grey(loaded)

    def counted(self) -> list[str]:
        """The methods whose wins and losses are counted."""
        return [name for of in self.compared if isinstance(of, Network | PlainCommand) for name in of.counted_names()]

    def methods(self, case: Case, keep: Keep = fresh) -> list[Method]:
        """The methods for this noise, whose weights are kept."""
        return [method for compared in self.compared for method in compared.methods(case, keep)]

    def measured(
        self, case: Case, method: Method, seed: int, image: str, restored: dict[str, np.ndarray]
    ) -> list[float]:
        """PSNR, SSIM and seconds of a restored image. Lena, with the first seed, is added to the restored ones."""
        clean = self.clean(image)
        noisy, watch = case.corrupt(clean, seed), Stopwatch()
        found, seconds = method.restore(noisy), watch.seconds()
        quality = [psnr(found, clean), ssim(found, clean), seconds]
        if (image, seed) == ("lena", SEEDS[0]):
            restored[f"{method.name}, {quality[0]:.2f} dB".replace(", ", "\n")] = found
        return quality


EXPERIMENTS = {
    "salt_and_pepper": Experiment(
        "10 % salt and pepper",
        (
            *(*FILTERS, VARIATION, INPAINTING, *LADMM, *LADMM_WITH_POSITIONS, *CNNS, PLAIN),
            Network("unsupervised", NETWORK, (16,)),
            Network("self-supervised", f"{NETWORK}_self_supervised", (16, 4)),
            AT_ONE_RATE((16, 4)),
            AT_ALL_RATES((16, 8, 4), counted=(4, 8)),
            AT_ALL_RATES((4,), learns=True),
            WITH_POSITIONS((16, 4)),
            WITH_DETECTOR((16, 8, 4), counted=(4, 8)),
            WITH_DETECTOR((4,), learns=True),
        ),
    ),
    "random_valued": Experiment(
        "20 % random-valued impulses",
        (
            *(*MEDIANS, *CENTRE_WEIGHTED, VARIATION, *LADMM, *CNNS, PLAIN),
            Network("trained at 20 %", f"random_valued/{NETWORK}", (16, 8, 4), counted=(4, 8)),
        ),
        [Case("random_valued", 0.2)],
    ),
    "noise_rates": Experiment(
        "Salt and pepper by noise rate",
        (
            *(*FILTERS, VARIATION, INPAINTING, *CNNS, PLAIN),
            AT_ONE_RATE((16,)),
            AT_ALL_RATES((16, 4), counted=(4,)),
            WITH_POSITIONS((16,)),
            WITH_DETECTOR((16, 4), counted=(4,)),
        ),
        [Case("salt_and_pepper", rate) for rate in RATES],
    ),
    "missing_blocks": Experiment(
        "10 % of the squares of 4 x 4 pixels missing",
        (
            *(*FILTERS, INPAINTING, PLAIN, WITH_POSITIONS((16, 4))),
            Network("blocks of 2 to 30 %", f"missing_blocks/{NETWORK}", (16, 4), counted=(4,), positions="yes"),
        ),
        [Case("missing_blocks", 0.1)],
    ),
    "mixed": Experiment(
        "10 % salt and pepper and Gaussian noise of 0.04",
        (
            *(*FILTERS, VARIATION, SMOOTHED, LADMM[1], PLAIN),
            Network("trained at 2 to 30 %", f"gaussian_and_impulses/{NETWORK}", (16, 8, 4), counted=(4, 8)),
        ),
        [Case("gaussian_and_impulses", 0.1)],
    ),
    "colour": Experiment(
        "10 % salt and pepper in every channel",
        (
            *(*FILTERS, VARIATION, INPAINTING, *CNNS, PLAIN),
            *(AT_ONE_RATE((4,), counted=(4,)), WITH_DETECTOR((4,), counted=(4,))),
        ),
        colour=True,
    ),
} | {
    f"clipped_{percent}": Experiment(
        f"10 % salt and pepper, {percent} % of the pixels black or white themselves",
        (
            *(*FILTERS, INPAINTING, *CNNS, PLAIN),
            *(AT_ALL_RATES((8,), counted=(8,)), WITH_POSITIONS((8,)), WITH_DETECTOR((8,), counted=(8,))),
        ),
        clipped=percent / 100,
    )
    for percent in (5, 15, 30)
}


def follow(name: str, experiment: Experiment, keep: Keep = fresh) -> tuple[list[ComparisonRecord], str, Figure | None]:
    """The rows of an experiment, its tables, and its figure: curves over the rates, or Lena by every method, or none.

    Args:
        name: of the experiment.
        experiment: the experiment.
        keep: keeps the figures of each row, and weights.
    """
    rows, restored, weights = [], {}, {}
    for case in experiment.cases:
        for method in tqdm(experiment.methods(case, keep), f"{name}, {case.rate:g}", unit="method"):
            if method.weight is not None:
                weights[method.name, case.rate] = method.weight
            for seed, image in product(method.seeds, experiment.images(method)):
                shown = name, *case, seed, Path(image).name, method.name
                # Lena's pictures are drawn, and so restored again.
                of = fresh if (image, seed) == ("lena", SEEDS[0]) else keep
                quality = of(shown, partial(experiment.measured, case, method, seed, image, restored))
                rows.append(ComparisonRecord(*shown, method.side_information, *quality))
    figure = errors(experiment.clean("lena"), restored) if restored else None
    figure = curves(rows) if len(experiment.cases) > 1 else figure
    return rows, section(experiment.title, rows, experiment.counted(), weights, figure is not None), figure


def check_networks(of_lena: Sequence[str] = LENAS_OWN) -> None:
    """Looks for the networks of the table, and these of Lena, before any work.

    Raises:
        UserError: one is not in the checkpoint folder.
    """
    files = {name: networks.PROGRAMS[command.split()[0]][1] for name, (_, command) in networks.NETWORKS.items()}
    trained = {f"{name}/{file}{SUFFIX}": "-m utils.studies.networks" for name, file in files.items()}
    trained |= {f"{name}{SUFFIX}": "main_lena.py" for name in of_lena}
    for file, command in trained.items():
        if not (methods.CHECKPOINTS / file).exists():
            raise UserError(f"{methods.CHECKPOINTS / file} is not there; `python {command}` trains it")


def compare(experiments: Mapping[str, Experiment], keep: Keep = fresh) -> Compared:
    """The rows, the tables and the figures of all experiments that have images."""
    records, sections, figures = [], [], {}
    for name, experiment in experiments.items():
        if experiment.shown:
            rows, text, figure = follow(name, experiment, keep)
            records += rows
            sections.append(text)
            figures |= {} if figure is None else {name: figure}
    return Compared(records, sections, figures)


def compare_shipped(keep: Keep) -> Report:
    """Runs all experiments on the shipped test images."""
    check_networks()
    records, sections, figures = compare(EXPERIMENTS, keep)
    about = ABOUT.format(seeds=len({record.seed for record in records}), networks=OF_LENA, first="Lena")
    text = "\n".join([f"# Comparison with other methods\n\n{about}", *sections])
    return Report(text, {"comparison": records}, figures, readme_tables(records))


def compare_on(images: Sequence[str], keep: Keep) -> Compared:
    """The same on other test images."""
    return compare({name: experiment.on(images) for name, experiment in EXPERIMENTS.items()}, keep)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all experiments and writes their tables and figures."""
    settings = parse_settings(Settings, __doc__, argv)
    more = constants(methods) | constants(classical) | methods.depends_on("**/*")
    if settings.images:
        with script("the same command goes on from there"):
            check_networks(of_lena=())
            pictures.run_on(settings.images, COMMAND, constants(sys.modules[__name__]) | more, compare_on)
    else:
        run_study(COMMAND, sys.modules[__name__], compare_shipped, (), more, pictures.SETTINGS.precision)


if __name__ == "__main__":
    main()
