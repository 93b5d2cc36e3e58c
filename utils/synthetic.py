"""An experiment on the synthetic data of the paper: 15 layers against LADMM's iterations, on samples never seen.

`python -m utils.synthetic` writes results/synthetic.csv and .png: networks of each activation, trained on the objective
and on the truth, beside LADMM with several α and β. The truth serves to train, as is usual for such networks, and is
known here as the samples are made from it.
"""

import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import torch

from data.synthetic import gaussian_dictionary, sparse_samples
from models import DLADMM, Problem, State, ladmm
from models.losses import objective, squared_error
from utils import figures
from utils.files import all_or_nothing
from utils.provenance import Run
from utils.samples import Samples
from utils.script import script
from utils.tables import SyntheticRecord, write_csv
from utils.training import Trainer

SEED = 1126
M, ATOMS, DEPTH, TEST_SAMPLES = 250, 500, 15, 1000
ALPHAS, BETAS, ITERATIONS = (0.45, 0.6, 0.8, 1.0), (0.3, 1.0, 3.0), 500
ALPHA, BETA = 0.8, 1.0  # of the networks before training
TRAINED_ON = {"truth": (squared_error, 2), "objective": (objective, 0)}  # loss, and how many of Z, E it is given
EPOCHS = 15
TRAINING = {"patches_per_epoch": 10_000, "batch_size": 100, "learning_rate": 0.02, "layer_discount": 0.5}


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
        loss, given = TRAINED_ON[trained_on]

        def draw(count: int) -> Samples:
            X, *truth = sparse_samples(self.A, count, generator)
            return Samples(X, targets=tuple(truth[:given]))

        for _ in Trainer(network, draw, loss, epochs, **TRAINING):
            pass
        with torch.no_grad():
            states = network(self.test[0])
        labels = {"activation": activation, "trained_on": trained_on, "alpha": ALPHA, "beta": BETA}
        return self._follow(network.problem, states, method="dladmm", **labels)

    def _follow(self, problem: Problem, states: Iterable[State], **labels: str | float) -> list[SyntheticRecord]:
        X, Z, E = self.test
        signal = Z.square().sum() + E.square().sum()
        return [
            SyntheticRecord(
                **labels,
                iteration=iteration,
                objective=problem.objective(state, X).mean().item(),
                nmse=10 * math.log10(squared_error(problem, state, X, Z, E).sum() / signal),
            )
            for iteration, state in enumerate(states, start=1)
        ]


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
    chosen = {"seed": SEED, "alphas": ALPHAS, "betas": BETAS, "iterations": ITERATIONS, "alpha": ALPHA, "beta": BETA}
    made_by = Run(chosen | {"depth": DEPTH, "epochs": EPOCHS} | TRAINING)
    with all_or_nothing(Path("results")) as results:
        write_csv(records, results / "synthetic.csv", made_by.name)
        figure = figures.synthetic(records, ALPHA, BETA)
        figure.savefig(results / "synthetic.png", metadata={"Description": made_by.as_json()})
        (results / "synthetic.json").write_text(made_by.as_json(), encoding="utf-8")


if __name__ == "__main__":
    with script():
        main()
