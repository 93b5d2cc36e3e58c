"""An experiment on the synthetic data of the paper: 15 layers against LADMM's iterations, on samples never seen.

A is Gaussian with columns of length 1. Z and E are Bernoulli(0.1) x N(0, 1), and X = A Z + E. NMSE is the error of Z
and E relative to their energy. Networks are trained on the true Z and E, as is usual, or on the objective, which takes
E := X − A Z and never reaches the last layer's own E step. "Best NMSE" is that of all α, β and iterations tried.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, product

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from models import DLADMM, Problem, State, ladmm
from models.losses import LOSSES, squared_error
from models.samples import Drawn, Samples
from models.training import LayerLosses, Training
from utils.evaluation.observation import Row
from utils.reporting.figures import legend_below, subplots
from utils.reporting.pages import Page
from utils.reporting.tables import markdown
from utils.running.provenance import Provenance
from utils.studies.study import Keep, Measured, command

SEED, M, ATOMS, DEPTH, TEST_SAMPLES = 1126, 250, 500, 15, 1000
ALPHAS, BETAS, ITERATIONS = (0.45, 0.6, 0.8, 1.0), (0.3, 1.0, 3.0), 500
ALPHA, BETA = 0.8, 1.0  # of the networks before training
TRAINED_ON = {"truth": "squared_error", "objective": "objective"}  # and the loss
ACTIVATIONS = ("proximal", "piecewise_linear")
EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, LEARNING_RATE, LAYER_DISCOUNT = 15, 10_000, 100, 0.02, 0.5
HEADINGS = {
    "trained_on": "trained on", "alpha": "α", "beta": "β", "iteration": "layers or iterations",
    "nmse": "NMSE of Z and E (dB)", "ladmm": "LADMM iterations to this objective",
}  # fmt: skip
FORMATS = {"α": "g", "β": "g", "NMSE of Z and E (dB)": ".2f", "objective": ".2f"}


def gaussian_dictionary(m: int, n: int, generator: torch.Generator) -> Tensor:
    """A (m, n) with independent Gaussian entries, its columns scaled to length 1."""
    A = torch.randn(m, n, generator=generator)
    return A / torch.linalg.vector_norm(A, dim=0)


def sparse_samples(A: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """X = A Z + E (count, m), Z (count, n), E (count, m), whose entries are Bernoulli(0.1) × N(0, 1)."""
    Z, E = (
        (torch.rand(count, size, generator=generator) < 0.1) * torch.randn(count, size, generator=generator)
        for size in (A.shape[1], A.shape[0])
    )
    return Z @ A.T + E, Z, E


def pose(alpha: float) -> tuple[Problem, tuple[Tensor, ...]]:
    """The problem, and X, Z and E of the test samples."""
    generator = torch.Generator().manual_seed(SEED)
    A = gaussian_dictionary(M, ATOMS, generator)
    return Problem(A, alpha), sparse_samples(A, TEST_SAMPLES, generator)


def iterate(alpha: float, beta: float) -> list[Row]:
    """The rows of classical LADMM from zero."""
    problem, test = pose(alpha)
    states = islice(ladmm(problem, test[0], beta), ITERATIONS)
    return follow(problem, states, test, method="ladmm", activation="", trained_on="", alpha=alpha, beta=beta)


def train(activation: str, trained_on: str) -> list[Row]:
    """The rows of a network trained from LADMM's weights, on samples that are drawn afresh for every epoch."""
    problem, test = pose(ALPHA)
    network = DLADMM(problem.A, DEPTH, ALPHA, beta=BETA, activation=activation)
    generator, loss = torch.Generator().manual_seed(SEED + 1), LOSSES[TRAINED_ON[trained_on]]

    def draw(number: int) -> Samples:
        X, *truth = sparse_samples(problem.A, number, generator)
        return Samples(X, targets=tuple(truth[: len(loss.targets)]))

    schedule = EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, LEARNING_RATE, LAYER_DISCOUNT
    list(tqdm(Training(network, Drawn(draw), LayerLosses(network, loss), *schedule), activation, EPOCHS))
    names = {"method": "dladmm", "activation": activation, "trained_on": trained_on}
    return follow(problem, network.iterate(test[0]), test, **names, alpha=ALPHA, beta=BETA)


@torch.no_grad()
def follow(problem: Problem, states: Iterable[State], test: Sequence[Tensor], **labels: str | float) -> list[Row]:
    """The labels, mean objective, and NMSE of Z and E in dB after every iteration; Z = 0 and E = 0 have 0 dB."""
    X, Z, E = test
    rows, signal = [], Z.square().sum() + E.square().sum()
    for iteration, state in enumerate(states, start=1):
        nmse = 10 * math.log10(squared_error(problem, state, X, None, Z, E).sum() / signal)
        objective = problem.objective(state, X).mean().item()
        rows.append(labels | {"iteration": iteration, "objective": objective, "nmse": nmse})
    return rows


def measure(keep: Keep) -> Measured:
    """LADMM with all α and β, and all networks."""
    rows = [row for penalties in product(ALPHAS, BETAS) for row in keep(iterate)(*penalties)]
    rows += [row for on, activation in product(TRAINED_ON, ACTIVATIONS) for row in keep(train)(activation, on)]
    return Measured({"synthetic": pd.DataFrame(rows)})


def show(tables: Mapping[str, pd.DataFrame], made_by: Provenance) -> Page:
    """The last layer of every network beside LADMM with the same α and β, and LADMM's best NMSE of all."""
    solver, networks = (tables["synthetic"].query(f"method == '{name}'") for name in ("ladmm", "dladmm"))
    same = solver.merge(networks[["alpha", "beta"]].drop_duplicates())
    last = networks.groupby(["activation", "trained_on"], sort=False).tail(1)
    as_low = [same["iteration"][same["objective"] <= objective] for objective in last["objective"]]
    last = last.assign(method="D-LADMM", ladmm=[str(next(iter(found), "never")) for found in as_low])
    few = same[same["iteration"].isin((last["iteration"].max(), 50, 200, same["iteration"].max()))]
    best = solver.nsmallest(1, "nmse").assign(method="LADMM, best NMSE")
    shown = pd.concat([few.assign(method="LADMM"), best, last]).rename(columns=HEADINGS)
    text = f"# Synthetic experiment\n\n{markdown(shown, FORMATS)}\n{__doc__}\n![curves per layer](synthetic.png)\n"
    return Page(text, {"synthetic": draw_figure(pd.concat([same, networks]), solver)})


def draw_figure(same: pd.DataFrame, solver: pd.DataFrame) -> Figure:
    """NMSE and objective per layer, against LADMM with the same α and β, and LADMM's best NMSE of all α and β tried."""
    figure, [axes] = subplots(11, 5.2, 1, 2)
    best, (alpha, beta) = solver.groupby("iteration")["nmse"].min(), same[["alpha", "beta"]].iloc[0]
    labels = {"nmse": "NMSE of Z and E (dB)", "objective": f"objective per sample, α = {alpha:g}"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        for (activation, on), run in same.groupby(["activation", "trained_on"], sort=False):
            method = f"{activation}, trained on the {on}" if activation else f"LADMM, α = {alpha:g}, β = {beta:g}"
            axis.plot(run["iteration"], run[name], ".-" if activation else "k--", label=method)
        axis.set(xlabel="layer or iteration", ylabel=label, xscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].plot(best.index, best, "k:", label="LADMM, for every iteration the best α and β of those tried")
    legend_below(figure, 2)
    return figure


main = command("utils.studies.synthetic")

if __name__ == "__main__":
    main()
