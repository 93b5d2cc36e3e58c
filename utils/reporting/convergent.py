"""Table and figure of utils.convergent: what methods have after their layers, and where they go from there."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from utils.evaluation.records import ConvergenceRecord
from utils.reporting.tables import markdown_table, number

ABOUT = """\
Convergent weights (`--weights convergent`, models/convergence.py): W1 = A D⁻¹ with diagonal D and W2 = 1/β, learned and
tied so that a layer is an iteration of proximal ADMM, which provably converges when it is repeated. Free weights: every
matrix, penalty and activation is learned by itself. All networks have {depth} layers; beyond them the last one is
repeated. "Another last layer": the last one is replaced by a convergent layer that was trained alone, so that the
certified gap is low after it was repeated; relaxed: it goes beyond each step, which still converges (ρ = 1.8). "Then to
certify": the last layers go on learning to lower the certified gap, and to keep A Z close to what it was before.
The safeguard puts LADMM's update wherever a layer makes no progress.

Means over the test samples. The gap bounds the distance of the objective to the optimum from above without knowing it;
certified means that it is at most {tolerance:.0%} of the objective. LADMM iterations to an objective are those with the
best β of all tried. LADMM's own rows are the β with the lowest objective after {depth} iterations and the β that is
certified first, both chosen on other samples.
"""


def convergent_markdown(
    records: Sequence[ConvergenceRecord], chosen: Mapping[str, tuple[float, float]], depth: int, tolerance: float
) -> str:
    """The tables of all data.

    Args:
        records: of all layers.
        chosen: LADMM's two β for each data.
        depth: layers of a network.
        tolerance: the relative gap at which a state is certified.
    """
    parts = ["# Convergent weights\n", ABOUT.format(depth=depth, tolerance=tolerance)]
    for data, betas in chosen.items():
        rows = [row for row in records if row.data == data]
        parts += [f"## {data}\n", _table(rows, betas, depth, tolerance)]
    return "\n".join(parts)


def convergent_figure(records: Sequence[ConvergenceRecord], chosen: Mapping[str, tuple[float, float]]) -> Figure:
    """Objective above the optimum, certified gap, and distance to the solution per layer: a row of axes for each data.

    LADMM is dashed, convergent weights are solid, free ones dotted.

    Args:
        records: of all layers.
        chosen: LADMM's two β for each data.
    """
    figure = Figure(figsize=(14, 4.6 * len(chosen) + 1.6), layout="constrained", dpi=110)
    lines = figure.subplots(len(chosen), 3, squeeze=False)
    names = {"above": "objective above the optimum", "gap": "certified gap", "distance": "‖A Z − A Z*‖"}
    for axes, (data, betas) in zip(lines, chosen.items(), strict=True):
        rows = [row for row in records if row.data == data]
        for axis, (name, label) in zip(axes, names.items(), strict=True):
            for place, (words, run) in enumerate(_in_words(rows, betas).items()):
                values = [getattr(row, name) for row in run]
                style = "--" if run[0].beta is not None else "-" if run[0].method.startswith("convergent") else ":"
                axis.plot([row.layer for row in run], values, style, color=f"C{place}", label=words)
            positive = [value for row in rows if 0 < (value := getattr(row, name)) < math.inf]
            axis.set(xlabel="layer or iteration", ylabel=f"{label}, {data}", xscale="log", yscale="log")
            axis.set_ylim(min(positive) / 2, min(max(positive), 100))  # free weights diverge
            axis.grid(alpha=0.3)
    figure.legend(*lines[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def runs_shown(
    records: Sequence[ConvergenceRecord], betas: Sequence[float]
) -> dict[tuple[str, str, float | None], list[ConvergenceRecord]]:
    """The layers of every method by method, loss and β; of LADMM those with the β alone that are given."""
    runs = {}
    for row in records:
        if row.beta is None or row.beta in betas:
            runs.setdefault((row.method, row.trained_on, row.beta), []).append(row)
    return runs


def _in_words(rows: Sequence[ConvergenceRecord], betas: tuple[float, float]) -> dict[str, list[ConvergenceRecord]]:
    """The runs that are shown by what the legend calls them, which is for all data: the β of LADMM differ."""
    runs = runs_shown(rows, betas)
    names = "LADMM, β with the lowest objective", "LADMM, β that is certified first"
    shown = {name: runs["LADMM", "", beta] for name, beta in zip(names, betas, strict=True)}
    return shown | {title(*key): run for key, run in runs.items() if key[2] is None}


def title(method: str, trained_on: str, beta: float | None) -> str:
    """A method in words."""
    if beta is not None:
        return f"{method}, β = {beta:g}"
    return f"{method}, trained on the {trained_on.replace('_', ' ')}"


def _table(rows: Sequence[ConvergenceRecord], betas: Sequence[float], depth: int, tolerance: float) -> str:
    ladmm = [row for row in rows if row.beta is not None]

    def at_depth(run: Sequence[ConvergenceRecord]) -> ConvergenceRecord:
        return next(row for row in run if row.layer == depth)

    def same_objective(run: Sequence[ConvergenceRecord]) -> str:
        if run[0].beta is not None:
            return ""
        return str(min((row.layer for row in ladmm if row.objective <= at_depth(run).objective), default="never"))

    def certified(run: Sequence[ConvergenceRecord]) -> str:
        close = (row for row in run if math.isfinite(row.gap) and row.gap <= tolerance * row.objective)
        return str(next((row.layer for row in close), "never"))

    def at_end(value: float) -> str:
        return f"{value:.2g}" if math.isfinite(value) else "diverged"

    columns = {
        "method": lambda run: title(run[0].method, run[0].trained_on, run[0].beta),
        f"objective, {depth} layers": lambda run: number(at_depth(run).objective, 3),
        "LADMM iterations to it": same_objective,
        f"gap, {depth} layers": lambda run: number(at_depth(run).gap, 2),
        f"PSNR (dB), {depth} layers": lambda run: number(at_depth(run).psnr, 2),
        f"layers until certified, {tolerance:.0%}": certified,
        f"objective above the optimum, {rows[-1].layer} layers": lambda run: at_end(run[-1].above),
        "distance to the solution then": lambda run: at_end(run[-1].distance),
    }
    if all(row.psnr is None for row in rows):
        del columns[f"PSNR (dB), {depth} layers"]
    return markdown_table(list(runs_shown(rows, betas).values()), columns)
