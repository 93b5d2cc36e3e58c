"""Convergent weights on trial: what networks have after 15 layers, and where they go when the last one is repeated.

`python -m utils.studies.convergent` (some 25 minutes) writes results/convergent.csv, .md and .png: for Lena and for the
synthetic data of the paper, LADMM, networks of convergent and of free weights trained on the objective, on the
certified gap and on both, last layers that are trained to be repeated or to certify, and the safeguard, which puts
LADMM's update wherever a layer makes no progress. Beyond the depth of a network its last layer is repeated.

Convergent weights (`--weights convergent`, models/convergence.py): W1 = A D⁻¹ with diagonal D and W2 = 1/β, learned and
tied so that a layer is an iteration of proximal ADMM, which provably converges when it is repeated. Free weights: every
matrix, penalty and activation is learned by itself. "Another last layer": the last one is replaced by a convergent
layer that was trained alone, so that the certified gap is low after it was repeated; relaxed: it goes beyond each step,
which still converges. "Then to certify": the last layers go on learning to lower the certified gap, and to keep A Z
close to what it was before.

Figures are means over the test samples. The gap bounds the distance of the objective to the optimum from above without
knowing it; certified means that it is at most `TOLERANCE` of the objective. LADMM iterations to an objective are those
with the best β of all tried. LADMM's own rows are the β with the lowest objective after as many iterations as networks
have layers and the β that is certified first, both chosen on other samples.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import islice, product

import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from models import State, ladmm
from models.safeguard import safeguarded
from utils.evaluation.solvers import follow_ladmm, solve_to_convergence
from utils.reporting.tables import Columns, grouped, markdown_table, number
from utils.studies import convergent_networks as learners
from utils.studies.convergent_networks import Data
from utils.studies.study import Report, constants, run_study

FOLLOWED, SOLVED = 1000, 6000  # layers: how many are followed, and iterations of LADMM that lead to the solution
BETAS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0)  # of LADMM
TOLERANCE = 0.01  # certified gap relative to the objective
TRAINED_ON = ("objective", "gap", "objective_and_gap")


@dataclass(frozen=True)
class ConvergenceRecord:
    """The state after a layer or an iteration; means over the test samples."""

    data: str
    method: str
    trained_on: str  # a name in models.losses.LOSSES; empty for what is not trained
    beta: float | None  # of LADMM
    layer: int
    objective: float
    above: float  # the objective less that of the solution
    gap: float  # certified duality gap
    distance: float  # ‖A Z − A Z*‖ to the solution Z*
    psnr: float | None  # dB, of restored images


Run = Sequence[ConvergenceRecord]  # the layers of one method on the same data


def best_betas(data: Data) -> tuple[float, float]:
    """LADMM's β with the lowest objective after as many iterations as there are layers, and that which certifies first,
    on the other samples."""
    ladmm = data.problem, data.to_choose_by, None  # no mask
    lowest = min(BETAS, key=lambda beta: next(follow_ladmm(*ladmm, beta, 0, {learners.DEPTH})).objective)
    first = min(BETAS, key=lambda beta: solve_to_convergence(*ladmm, beta, TOLERANCE, FOLLOWED).iteration)
    return lowest, first


@torch.enable_grad()  # `follow` needs none
def methods(data: Data, certifying: float) -> Iterator[tuple[str, str, float | None, Iterator[State]]]:
    """Name, loss of the training, LADMM's β, and the states of every method; `certifying`: β of the safeguard."""
    for beta in BETAS:
        yield "LADMM", "", beta, ladmm(data.problem, data.X, beta)
    learned = {}
    for weights, loss in product(learners.KINDS, TRAINED_ON):
        learned[f"{weights} weights", loss] = learners.trained(data, weights, loss)
    convergent, free = (learned[f"{weights} weights", "objective"] for weights in learners.KINDS)
    last = learners.trained_to_be_repeated(data).layers[0]
    for name, relaxation in (("", 1.0), (", relaxed", learners.RELAXATION)):
        network = deepcopy(convergent)
        network.layers[-1] = deepcopy(last)
        network.layers[-1].relaxation = relaxation
        learned[f"convergent weights, another last layer{name}", "objective"] = network
    learned["free weights, then to certify", "objective"] = learners.trained_to_certify(data, free)
    for (name, loss), network in learned.items():
        yield name, loss, None, network.iterate(data.X, layers=FOLLOWED)
    states = (step.state for step in safeguarded(free, data.X, FOLLOWED, certifying))
    yield "free weights, safeguarded", "objective", None, states


@torch.no_grad()
def follow(data: Data, certifying: float) -> Iterator[ConvergenceRecord]:
    """The rows of all methods: every layer up to 100, then every tenth.

    Args:
        data: what they solve.
        certifying: LADMM's β that certifies first, for the solution and the safeguard.
    """
    problem, X = data.problem, data.X
    solution = next(follow_ladmm(problem, X, None, certifying, 0, {SOLVED}))
    tqdm.write(f"{data.name}: the solution has the objective {solution.objective.item():.4f}")
    for method, loss, beta, states in methods(data, certifying):
        for layer, state in enumerate(islice(states, FOLLOWED), start=1):
            if layer > 100 and layer % 10:
                continue
            objective, gap = problem.objective(state, X).mean().item(), problem.gap(state, X).mean().item()
            above = objective - solution.objective.item()
            distance = torch.linalg.vector_norm(state.AZ - solution.patches, dim=1).mean().item()
            means = layer, objective, above, gap, distance, data.psnr(state.AZ)
            yield ConvergenceRecord(data.name, method, loss, beta, *means)


def runs_shown(rows: Sequence[ConvergenceRecord], betas: tuple[float, float]) -> dict[str, Run]:
    """The methods on some data by their names in the legend: LADMM with the two β of `best_betas`, then all others."""
    runs = grouped(rows, "method", "trained_on", "beta")
    names = "LADMM, β with the lowest objective", "LADMM, β that is certified first"
    shown = {name: runs["LADMM", "", beta] for name, beta in zip(names, betas, strict=True)}
    for (method, loss, beta), run in runs.items():
        if beta is None:
            shown[f"{method}, trained on the {loss.replace('_', ' ')}"] = run
    return shown


def at_depth(run: Run) -> ConvergenceRecord:
    """The row after as many layers as a network has."""
    return next(row for row in run if row.layer == learners.DEPTH)


def certified_after(run: Run) -> float:
    """The layers after which the gap is at most `TOLERANCE` of the objective; infinity if it never is."""
    close = (row.layer for row in run if math.isfinite(row.gap) and row.gap <= TOLERANCE * row.objective)
    return next(close, math.inf)


def columns_of(runs: Mapping[str, Run], rows: Sequence[ConvergenceRecord]) -> Columns:
    """What methods have after `DEPTH` layers and when they are certified; rows: of all methods on the same data."""

    def count(layers: float) -> str:
        return "never" if layers == math.inf else str(layers)

    def iterations(name: str) -> str:
        objective = at_depth(runs[name]).objective
        reached = (row.layer for row in rows if row.beta is not None and row.objective <= objective)
        return "" if runs[name][0].beta is not None else count(min(reached, default=math.inf))

    columns = {
        f"after {learners.DEPTH} layers": lambda name: name,
        "objective": lambda name: number(at_depth(runs[name]).objective, 2),
        "certified gap": lambda name: number(at_depth(runs[name]).gap, 2),
        "PSNR": lambda name: number(at_depth(runs[name]).psnr, 2),
        "LADMM iterations to it": iterations,
        f"layers until the gap is {100 * TOLERANCE:.0f} %": lambda name: count(certified_after(runs[name])),
    }
    return {heading: cell for heading, cell in columns.items() if any(cell(name) for name in runs)}


def report_markdown(records: Sequence[ConvergenceRecord], chosen: Mapping[str, tuple[float, float]]) -> str:
    """A table for each data; chosen: LADMM's two β for each."""
    parts = ["# Convergent weights\n", __doc__]
    for data, betas in chosen.items():
        rows = [row for row in records if row.data == data]
        runs = runs_shown(rows, betas)
        columns = columns_of(runs, rows)
        for heading, name in {"objective above the optimum": "above", "distance to the solution": "distance"}.items():
            columns[f"{heading}, {rows[-1].layer} layers"] = lambda run, runs=runs, name=name: (
                f"{value:.2g}" if math.isfinite(value := getattr(runs[run][-1], name)) else "diverged"
            )
        which = "LADMM's β with the lowest objective is {:g}, the other {:g}.\n".format(*betas)
        parts += [f"## {data}\n", markdown_table(list(runs), columns), which]
    return "\n".join([*parts, "![objective, gap and distance to the solution per layer](convergent.png)\n"])


def readme_tables(records: Sequence[ConvergenceRecord]) -> dict[str, str]:
    """The table of README.md: networks trained on the objective, and LADMM with the β that is certified first."""
    rows = [row for row in records if row.data == "Lena"]
    runs = grouped(rows, "method", "trained_on", "beta")
    shown = {"LADMM": min((run for (*_, beta), run in runs.items() if beta is not None), key=certified_after)}
    methods_shown = {
        "D-LADMM": "free weights",
        "D-LADMM, then trained to certify": "free weights, then to certify",
        "convergent": "convergent weights",
        "convergent, trained to be repeated": "convergent weights, another last layer, relaxed",
    }
    for name, method in methods_shown.items():
        shown[name] = runs[method, "objective", None]
    return {"convergence": markdown_table(list(shown), columns_of(shown, rows))}


def draw_figure(records: Sequence[ConvergenceRecord], chosen: Mapping[str, tuple[float, float]]) -> Figure:
    """Objective above the optimum, certified gap, and distance to the solution per layer: a row of axes for each data.

    LADMM is dashed, convergent weights are solid, free ones dotted; chosen: LADMM's two β for each data.
    """
    figure = Figure(figsize=(14, 4.6 * len(chosen) + 1.6), layout="constrained", dpi=110)
    lines = figure.subplots(len(chosen), 3, squeeze=False)
    names = {"above": "objective above the optimum", "gap": "certified gap", "distance": "‖A Z − A Z*‖"}
    for axes, (data, betas) in zip(lines, chosen.items(), strict=True):
        rows = [row for row in records if row.data == data]
        for axis, (name, label) in zip(axes, names.items(), strict=True):
            for label, run in runs_shown(rows, betas).items():
                values = [getattr(row, name) for row in run]
                style = "--" if run[0].beta is not None else "-" if label.startswith("convergent") else ":"
                axis.plot([row.layer for row in run], values, style, label=label)
            positive = [value for row in rows if 0 < (value := getattr(row, name)) < math.inf]
            axis.set(xlabel="layer or iteration", ylabel=f"{label}, {data}", xscale="log", yscale="log")
            axis.set_ylim(min(positive) / 2, min(max(positive), 100))  # free weights diverge
            axis.grid(alpha=0.3)
    figure.legend(*lines[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def compare() -> Report:
    """Follows all methods on Lena and on synthetic data."""
    records, chosen = [], {}
    for data in (learners.lena(), learners.synthetic()):
        chosen[data.name] = best_betas(data)
        records += follow(data, chosen[data.name][1])
    figures = {"convergent": draw_figure(records, chosen)}
    return Report(report_markdown(records, chosen), {"convergent": records}, figures, readme_tables(records))


main = partial(run_study, "utils.studies.convergent", sys.modules[__name__], compare, more=constants(learners))

if __name__ == "__main__":
    main()
