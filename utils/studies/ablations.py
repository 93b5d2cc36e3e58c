"""What each choice earns: initialization, activation, training on the noisy image, and loss, each with each other.

`python -m utils.studies.ablations` runs the experiment of main_lena.py on Lena, 10 % salt and pepper, patches without
overlap, for every combination and for the authors' choices, with short trainings, and follows LADMM with the shipped
atoms and with atoms of length 1. It writes results/ablations.csv, atoms.csv and ablations.md. PSNR and objective are
means over the seeds, of the noise and of the training, with their standard deviation. Seconds are those of an epoch,
drawing and compiled training, without the first one.
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
import torch
from tqdm import tqdm

from main_lena import Settings, observe, pose, run
from models.activations import ACTIVATIONS
from models.layer import INITIALIZATIONS
from models.losses import LOSSES
from utils.evaluation.records import in_words
from utils.evaluation.solvers import follow_ladmm
from utils.reporting.published import PUBLISHED
from utils.reporting.tables import Columns, grouped, markdown_table, number, spread
from utils.running.devices import PAYS_FROM, pick_compiled
from utils.sources.noisy import NoisyPatches
from utils.sources.recorrupted import RecorruptedPatches
from utils.studies.kept import Keep, kept_rows
from utils.studies.study import Report, run_study

SEEDS = (1126, 1, 2)
CHOICES = ("loss", "initialization", "activation")
SHORT = {"depths": (5,), "epochs": 10, "ladmm_max_iterations": 1, "safeguard_layers": 1, "device": "cpu"}
# Trainings and the targets that their losses have; supervised networks have a study of their own.
TARGETS = {"unsupervised": NoisyPatches.targets, "self_supervised": RecorruptedPatches.targets}
AUTHORS = {
    "loss": "relaxed", "initialization": "ladmm", "activation": "fixed_proximal",
    "alpha": 0.45, "beta": 1.0, "dictionary": "unit_atoms",
}  # fmt: skip
AUTHORS_DEPTHS = (5, 10, 15)
ATOMS = {"shipped": "shipped", "unit_atoms": "length 1"}  # dictionaries, and what the tables call their atoms
ATOMS_ALPHAS, ATOMS_BETAS, ATOMS_ITERATIONS = (0.3, 0.45, 0.7), (1.0, 3.0, 8.0), (15, 100, 1000)

ABOUT = "The last of {depth} layers, after {epochs} epochs, with {seeds} seeds.\n"
ABOUT_PUBLISHED = """\
The authors' choices as far as they are known: W1 starts at LADMM's, both thresholds are LADMM's and fixed, their loss,
α and β, and every atom of length 1, the constant one too. The dictionary, the optimizer, the batches and the length of
the training are ours. What fails here is the constant atom, see below: with that of the shipped dictionary their loop
goes much further (speed.md).
"""
ABOUT_ATOMS = """\
LADMM's step is that of ‖A‖₂. The shipped dictionary's constant atom is as long as ‖A‖₂, so that LADMM finds the mean of
a patch at once. Where it has length 1, like all others, many small steps lead there, and the ℓ1 norm draws the mean
towards zero. The published PSNR of LADMM is {published} dB.
"""


@dataclass(frozen=True)
class AblationRecord:
    """A network trained with one combination of choices and one seed."""

    training: str
    loss: str
    initialization: str
    activation: str
    atoms: str  # shipped, or of length 1
    depth: int
    seed: int
    psnr: float  # dB
    objective: float  # of the last layer, mean over the patches
    seconds: float  # of an epoch of training, median of all but the first


@dataclass(frozen=True)
class AtomsRecord:
    """Classical LADMM after some iterations."""

    atoms: str  # shipped, or of length 1
    alpha: float
    beta: float
    iteration: int
    seed: int
    psnr: float  # dB


def all_choices() -> Iterator[Settings]:
    """The settings of every combination, then the authors' at every depth."""
    for training, targets in TARGETS.items():
        losses = [name for name, loss in LOSSES.items() if loss.targets == targets]
        for names in product(losses, INITIALIZATIONS, ACTIVATIONS):
            yield Settings(training=(training,), **SHORT, **dict(zip(CHOICES, names, strict=True)))
    for depth in AUTHORS_DEPTHS:
        yield Settings(training=("unsupervised",), **(SHORT | AUTHORS | {"depths": (depth,)}))


def trained(settings: Settings) -> AblationRecord:
    """The network of a run with these settings, which train one."""
    (learned,) = run(settings).learned
    result = learned.restoration.result
    of_run = *(getattr(settings, name) for name in CHOICES), ATOMS[settings.dictionary], result.depth, settings.seed
    seconds = statistics.median(learned.epoch_seconds[1:])
    return AblationRecord(result.training, *of_run, result.psnr, result.objective, seconds)


def ladmm_traces() -> Iterator[AtomsRecord]:
    """LADMM with each kind of atoms, α and β, after some iterations."""
    for seed, dictionary, alpha, beta in product(SEEDS, ATOMS, ATOMS_ALPHAS, ATOMS_BETAS):
        settings = Settings(seed=seed, dictionary=dictionary, alpha=alpha, device="cpu")
        seen = observe(settings)
        for solution in follow_ladmm(pose(settings, seen), seen.X, None, beta, ATOMS_ITERATIONS[-1]):
            if solution.iteration in ATOMS_ITERATIONS:
                psnr = seen.psnr(seen.image_of(solution.patches))
                yield AtomsRecord(ATOMS[dictionary], alpha, beta, solution.iteration, seed, psnr)


def report_markdown(records: Sequence[AblationRecord], traces: Sequence[AtomsRecord]) -> str:
    """All tables.

    Args:
        records: of all networks; those with atoms of length 1 are the published setting.
        traces: of LADMM.
    """
    with_ours = [record for record in records if record.atoms == "shipped"]
    seeds = len({record.seed for record in with_ours})
    parts = ["# Ablations\n", __doc__, ABOUT.format(depth=with_ours[0].depth, epochs=SHORT["epochs"], seeds=seeds)]
    for (training,), rows in grouped(with_ours, "training").items():
        columns = {name: lambda row, name=name: getattr(row[0], name) for name in CHOICES}
        table = markdown_table(list(grouped(rows, *CHOICES).values()), columns | _figures())
        parts += [f"## {in_words(training)}\n", table]
    columns = {"d": lambda row: str(row[0].depth)} | _figures()
    columns["published PSNR"] = lambda row: number(PUBLISHED["dladmm", row[0].depth].psnr, 2)
    published = grouped([record for record in records if record.atoms != "shipped"], "depth")
    parts += ["## The published setting\n", markdown_table(list(published.values()), columns), ABOUT_PUBLISHED]
    about_atoms = ABOUT_ATOMS.format(published=PUBLISHED["ladmm", None].psnr)
    parts += ["## LADMM and the length of the atoms\n", _atoms(traces), about_atoms]
    return "\n".join(parts)


def _figures() -> Columns:
    """PSNR, objective and seconds of the networks in a row."""
    return {
        "PSNR (dB)": lambda row: spread([record.psnr for record in row], 2),
        "objective": lambda row: spread([record.objective for record in row], 3),
        "seconds": lambda row: number(float(np.mean([record.seconds for record in row])), 2),
    }


def _atoms(traces: Sequence[AtomsRecord]) -> str:
    """PSNR by atoms, α and β, after every number of iterations."""
    columns: Columns = {
        "atoms": lambda row: row[0].atoms,
        "α": lambda row: f"{row[0].alpha:g}",
        "β": lambda row: f"{row[0].beta:g}",
    }
    for iteration in dict.fromkeys(record.iteration for record in traces):
        columns[f"PSNR (dB) after {iteration} iterations"] = lambda row, iteration=iteration: spread(
            [record.psnr for record in row if record.iteration == iteration], 2
        )
    return markdown_table(list(grouped(traces, "atoms", "alpha", "beta").values()), columns)


def compare(keep: Keep) -> Report:
    """Trains all networks, and follows LADMM."""
    rows, compiled = [], "yes" if pick_compiled("auto", PAYS_FROM, torch.device("cpu")) else "no"

    def with_all_seeds(settings: Settings) -> list[AblationRecord]:
        torch.compiler.reset()  # what was compiled for other choices does not fit, and the compiler keeps eight at most
        return [trained(replace(settings, seed=seed, compile=compiled)) for seed in SEEDS]

    for settings in tqdm(list(all_choices()), unit="choice"):
        choice = [getattr(settings, name) for name in ("training", *CHOICES, "dictionary", "depths")]
        rows += kept_rows(keep, choice, AblationRecord, partial(with_all_seeds, settings))
    traces = list(tqdm(ladmm_traces(), "LADMM"))
    return Report(report_markdown(rows, traces), {"ablations": rows, "atoms": traces})


main = partial(run_study, "utils.studies.ablations", sys.modules[__name__], compare, precision=Settings.precision)

if __name__ == "__main__":
    main()
