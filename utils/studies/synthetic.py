"""The synthetic data of the paper: 20 layers on samples like those they learned from, and on others.

A is Gaussian with columns of length 1, 250 × 500, Z and E are Bernoulli(0.1) × N(0, 1), and X = A Z + E. Above the
optimum: the objective, in percent of that of exact ADMM after 3,000 iterations. NMSE: the error of Z and E relative to
their energy; that of a network that learned from the objective is taken at E := X − A Z, as its objective is, which
never reaches the last layer's own E step. Solvers have the penalty with the lowest objective after 20 iterations, on
other samples, or the lowest NMSE of all iterations, also on others. Networks are fitted with 160,000 samples, drawn
anew, on the true Z and E, as is usual, or on the objective. Samples unlike those: more values that are not zero, larger
ones, or a tenth of the columns of A replaced, of which nobody is told. Beyond 20 layers the last one is repeated, with
the safeguard of models/convergence.py, whose penalty is LADMM's, or without.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import islice

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from models import DLADMM, Problem, State, ladmm
from models.convergence import safeguarded
from models.layer import exact_admm
from models.losses import squared_error
from models.samples import Samples
from utils.reporting.figures import legend_below, subplots
from utils.reporting.tables import markdown
from utils.studies.study import Keep, Measured, Page, Provenance, Row, Tables, command

SEED, M, ATOMS, DEPTH, TEST_SAMPLES, ALPHA = 1126, 250, 500, 20, 400, 0.8
PENALTIES = {"LADMM": (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0), "exact ADMM": (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)}
SOLVERS = {"LADMM": ladmm, "exact ADMM": exact_admm}
FOLLOWED, SOLVED, RHO = 500, 3000, 8.0  # iterations that are followed, and those of exact ADMM to the optimum; its ρ
SHOWN = (20, 100, 500)  # layers or iterations in the table
EPOCHS, SAMPLES_PER_EPOCH = 16, 10_000
TRAINED_ON = {  # loss, how many of Z and E it compares with, initialization, batch size, learning rate
    "objective": ("objective", 0, "pseudo_inverse", 250, 0.08),
    "truth": ("squared_error", 2, "ladmm", 100, 0.02),  # -28.4 dB on samples to choose by; the first line: -25.1
}
UNLIKE = {  # how other samples are drawn
    "as learned": {},
    "20 % not zero": {"rate": 0.2},
    "twice as large": {"size": 2.0},
    "columns replaced": {"replaced": 0.1},
}


def gaussian_dictionary(m: int, n: int, generator: torch.Generator) -> Tensor:
    """A (m, n) with independent Gaussian entries, its columns scaled to length 1."""
    A = torch.randn(m, n, generator=generator)
    return A / torch.linalg.vector_norm(A, dim=0)


def sparse_samples(
    A: Tensor, count: int, generator: torch.Generator, rate: float = 0.1, size: float = 1.0, replaced: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """X = A Z + E (count, m), Z (count, n), E (count, m), whose entries are Bernoulli(rate) × N(0, size²).

    The first columns of A, the share `replaced` of them, are others than in A.
    """
    Z, E = (
        size * (torch.rand(count, width, generator=generator) < rate) * torch.randn(count, width, generator=generator)
        for width in (A.shape[1], A.shape[0])
    )
    others = gaussian_dictionary(A.shape[0], round(replaced * A.shape[1]), generator) if replaced else A[:, :0]
    return Z @ torch.cat([others, A[:, others.shape[1] :]], dim=1).T + E, Z, E


def pose(data: str, choose: bool = False) -> tuple[Problem, tuple[Tensor, ...]]:
    """The problem, and X, Z and E of the test samples of that kind, or of others to choose penalties by."""
    generator = torch.Generator().manual_seed(SEED)
    A = gaussian_dictionary(M, ATOMS, generator)
    generator.manual_seed(SEED + 1 + choose)
    return Problem(A, ALPHA), sparse_samples(A, TEST_SAMPLES, generator, **UNLIKE[data])


def trained(on: str) -> DLADMM:
    """A network that was fitted to samples drawn anew."""
    problem, generator = pose("as learned")[0], torch.Generator().manual_seed(SEED + 3)
    loss, targets, initialization, batch_size, learning_rate = TRAINED_ON[on]
    schedule = {"epochs": EPOCHS, "samples_per_epoch": SAMPLES_PER_EPOCH, "batch_size": batch_size}
    network = DLADMM(problem.A, DEPTH, ALPHA, initialization=initialization)

    def draw(count: int) -> Samples:
        X, *truth = sparse_samples(problem.A, count, generator)
        return Samples(X, targets=tuple(truth[:targets]))

    return network.fit(draw, loss, learning_rate=learning_rate, progress=True, **schedule)


def chosen_penalty(solver: str, figure: str) -> float:
    """The penalty with the lowest figure on samples to choose by: "above" after `DEPTH` iterations, "nmse" of any."""
    problem, test = pose("as learned", choose=True)
    found = {}
    for penalty in PENALTIES[solver]:
        states = islice(SOLVERS[solver](problem, test[0], penalty), DEPTH if figure == "above" else FOLLOWED)
        rows = follow(problem, states, test, 1.0)
        found[penalty] = rows[-1]["above"] if figure == "above" else min(row["nmse"] for row in rows)
    return min(found, key=found.get)


@torch.no_grad()
def follow(
    problem: Problem, states: Iterable[State], test: tuple[Tensor, ...], optimum: float, own_E: bool = True
) -> list[Row]:
    """Objective above the optimum in percent, and NMSE of Z and E in dB, after every iteration up to 100, then after
    every tenth; Z = E = 0 has 0 dB."""
    X, Z, E = test
    rows, signal = [], Z.square().sum() + E.square().sum()
    for iteration, state in enumerate(states, start=1):
        if iteration > 100 and iteration % 10:
            continue
        objective = problem.objective(state, X).mean().item()
        state = state if own_E else state._replace(E=X - state.AZ)
        nmse = 10 * math.log10(squared_error(problem, state, X, None, Z, E).sum() / signal)
        above = 100 * (objective / optimum - 1)
        rows.append({"iteration": iteration, "objective": objective, "above": above, "nmse": nmse})
    return rows


def measured_on(data: str, penalties: Mapping[str, float], networks: Mapping[str, DLADMM]) -> list[Row]:
    """The rows of all methods on samples of that kind; penalties by solver and figure."""
    problem, test = pose(data)
    X = test[0]
    solved = next(islice(exact_admm(problem, X, RHO), SOLVED - 1, None))
    optimum = problem.objective(solved, X).mean().item()
    runs = {}
    for (solver, _), penalty in penalties.items():
        runs[solver, f"penalty {penalty:g}"] = islice(SOLVERS[solver](problem, X, penalty), FOLLOWED)
    for on, network in networks.items():
        guarded = safeguarded(network, X, FOLLOWED, penalties["LADMM", "above"])
        runs["D-LADMM", on] = network.iterate(X, layers=FOLLOWED)
        runs["D-LADMM, safeguarded", on] = (step.state for step in guarded)
    return [
        {"data": data, "method": method, "trained_on": how} | row
        for (method, how), states in runs.items()
        for row in follow(problem, states, test, optimum, own_E=how != "objective")
    ]


def measure(keep: Keep) -> Measured:
    """All methods on all kinds of samples."""
    figures = [(solver, figure) for solver in SOLVERS for figure in ("above", "nmse")]
    penalties = {names: keep(chosen_penalty)(*names) for names in figures}
    networks = {on: keep(trained)(on) for on in TRAINED_ON}
    rows = [row for data in tqdm(UNLIKE, "data") for row in measured_on(data, penalties, networks)]
    return Measured({"synthetic": pd.DataFrame(rows)})


def show(tables: Tables, made_by: Provenance) -> Page:
    """All methods after some of their iterations: above the optimum, then NMSE, on samples of each kind; and curves."""
    rows = tables["synthetic"]
    names = {"method": "method", "trained_on": "penalty, or trained on", "iteration": "layers or iterations"}
    shown = rows[rows["iteration"].isin(SHOWN)].rename(columns=names).fillna(math.inf)
    parts = ["# Synthetic experiment\n"]
    for column, heading in {"above": "Above the optimum, in percent", "nmse": "NMSE in dB"}.items():
        table = shown.pivot_table(column, [*names.values()], "data", sort=False)[[*UNLIKE]].reset_index()
        formats = dict.fromkeys(UNLIKE, lambda value: f"{value:.2f}" if value < 1e3 else "diverged")
        parts += [f"## {heading}\n", markdown(table, formats)]
    text = "\n".join([*parts, str(__doc__), "![curves per layer](synthetic.png)\n"])
    return Page(text, {"synthetic": draw_figure(rows[rows["data"] == [*UNLIKE][0]])})


def draw_figure(rows: pd.DataFrame) -> Figure:
    """NMSE and what is above the optimum, per layer, on samples as learned."""
    figure, [axes] = subplots(11, 5.6, 1, 2)
    labels = {"nmse": "NMSE of Z and E (dB)", "above": "above the optimum (%)"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        for (method, how), run in rows.groupby(["method", "trained_on"], sort=False):
            style = "--" if method in SOLVERS else "-" if "safeguarded" in method else ":"
            axis.plot(run["iteration"], run[name], style, label=f"{method}, {how}")
        limits = {"nmse": {"ylim": (-30, 0)}, "above": {"yscale": "log", "ylim": (0.01, 100)}}[name]
        axis.set(xlabel="layer or iteration", ylabel=label, xscale="log", **limits)
        axis.grid(alpha=0.3, which="both")
    legend_below(figure, 2)
    return figure


main = command("utils.studies.synthetic")

if __name__ == "__main__":
    main()
