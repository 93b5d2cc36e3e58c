"""What each choice earns: initialization, activation, training on the noisy image, and loss, each with each other.

`python -m utils.ablations` trains networks for the default problem with three seeds, and with the authors' choices,
and follows LADMM with the shipped atoms and with atoms of length 1. It writes results/ablations.csv, atoms.csv and
ablations.md.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import torch
from torch import Tensor
from tqdm import tqdm

from data.corruption import salt_and_pepper
from data.dictionary import load_dictionary
from data.images import load_image
from data.patches import PatchGrid, patch_side
from models import DLADMM, Problem, ladmm
from models.activations import ACTIVATIONS
from models.initialization import INITIALIZATIONS
from models.losses import LOSSES
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import Observation
from utils.evaluation.records import AblationRecord, AtomsRecord
from utils.evaluation.solvers import restore_patches, solve_with_last_layer
from utils.reporting.ablations import ablations_markdown
from utils.reporting.experiments import Report, run_experiment
from utils.running.devices import PAYS_FROM, pick_compiled
from utils.training.from_image import Told
from utils.training.optimization import fit
from utils.training.samples import Batch
from utils.training.sources import TRAININGS

SEEDS, NOISE_RATE = (1126, 1, 2), 0.1
DEPTH, EPOCHS, PATCHES_PER_EPOCH, BATCH_SIZE, LEARNING_RATE, LAYER_DISCOUNT = 5, 10, 10_000, 500, 0.08, 0.5
ALPHA, BETA = 0.7, 8.0
SHOWN = ("unsupervised", "self_supervised")  # trainings; supervised networks have a command of their own
# As in the authors' code, as far as it is known: thresholds are those of LADMM, and fixed.
AUTHORS = {"loss": "relaxed", "initialization": "ladmm", "activation": "fixed_proximal", "alpha": 0.45, "beta": 1.0}
AUTHORS_DEPTHS = (5, 10, 15)
ATOMS = ("shipped", "length 1")
ATOMS_ALPHAS, ATOMS_BETAS, ATOMS_ITERATIONS = (0.3, 0.45, 0.7), (1.0, 3.0, 8.0), (15, 100, 1000)


@dataclass(frozen=True)
class Choices:
    """A network and how it learns."""

    training: str
    loss: str
    initialization: str
    activation: str
    alpha: float = ALPHA
    beta: float = BETA
    depth: int = DEPTH
    atoms: str = ATOMS[0]


def dictionary(atoms: str) -> Tensor:
    """The shipped dictionary, with the constant atom as it is, or of length 1 like all others."""
    A = load_dictionary()
    return A if atoms == "shipped" else A / torch.linalg.vector_norm(A, dim=0)


def observe(seed: int) -> Observation:
    """The noisy Lena, cut into patches without overlap."""
    clean = load_image("lena")
    side = patch_side(len(load_dictionary()))
    noisy = salt_and_pepper(clean, NOISE_RATE, seed)
    return Observation(noisy, PatchGrid(clean.shape, side, side), torch.device("cpu"), clean=clean)


def trained(choices: Choices, seed: int, compiled: bool = False) -> AblationRecord:
    """A network that learns as in main_lena.py, compiled or not, and what its last layer restores."""
    observation, watches = observe(seed), []
    source = TRAININGS[choices.training](observation, Told("salt_and_pepper", seed))
    network = DLADMM(
        dictionary(choices.atoms),
        choices.depth,
        choices.alpha,
        beta=choices.beta,
        initialization=choices.initialization,
        activation=choices.activation,
        restored=source.restored,
    )

    def batches() -> Iterator[Batch]:
        for epoch in range(EPOCHS):
            if epoch:
                image = observation.image_of(restore_patches(network, observation.X))
                source.after_epoch(image, epoch / EPOCHS)
            watch = Stopwatch()
            yield from source.draw(PATCHES_PER_EPOCH).batches(BATCH_SIZE)
            watches.append(watch.seconds())

    steps = EPOCHS * math.ceil(PATCHES_PER_EPOCH / BATCH_SIZE)
    fit(network, LOSSES[choices.loss], batches(), steps, LEARNING_RATE, LAYER_DISCOUNT, compiled)
    solution = solve_with_last_layer(network, observation.X)
    return AblationRecord(
        choices.training,
        choices.loss,
        choices.initialization,
        choices.activation,
        choices.atoms,
        choices.depth,
        seed,
        observation.psnr(observation.image_of(solution.patches)),
        solution.objective,
        statistics.median(watches[1:]),
    )


def all_choices() -> Iterator[Choices]:
    """Every combination, then the published setting at every depth."""
    for training in SHOWN:
        losses = [name for name, loss in LOSSES.items() if loss.targets == TRAININGS[training].targets]
        for choice in product(losses, INITIALIZATIONS, ACTIVATIONS):
            yield Choices(training, *choice)
    for depth in AUTHORS_DEPTHS:
        yield Choices("unsupervised", **AUTHORS, depth=depth, atoms="length 1")


@torch.no_grad()
def ladmm_traces() -> Iterator[AtomsRecord]:
    """LADMM with each kind of atoms, α and β, after some iterations."""
    for seed, atoms, alpha, beta in product(SEEDS, ATOMS, ATOMS_ALPHAS, ATOMS_BETAS):
        observation = observe(seed)
        states = ladmm(Problem(dictionary(atoms), alpha), observation.X, beta)
        for iteration, state in enumerate(islice(states, ATOMS_ITERATIONS[-1]), start=1):
            if iteration in ATOMS_ITERATIONS:
                psnr = observation.psnr(observation.image_of(state.AZ))
                yield AtomsRecord(atoms, alpha, beta, iteration, seed, psnr)


def compare() -> Report:
    """Trains all networks, and follows LADMM."""
    records, compiled = [], pick_compiled("auto", PAYS_FROM, torch.device("cpu"))
    for choices in tqdm(list(all_choices()), unit="choice"):
        torch.compiler.reset()  # what was compiled for other choices does not fit, and the compiler keeps eight at most
        records += [trained(choices, seed, compiled) for seed in SEEDS]
    traces = list(tqdm(ladmm_traces(), "LADMM"))
    return Report(ablations_markdown(records, traces, EPOCHS), {"ablations": records, "atoms": traces}, {})


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the experiment and writes its tables."""
    settings = {
        "seeds": SEEDS,
        "noise_rate": NOISE_RATE,
        "depth": DEPTH,
        "epochs": EPOCHS,
        "alpha": ALPHA,
        "beta": BETA,
    }
    settings |= {"patches_per_epoch": PATCHES_PER_EPOCH, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
    settings |= {"layer_discount": LAYER_DISCOUNT, "published": AUTHORS, "depths of the published": AUTHORS_DEPTHS}
    settings |= {"alphas": ATOMS_ALPHAS, "betas": ATOMS_BETAS, "iterations": ATOMS_ITERATIONS}
    run_experiment("utils.ablations", __doc__, settings, compare, argv, compiled=True)


if __name__ == "__main__":
    main()
