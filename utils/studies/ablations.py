"""What each choice earns: initialization, activation, training on the noisy image, and loss, each with each other.

`python -m utils.studies.ablations` runs the experiment of main_lena.py on Lena, 10 % salt and pepper, patches without
overlap, for every combination and for the authors' choices, with short trainings, and follows LADMM with the shipped
atoms and with atoms of length 1. It writes results/ablations.csv and atoms.csv.
"""

import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from main_lena import Experiment, Settings, run
from models.activations import ACTIVATIONS
from models.layer import INITIALIZATIONS
from models.losses import LOSSES
from utils.evaluation.solvers import follow_ladmm
from utils.reporting.results import PUBLISHED
from utils.reporting.tables import in_words, markdown, spread
from utils.running.devices import PAYS_FROM, pick_compiled
from utils.sources.patches import NoisyPatches, RecorruptedPatches
from utils.studies.study import Keep, Measured, Page, Provenance, Row, Tables, command

SEEDS = (1126, 1, 2)
CHOICES = ("loss", "initialization", "activation")
SHORT = {"depths": (5,), "epochs": 10, "ladmm_max_iterations": 1, "safeguard_layers": 1, "device": "cpu"}
# Trainings and the targets that their losses have; supervised networks have a study of their own.
TARGETS = {"unsupervised": NoisyPatches.targets, "self_supervised": RecorruptedPatches.targets}
AUTHORS = {"loss": "relaxed", "initialization": "ladmm", "activation": "fixed_proximal"}
AUTHORS |= {"alpha": 0.45, "beta": 1.0, "dictionary": "unit_atoms"}
AUTHORS_DEPTHS = (5, 10, 15)
ATOMS = {"shipped": "shipped", "unit_atoms": "length 1"}  # dictionaries, and what the tables call their atoms
ATOMS_ALPHAS, ATOMS_BETAS, ATOMS_ITERATIONS = (0.3, 0.45, 0.7), (1.0, 3.0, 8.0), (15, 100, 1000)

ABOUT = """\
The first two tables show all combinations of choices, at the last of {depths[0]} layers after {epochs} epochs. The
experiment is that of main_lena.py: Lena, 10 % salt and pepper, patches without overlap. PSNR and objective are means
over {seeds} seeds, of the noise and of the training, with their standard deviation. Seconds are those of an epoch,
drawing and compiled training, without the first one.

The published setting has the authors' choices as far as they are known: W1 starts at LADMM's, both thresholds are
LADMM's and fixed, their loss, α and β, and every atom of length 1, the constant one too. The dictionary, the optimizer,
the batches and the length of the training are ours. What fails here is the constant atom: with that of the shipped
dictionary their loop goes much further (speed.md).

LADMM's step is that of ‖A‖₂. The shipped dictionary's constant atom is as long as ‖A‖₂, so that LADMM finds the mean of
a patch at once. Where it has length 1, like all others, many small steps lead there, and the ℓ1 norm draws the mean
towards zero. The published PSNR of LADMM is {published} dB.
"""


def all_choices() -> Iterator[dict[str, Any]]:
    """The settings of every combination, then the authors' at every depth."""
    for training, targets in TARGETS.items():
        losses = [name for name, loss in LOSSES.items() if loss.targets == targets]
        for names in product(losses, INITIALIZATIONS, ACTIVATIONS):
            yield SHORT | {"training": (training,)} | dict(zip(CHOICES, names, strict=True))
    for depth in AUTHORS_DEPTHS:
        yield SHORT | {"training": ("unsupervised",)} | AUTHORS | {"depths": (depth,)}


def train(**choices: Any) -> Row:
    """The row of the network of a run with these settings, which train one."""
    settings = Settings(**choices)
    (learned,) = run(settings).learned
    of_network = {"training": learned.restoration.row["training"]} | settings.chosen(*CHOICES)
    of_network |= {"atoms": ATOMS[settings.dictionary], "depth": settings.depths[0], "seed": settings.seed}
    figures = {name: learned.restoration.row[name] for name in ("psnr", "objective")}
    return of_network | figures | {"seconds": statistics.median(learned.epoch_seconds[1:])}


def follow(seed: int, dictionary: str, alpha: float, beta: float) -> list[Row]:
    """Classical LADMM with these atoms, α and β, after some iterations."""
    experiment = Experiment(Settings(seed=seed, dictionary=dictionary, alpha=alpha, device="cpu", compile="no"))
    seen, row = experiment.seen, {"atoms": ATOMS[dictionary], "alpha": alpha, "beta": beta}
    solutions = follow_ladmm(experiment.problem, seen.X, None, beta, 0, ATOMS_ITERATIONS)
    return [row | {"iteration": s.iteration, "seed": seed, "psnr": seen.figures(s)["psnr"]} for s in solutions]


def measure(keep: Keep) -> Measured:
    """Trains all networks, and follows LADMM."""
    networks, traces = [], []
    compiled = "yes" if pick_compiled("auto", PAYS_FROM, torch.device("cpu")) else "no"
    for choices in tqdm(list(all_choices()), unit="choice"):
        torch.compiler.reset()  # what was compiled for other choices does not fit, and the compiler keeps eight at most
        networks += [keep(train)(seed=seed, compile=compiled, **choices) for seed in SEEDS]
    for case in tqdm(list(product(SEEDS, ATOMS, ATOMS_ALPHAS, ATOMS_BETAS)), "LADMM"):
        traces += keep(follow)(*case)
    return Measured({"ablations": pd.DataFrame(networks), "atoms": pd.DataFrame(traces)})


def show(tables: Tables, made_by: Provenance) -> Page:
    """All tables; networks with atoms of length 1 are the published setting."""
    networks, short = tables["ablations"], made_by["settings"]["short"]
    ours, authors = (networks[networks["atoms"] == atoms] for atoms in ATOMS.values())
    parts = ["# Ablations\n"]
    for training, rows in ours.groupby("training", sort=False):
        parts += [f"## {in_words(training).capitalize()}\n", markdown(over_seeds(rows, CHOICES), {"seconds": ".2f"})]
    published = over_seeds(authors, ["depth"])
    published["published PSNR"] = [PUBLISHED["dladmm", depth][1] for depth in published["depth"]]
    formats = {"seconds": ".2f", "published PSNR": ".2f"}
    parts += ["## The published setting\n", markdown(published.rename(columns={"depth": "d"}), formats)]
    traces = tables["atoms"].rename(columns={"alpha": "α", "beta": "β"})
    by_iteration = traces.pivot_table("psnr", ["atoms", "α", "β"], "iteration", partial(spread, digits=2), sort=False)
    by_iteration.columns = [f"PSNR (dB) after {iteration} iterations" for iteration in by_iteration]
    parts += ["## LADMM and the length of the atoms\n", markdown(by_iteration.reset_index(), {"α": "g", "β": "g"})]
    seeds, psnr = networks["seed"].nunique(), PUBLISHED["ladmm", 0][1]
    return Page("\n".join([*parts, ABOUT.format(**short, seeds=seeds, published=psnr)]))


def over_seeds(networks: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """PSNR, objective and seconds of networks with the same choices."""
    two, three = (partial(spread, digits=digits) for digits in (2, 3))
    figures = {"PSNR (dB)": ("psnr", two), "objective": ("objective", three), "seconds": ("seconds", "mean")}
    return networks.groupby(list(by), sort=False, as_index=False).agg(**figures)


main = command("utils.studies.ablations", precision=Settings.precision)

if __name__ == "__main__":
    main()
