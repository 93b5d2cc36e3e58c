"""The tables and the figure of utils.studies.convergent. One of the tables stands in README.md as well."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure

from utils.reporting.tables import Columns, grouped, markdown_table, number
from utils.studies import convergent_networks as learners

SOLVERS = {"LADMM": ("β", "--"), "exact ADMM": ("ρ", "-.")}  # the classical ones: sign of the penalty, line
REPEATED = "convergent weights, another last layer, relaxed"


@dataclass(frozen=True)
class ConvergenceRecord:
    """The state after a layer or an iteration; means over the test samples."""

    data: str
    method: str
    trained_on: str  # a name in models.losses.LOSSES; empty for what is not trained
    beta: float | None  # penalty of a classical solver: β of LADMM, ρ of exact ADMM; None for networks
    layer: int
    objective: float
    above: float  # the objective less that of the solution
    gap: float  # certified duality gap
    distance: float  # ‖A Z − A Z*‖ to the solution Z*
    psnr: float | None  # dB, of restored images


class Timed(NamedTuple):
    """How long a method takes to a goal; without layers and seconds it does not reach it."""

    goal: str
    method: str
    beta: float | None  # as in ConvergenceRecord
    layers: int | None
    seconds: float | None


Run = Sequence[ConvergenceRecord]  # the layers of one method on the same data
Penalties = Mapping[str, tuple[float, float]]  # of a solver: with the lowest objective, and certified first


def runs_shown(rows: Sequence[ConvergenceRecord], penalties: Penalties) -> dict[str, Run]:
    """The methods on some data by their names in the legend: solvers with these two penalties, then all others."""
    runs = grouped(rows, "method", "trained_on", "beta")
    shown = {}
    for solver, chosen in penalties.items():
        for which, beta in zip(("with the lowest objective", "that is certified first"), chosen, strict=True):
            shown[f"{solver}, {SOLVERS[solver][0]} {which}"] = runs[solver, "", beta]
    for (method, loss, beta), run in runs.items():
        if beta is None:
            shown[f"{method}, trained on the {loss.replace('_', ' ')}"] = run
    return shown


def solver_rows(rows: Iterable[ConvergenceRecord]) -> dict[str, list[ConvergenceRecord]]:
    """The rows of every classical solver, with all penalties."""
    return {method: found for (method,), found in grouped(rows, "method").items() if found[0].beta is not None}


def at_depth(run: Run) -> ConvergenceRecord:
    """The row after as many layers as a network has."""
    return next(row for row in run if row.layer == learners.DEPTH)


def is_certified(row: ConvergenceRecord) -> bool:
    """Whether the gap is at most `TOLERANCE` of the objective."""
    return math.isfinite(row.gap) and row.gap <= learners.TOLERANCE * row.objective


def first(rows: Iterable[ConvergenceRecord], reached: Callable[[ConvergenceRecord], bool]) -> ConvergenceRecord | None:
    """The row with the fewest layers that reached something; None if there is none."""
    return min(filter(reached, rows), key=lambda row: row.layer, default=None)


def certificate(run: Run) -> tuple[int, float]:
    """When a run is certified, or else its last layer, and the gap there: the smaller, the better."""
    row = first(run, is_certified) or run[-1]
    return row.layer, row.gap


def columns_of(runs: Mapping[str, Run], rows: Sequence[ConvergenceRecord]) -> Columns:
    """What methods have after `DEPTH` layers and when they are certified; rows: of all methods on the same data."""

    def count(row: ConvergenceRecord | None) -> str:
        return "never" if row is None else str(row.layer)

    def iterations(name: str, solver: str, tried: Sequence[ConvergenceRecord]) -> str:
        objective = at_depth(runs[name]).objective
        return "" if runs[name][0].method == solver else count(first(tried, lambda row: row.objective <= objective))

    columns = {
        f"after {learners.DEPTH} layers": lambda name: name,
        "objective": lambda name: number(at_depth(runs[name]).objective, 2),
        "certified gap": lambda name: number(at_depth(runs[name]).gap, 2),
        "PSNR": lambda name: number(at_depth(runs[name]).psnr, 2),
    }
    for solver, tried in solver_rows(rows).items():
        columns[f"{solver} iterations to it"] = partial(iterations, solver=solver, tried=tried)
    until = f"layers until the gap is {100 * learners.TOLERANCE:.0f} %"
    columns[until] = lambda name: count(first(runs[name], is_certified))
    return {heading: cell for heading, cell in columns.items() if any(cell(name) for name in runs)}


def section(rows: Sequence[ConvergenceRecord], penalties: Penalties, times: Sequence[Timed]) -> str:
    """What is said of some data: a table of all methods, the penalties of solvers, and a table of seconds."""
    runs = runs_shown(rows, penalties)
    columns = columns_of(runs, rows)
    for heading, name in {"objective above the optimum": "above", "distance to the solution": "distance"}.items():
        columns[f"{heading}, {rows[-1].layer} layers"] = lambda run, name=name: (
            f"{value:.2g}" if math.isfinite(value := getattr(runs[run][-1], name)) else "diverged"
        )
    which = "{}'s {} with the lowest objective is {:g}, the other {:g}.\n"
    chosen = [which.format(solver, SOLVERS[solver][0], *pair) for solver, pair in penalties.items()]
    seconds = {
        "to": lambda timed: timed.goal,
        "method": lambda timed: timed.method,
        "penalty": lambda timed: "" if timed.beta is None else f"{timed.beta:g}",
        "layers or iterations": lambda timed: "never" if timed.layers is None else str(timed.layers),
        "seconds": lambda timed: number(timed.seconds, 2),
    }
    return "\n".join(
        [f"## {rows[0].data}\n", markdown_table(list(runs), columns), *chosen, markdown_table(times, seconds)]
    )


def readme_tables(records: Sequence[ConvergenceRecord]) -> dict[str, str]:
    """The table of README.md: networks trained on the objective, and solvers with the penalty certified first."""
    rows = [row for row in records if row.data == "Lena"]
    runs, shown = grouped(rows, "method", "trained_on", "beta"), {}
    for solver, tried in solver_rows(rows).items():
        shown[solver] = min(grouped(tried, "beta").values(), key=certificate)
    methods_shown = {
        "D-LADMM": "free weights",
        "D-LADMM, then trained to certify": "free weights, then to certify",
        "convergent": "convergent weights",
        "convergent, trained to be repeated": REPEATED,
    }
    for name, method in methods_shown.items():
        shown[name] = runs[method, "objective", None]
    return {"convergence": markdown_table(list(shown), columns_of(shown, rows))}


def draw_figure(records: Sequence[ConvergenceRecord], chosen: Mapping[str, Penalties]) -> Figure:
    """Objective above the optimum, certified gap, and distance to the solution per layer: a row of axes for each data.

    LADMM is dashed, exact ADMM dash-dotted, convergent weights are solid, free ones dotted; chosen: for each data.
    """
    figure = Figure(figsize=(14, 4.6 * len(chosen) + 1.6), layout="constrained", dpi=110)
    lines = figure.subplots(len(chosen), 3, squeeze=False)
    names = {"above": "objective above the optimum", "gap": "certified gap", "distance": "‖A Z − A Z*‖"}
    for axes, (data, penalties) in zip(lines, chosen.items(), strict=True):
        rows = [row for row in records if row.data == data]
        for axis, (name, label) in zip(axes, names.items(), strict=True):
            for legend, run in runs_shown(rows, penalties).items():
                values = [getattr(row, name) for row in run]
                learned = "-" if legend.startswith("convergent") else ":"
                style = learned if run[0].beta is None else SOLVERS[run[0].method][1]
                axis.plot([row.layer for row in run], values, style, label=legend)
            positive = [value for row in rows if 0 < (value := getattr(row, name)) < math.inf]
            axis.set(xlabel="layer or iteration", ylabel=f"{label}, {data}", xscale="log", yscale="log")
            axis.set_ylim(min(positive) / 2, min(max(positive), 100))  # free weights diverge
            axis.grid(alpha=0.3)
    figure.legend(*lines[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure
