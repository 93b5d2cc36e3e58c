"""The synthetic experiment of the paper: 15 layers against hundreds of iterations of LADMM, on samples never seen.

`python -m utils.synthetic` writes results/synthetic.csv and .png: networks of each activation, trained on the objective
and on the truth, beside LADMM with several α and β. The truth serves to train, as is usual for such networks, and is
known here as the samples are made from it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from data.synthetic import gaussian_dictionary, sparse_samples
from models import DLADMM, Problem, State, ladmm
from models.losses import objective, squared_error
from utils.tables import write_csv
from utils.training import train

SEED = 1126
M, ATOMS, DEPTH, TEST_SAMPLES = 250, 500, 15, 1000
ALPHAS, BETAS, ITERATIONS = (0.45, 0.6, 0.8, 1.0), (0.3, 1.0, 3.0), 500
ALPHA, BETA = 0.8, 1.0  # of the untrained networks: LADMM's best
TRAINED_ON = {"truth": squared_error, "objective": objective}
EPOCHS = 15
TRAINING = {"patches_per_epoch": 10_000, "batch_size": 100, "learning_rate": 0.02, "layer_discount": 0.5}


@dataclass(frozen=True)
class SyntheticRecord:
    """A layer or iteration on the test samples: mean objective, and NMSE in dB; 0 dB is what zero reaches."""

    method: str  # ladmm or dladmm
    activation: str
    trained_on: str
    alpha: float
    beta: float
    step: int
    objective: float
    nmse: float


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
        return self._follow(problem, states, method="ladmm", activation="", trained_on="", alpha=alpha, beta=beta)

    def dladmm(self, activation: str, trained_on: str, epochs: int) -> list[SyntheticRecord]:
        """A network trained from LADMM's weights, with samples drawn afresh in every epoch; every layer of it."""
        network = DLADMM(self.A, DEPTH, ALPHA, beta=BETA, start="ladmm", activation=activation)
        generator = torch.Generator().manual_seed(self.training_seed)
        for _ in train(
            network, lambda count: self._samples(count, trained_on, generator), TRAINED_ON[trained_on], epochs,
            **TRAINING,
        ):  # fmt: skip
            pass
        with torch.no_grad():
            states = network(self.test[0])
        labels = {"activation": activation, "trained_on": trained_on, "alpha": ALPHA, "beta": BETA}
        return self._follow(network.problem, states, method="dladmm", **labels)

    def _samples(self, count: int, trained_on: str, generator: torch.Generator) -> tuple[Tensor, ...]:
        X, Z, E = sparse_samples(self.A, count, generator)
        return (X, Z, E) if trained_on == "truth" else (X,)

    def _follow(self, problem: Problem, states: Iterable[State], **labels: str | float) -> list[SyntheticRecord]:
        X, Z, E = self.test
        signal = squared_error(problem, problem.zero_state(X), X, Z, E).sum()
        return [
            SyntheticRecord(
                **labels,
                step=step,
                objective=problem.objective(state, X).mean().item(),
                nmse=10 * math.log10(squared_error(problem, state, X, Z, E).sum() / signal),
            )
            for step, state in enumerate(states, start=1)
        ]


def figure_of(records: Sequence[SyntheticRecord]) -> Figure:
    """NMSE and objective after every layer, against LADMM with the same α and β, and its best NMSE over all α and β."""
    solver = [r for r in records if r.method == "ladmm"]
    figure = Figure(figsize=(11, 4.5), layout="constrained", dpi=120)
    axes = dict(zip(("nmse", "objective"), figure.subplots(1, 2), strict=True))
    for name, axis in axes.items():
        for activation, trained_on in dict.fromkeys((r.activation, r.trained_on) for r in records):
            chosen = [
                r for r in records
                if (r.activation, r.trained_on, r.alpha, r.beta) == (activation, trained_on, ALPHA, BETA)
            ]  # fmt: skip
            label = f"{activation}, trained on the {trained_on}" if activation else f"LADMM, α = {ALPHA}, β = {BETA}"
            style = ".-" if activation else "k--"
            axis.plot([r.step for r in chosen], [getattr(r, name) for r in chosen], style, label=label)
    steps = sorted({r.step for r in solver})
    best = [min(r.nmse for r in solver if r.step == step) for step in steps]
    axes["nmse"].plot(steps, best, "k:", label="LADMM, best α and β for every iteration")
    axes["nmse"].set(ylabel="NMSE (dB) of Z and E")
    axes["objective"].set(ylabel=f"objective, α = {ALPHA}", yscale="log")
    for axis in axes.values():
        axis.set(xlabel="layer or iteration", xscale="log")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize="small")
    return figure


def main() -> None:
    """Runs the experiment and writes its table and figure."""
    experiment, records = Experiment(SEED), []
    for alpha in ALPHAS:
        for beta in BETAS:
            records += experiment.ladmm(alpha, beta, ITERATIONS)
    for trained_on in TRAINED_ON:
        for activation in ("proximal", "piecewise_linear"):
            records += experiment.dladmm(activation, trained_on, EPOCHS)
            print(records[-1])
    write_csv(records, Path("results") / "synthetic.csv")
    figure_of(records).savefig(Path("results") / "synthetic.png")


if __name__ == "__main__":
    main()
