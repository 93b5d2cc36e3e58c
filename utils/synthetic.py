"""An experiment on the synthetic data of the paper: 15 layers against LADMM's iterations, on samples never seen.

`python -m utils.synthetic` writes results/synthetic.csv, .md and .png: networks of each activation, trained on the
objective and on the truth, beside LADMM with several α and β. The samples are made from a true Z and E. Training on the
truth is usual for such networks.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch

from data.synthetic import gaussian_dictionary, sparse_samples
from models import DLADMM, Problem, State, ladmm
from models.losses import LOSSES
from utils.evaluation.records import SyntheticRecord
from utils.reporting import figures
from utils.reporting.experiments import Report, run_experiment
from utils.reporting.markdown import synthetic_markdown
from utils.training.optimization import fit
from utils.training.samples import Batch, Samples

SEED = 1126
M, ATOMS, DEPTH, TEST_SAMPLES = 250, 500, 15, 1000
ALPHAS, BETAS, ITERATIONS = (0.45, 0.6, 0.8, 1.0), (0.3, 1.0, 3.0), 500
ALPHA, BETA = 0.8, 1.0  # of the networks before training
TRAINED_ON = {"truth": LOSSES["squared_error"], "objective": LOSSES["objective"]}
EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, LEARNING_RATE, LAYER_DISCOUNT = 15, 10_000, 100, 0.02, 0.5


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
        network = DLADMM(self.A, DEPTH, ALPHA, beta=BETA, activation=activation)
        self._train(network, trained_on, epochs)
        with torch.no_grad():
            states = network(self.test[0])
        labels = {"activation": activation, "trained_on": trained_on, "alpha": ALPHA, "beta": BETA}
        return self._follow(network.problem, states, method="dladmm", **labels)

    def _train(self, network: DLADMM, trained_on: str, epochs: int) -> None:
        """Trains the network in place, on samples drawn afresh in every epoch."""
        generator, loss = torch.Generator().manual_seed(self.training_seed), TRAINED_ON[trained_on]

        def batches() -> Iterator[Batch]:
            for _ in range(epochs):
                X, *truth = sparse_samples(self.A, SAMPLES_PER_EPOCH, generator)
                yield from Samples(X, targets=tuple(truth[: len(loss.targets)])).batches(BATCH_SIZE)

        steps = epochs * SAMPLES_PER_EPOCH // BATCH_SIZE
        fit(network, loss, batches(), steps, LEARNING_RATE, LAYER_DISCOUNT)

    def _follow(self, problem: Problem, states: Iterable[State], **labels: str | float) -> list[SyntheticRecord]:
        X, Z, E = self.test
        signal = Z.square().sum() + E.square().sum()
        return [
            SyntheticRecord(
                **labels,
                iteration=iteration,
                objective=problem.objective(state, X).mean().item(),
                nmse=10 * math.log10(LOSSES["squared_error"].value(problem, state, X, Z, E).sum() / signal),
            )
            for iteration, state in enumerate(states, start=1)
        ]


def compare() -> Report:
    """LADMM with all α and β, and all networks."""
    experiment, records = Experiment(SEED), []
    for alpha in ALPHAS:
        for beta in BETAS:
            records += experiment.ladmm(alpha, beta, ITERATIONS)
    for trained_on in TRAINED_ON:
        for activation in ("proximal", "piecewise_linear"):
            records += experiment.dladmm(activation, trained_on, EPOCHS)
            print(records[-1])
    figure = figures.synthetic(records, ALPHA, BETA)
    return Report(synthetic_markdown(records, ALPHA, BETA), {"synthetic": records}, {"synthetic": figure})


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the experiment and writes its table and figure."""
    settings = {"seed": SEED, "alphas": ALPHAS, "betas": BETAS, "iterations": ITERATIONS, "alpha": ALPHA, "beta": BETA}
    settings |= {"depth": DEPTH, "epochs": EPOCHS, "samples_per_epoch": SAMPLES_PER_EPOCH, "batch_size": BATCH_SIZE}
    settings |= {"learning_rate": LEARNING_RATE, "layer_discount": LAYER_DISCOUNT}
    run_experiment("utils.synthetic", __doc__, settings, compare, argv)


if __name__ == "__main__":
    main()
