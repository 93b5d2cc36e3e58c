"""An experiment on the synthetic data of the paper: 15 layers against LADMM's iterations, on samples never seen.

`python -m utils.studies.synthetic` writes results/synthetic.csv, .md and .png: networks of each activation after every
layer, beside LADMM with several α and β after every iteration. A is Gaussian with columns of length 1. Z and E are
Bernoulli(0.1) x N(0, 1), and X = A Z + E. NMSE is the error of Z and E relative to their energy. Networks are trained
on the true Z and E, which is usual for such networks, or on the objective. The latter takes E := X − A Z, so it never
reaches the last layer's own E step. The table has the last layer of every network, and LADMM with the same α and β.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product

import torch
from matplotlib.figure import Figure

from data.synthetic import gaussian_dictionary, sparse_samples
from models import DLADMM, Problem, State, ladmm
from models.losses import LOSSES, squared_error
from models.samples import Drawn, Samples
from models.training import LayerLosses, Training
from utils.reporting.tables import grouped, markdown_table, number
from utils.studies.study import Report, run_study

SEED = 1126
M, ATOMS, DEPTH, TEST_SAMPLES = 250, 500, 15, 1000
ALPHAS, BETAS, ITERATIONS = (0.45, 0.6, 0.8, 1.0), (0.3, 1.0, 3.0), 500
ALPHA, BETA = 0.8, 1.0  # of the networks before training
TRAINED_ON = {"truth": "squared_error", "objective": "objective"}  # and the loss
ACTIVATIONS = ("proximal", "piecewise_linear")
EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, LEARNING_RATE, LAYER_DISCOUNT = 15, 10_000, 100, 0.02, 0.5


@dataclass(frozen=True)
class SyntheticRecord:
    """The state after a layer or an iteration on synthetic test samples."""

    method: str  # ladmm or dladmm
    activation: str
    trained_on: str
    alpha: float
    beta: float
    iteration: int
    objective: float  # mean over the samples
    nmse: float  # of Z and E in dB; Z = 0 and E = 0 have 0 dB


class Experiment:
    """A dictionary and test samples drawn with a seed, training on samples drawn with another, and the comparison."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.A = gaussian_dictionary(M, ATOMS, generator)
        self.test = sparse_samples(self.A, TEST_SAMPLES, generator)
        self.training_seed = seed + 1

    def ladmm(self, alpha: float, beta: float, iterations: int) -> list[SyntheticRecord]:
        """Classical LADMM from zero, every iteration of it."""
        problem = Problem(self.A, alpha)
        states = islice(ladmm(problem, self.test[0], beta), iterations)
        return self._follow(problem, states, "ladmm", "", "", alpha, beta)

    def dladmm(self, activation: str, trained_on: str, epochs: int) -> list[SyntheticRecord]:
        """A network trained from LADMM's weights, with samples drawn afresh in every epoch; every layer of it."""
        network = DLADMM(self.A, DEPTH, ALPHA, beta=BETA, activation=activation)
        generator, loss = torch.Generator().manual_seed(self.training_seed), LOSSES[TRAINED_ON[trained_on]]

        def draw(number: int) -> Samples:
            X, *truth = sparse_samples(self.A, number, generator)
            return Samples(X, targets=tuple(truth[: len(loss.targets)]))

        schedule = epochs, SAMPLES_PER_EPOCH, BATCH_SIZE, LEARNING_RATE, LAYER_DISCOUNT
        for _ in Training(network, Drawn(draw), LayerLosses(network, loss), *schedule):
            pass
        states = network.iterate(self.test[0])
        return self._follow(network.problem, states, "dladmm", activation, trained_on, ALPHA, BETA)

    @torch.no_grad()
    def _follow(self, problem: Problem, states: Iterable[State], *labels: str | float) -> list[SyntheticRecord]:
        X, Z, E = self.test
        signal = Z.square().sum() + E.square().sum()
        return [
            SyntheticRecord(
                *labels,
                iteration,
                problem.objective(state, X).mean().item(),
                10 * math.log10(squared_error(problem, state, X, None, Z, E).sum() / signal),
            )
            for iteration, state in enumerate(states, start=1)
        ]


def report_markdown(records: Sequence[SyntheticRecord]) -> str:
    """The last layer of every network, beside LADMM with the same α and β and the best NMSE of all that were tried."""
    solver = [row for row in records if row.method == "ladmm"]
    same = [row for row in solver if (row.alpha, row.beta) == (ALPHA, BETA)]
    learned = grouped([row for row in records if row.method == "dladmm"], "activation", "trained_on")
    networks = [run[-1] for run in learned.values()]
    shown = [row for row in same if row.iteration in (networks[0].iteration, 50, 200, same[-1].iteration)]

    def equivalent(row: SyntheticRecord) -> str:
        as_low = (other.iteration for other in same if other.objective <= row.objective)
        return "" if row.method == "ladmm" else str(next(as_low, "never"))

    columns = {
        "method": lambda row: "LADMM" if row.method == "ladmm" else f"D-LADMM, {row.activation}",
        "trained on": lambda row: row.trained_on,
        "layers or iterations": lambda row: str(row.iteration),
        "NMSE of Z and E (dB)": lambda row: number(row.nmse, 2),
        "objective": lambda row: number(row.objective, 2),
        "LADMM iterations to this objective": equivalent,
    }
    table, best = markdown_table([*shown, *networks], columns), min(row.nmse for row in solver)
    best = (
        f"The best NMSE of LADMM in {same[-1].iteration} iterations with any of the α and β below is {best:.2f} dB.\n"
    )
    figure = "![LADMM and the networks per layer](synthetic.png)\n"
    return f"# Synthetic experiment\n\n{table}\n{__doc__}\n{best}\n{figure}"


def draw_figure(records: Sequence[SyntheticRecord]) -> Figure:
    """NMSE and objective per layer, against LADMM with the same α and β, and the best NMSE of all α and β tried."""
    figure = Figure(figsize=(11, 5.2), layout="constrained", dpi=120)
    nmse, objective = figure.subplots(1, 2)
    same = [row for row in records if (row.alpha, row.beta) == (ALPHA, BETA)]
    for (activation, trained_on), run in grouped(same, "activation", "trained_on").items():
        label = f"{activation}, trained on the {trained_on}" if activation else f"LADMM, α = {ALPHA:g}, β = {BETA:g}"
        for axis, name in ((nmse, "nmse"), (objective, "objective")):
            style = ".-" if activation else "k--"
            axis.plot([row.iteration for row in run], [getattr(row, name) for row in run], style, label=label)
    solver = grouped([row for row in records if row.method == "ladmm"], "iteration").values()
    steps, best = [rows[0].iteration for rows in solver], [min(row.nmse for row in rows) for rows in solver]
    nmse.plot(steps, best, "k:", label="LADMM, for every iteration the best α and β of those tried")
    nmse.set(ylabel="NMSE of Z and E (dB)")
    objective.set(ylabel=f"objective per sample, α = {ALPHA:g}")
    for axis in (nmse, objective):
        axis.set(xlabel="layer or iteration", xscale="log")
        axis.grid(alpha=0.3, which="both")
    figure.legend(*nmse.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def compare() -> Report:
    """LADMM with all α and β, and all networks."""
    experiment, records = Experiment(SEED), []
    for alpha, beta in product(ALPHAS, BETAS):
        records += experiment.ladmm(alpha, beta, ITERATIONS)
    for trained_on, activation in product(TRAINED_ON, ACTIVATIONS):
        records += experiment.dladmm(activation, trained_on, EPOCHS)
        print(records[-1])
    return Report(report_markdown(records), {"synthetic": records}, {"synthetic": draw_figure(records)})


main = partial(run_study, "utils.studies.synthetic", sys.modules[__name__], lambda keep: compare())

if __name__ == "__main__":
    main()
