"""Figures: restored images side by side, and curves over epochs and layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from utils.evaluation.records import (
    Classical,
    EpochRecord,
    LADMMRecord,
    LayerRecord,
    Learned,
    Restoration,
    Result,
    SafeguardRecord,
    in_words,
)

# Two details as (top, left, side), in fractions of the image's height, width and shorter side: Lena's eyes and hat.
CROPS = {"tab:red": (0.46, 0.46, 0.22), "tab:blue": (0.12, 0.40, 0.22)}
LINES = (".-", "x--", "+:")  # of the first training, the second, …
MINIMIZE = ("unsupervised",)  # trainings whose loss is the objective, or a bound of it
SAFEGUARD_STYLES = {"safeguarded": "-", "unguarded": ":", "ladmm": "k--"}


def of_run(
    clean: np.ndarray | None, classical: Classical, learned: Sequence[Learned], guarded: Sequence[SafeguardRecord]
) -> dict[str, Figure]:
    """All figures of a run of main_lena.py, by the names of their files."""
    noisy, *_, converged = classical.restorations
    history = [record for trained in learned for record in trained.history]
    networks = [record for trained in learned for record in trained.layers]
    return {
        "comparison": comparison(clean, [noisy, converged, *(trained.restoration for trained in learned)]),
        "training": training(history),
        "layers": layers(networks, classical.trace, converged.result),
        "convergence": convergence(networks, classical.trace),
        "safeguard": safeguard(guarded),
    }


def comparison(clean: np.ndarray | None, restorations: Sequence[Restoration]) -> Figure:
    """The clean image, if there is one, and the restored ones, with two enlarged details below each."""
    titled = [] if clean is None else [("clean", clean)]
    for image, result in restorations:
        title = "\n".join(result.title.rsplit(", ", 1))
        titled.append((title if clean is None else f"{title}\n{result.psnr:.2f} dB", image))
    shape = titled[0][1].shape
    ratios = [shape[0] / shape[1]] + [1] * len(CROPS)
    figure, axes = _panels(2.4 * len(titled), 2.4 * sum(ratios) + 0.5, len(ratios), len(titled), height_ratios=ratios)
    for column, (title, image) in zip(axes.T, titled, strict=True):
        column[0].set_title(title)
        _show(column[0], image)
        for axis, color in zip(column[1:], CROPS, strict=True):
            row, col, size = _square(color, shape)
            column[0].add_patch(Rectangle((col, row), size, size, fill=False, color=color, linewidth=1.5))
            _show(axis, image[row : row + size, col : col + size])
            for spine in axis.spines.values():
                spine.set(color=color, linewidth=2)
    return figure


def layers(networks: Sequence[LayerRecord], ladmm: Sequence[LADMMRecord], converged: Result) -> Figure:
    """Objective and PSNR after every layer of each network, against LADMM's iterations and LADMM at convergence.

    The objective is that of the networks that learn to minimize it.
    """
    styles = _styles(networks)
    deepest = max(record.layer for record in networks)
    panels = {"objective": "objective per patch"} | ({} if networks[0].psnr is None else {"psnr": "PSNR (dB)"})
    figure, axes = _panels(11, 4.5, 1, len(panels))
    for axis, (name, quantity) in zip(axes[0], panels.items(), strict=True):
        shown = [r for r in networks if name != "objective" or r.training in MINIMIZE]
        for label, records in _by_network(shown).items():
            _curve(axis, records, "layer", name, styles[label], label)
        _curve(axis, [r for r in ladmm if r.iteration <= deepest], "iteration", name, "k.--", "LADMM")
        axis.axhline(getattr(converged, name), color="k", linewidth=1, label=converged.title)
        _finish(axis, "layer or iteration", quantity)
    _legend_below(figure, 4)
    return figure


def convergence(networks: Sequence[LayerRecord], ladmm: Sequence[LADMMRecord]) -> Figure:
    """Distance of the objective to the optimum, for which LADMM's last iteration stands, and the certified gap."""
    optimum = max(ladmm[-1].objective, 1e-12)  # zero for a black image
    figure, ((distance, certificate),) = _panels(11, 4.5, 1, 2)
    iterations = ladmm[-1].iteration
    styles = _styles(networks)
    curves = [(label, styles[label], [(r.layer, r) for r in rows]) for label, rows in _by_network(networks).items()]
    for label, style, steps in (*curves, ("LADMM", "k--", [(r.iteration, r) for r in ladmm])):
        # LADMM's last iteration stands for the optimum, so its own distance is shown for the first half alone.
        early = steps if label != "LADMM" else [step for step in steps if step[0] <= iterations / 2]
        distance.plot([k for k, _ in early], [r.objective / optimum - 1 for _, r in early], style, label=label)
        certificate.plot([k for k, _ in steps], [r.gap / optimum for _, r in steps], style, label=label)
    distance.set(title=f"optimum: LADMM, {iterations} iterations", ylabel="relative distance to the optimum")
    certificate.set(title="certificate: knows no optimum", ylabel="relative duality gap")
    for axis in (distance, certificate):
        axis.set(xlabel="layer or iteration", xscale="log", yscale="log")
        axis.grid(alpha=0.3, which="both")
    _legend_below(figure, 4)
    return figure


def safeguard(records: Sequence[SafeguardRecord]) -> Figure:
    """Objective per layer on out-of-distribution inputs, with and without the safeguard, and updates replaced."""
    inputs = list(dict.fromkeys(record.input for record in records))
    figure, axes = _panels(11, 4 * len(inputs), len(inputs), 2)
    for (objective, replaced), name in zip(axes, inputs, strict=True):
        of_method = {m: [r for r in records if (r.input, r.method) == (name, m)] for m in SAFEGUARD_STYLES}
        for method, style in SAFEGUARD_STYLES.items():
            _curve(objective, of_method[method], "layer", "objective", style, method.replace("ladmm", "LADMM"))
        best = min(r.objective for r in of_method["ladmm"])
        objective.set(title=name, xlabel="layer or iteration", ylabel="objective per patch", yscale="log")
        objective.set_ylim(0.97 * best + 1e-12, 4 * best + 1e-9)
        _curve(replaced, of_method["safeguarded"], "layer", "replaced", "-", "_replaced")
        replaced.set(title=name, xlabel="layer", ylabel="share of the updates that LADMM's replace", ylim=(-0.02, 1.02))
        for axis in (objective, replaced):
            axis.grid(alpha=0.3, which="both")
    _legend_below(figure, 4)
    return figure


def training(history: Sequence[EpochRecord]) -> Figure:
    """PSNR per epoch, and the loss of each training, whose losses cannot be compared; a curve for each network."""
    trainings = list(dict.fromkeys(record.training for record in history))
    panels = [("loss", f"training loss at the last layer, {in_words(name)}", {name}) for name in trainings]
    if history[0].psnr is not None:
        panels.append(("psnr", "PSNR (dB), not used in training", set(trainings)))
    styles = _styles(history)
    figure, axes = _panels(5.5 * len(panels), 4.5, 1, len(panels))
    for axis, (name, quantity, shown) in zip(axes[0], panels, strict=True):
        for label, records in _by_network([r for r in history if r.training in shown]).items():
            _curve(axis, records, "epoch", name, styles[label], label)
        _finish(axis, "epoch", quantity)
    _legend_below(figure, 3)
    return figure


def _by_network(records: Sequence[Any]) -> dict[str, list[Any]]:
    """The records of each network, by the label of its curve."""
    networks = dict.fromkeys((record.training, record.depth) for record in records)
    return {
        f"d = {depth}, {in_words(training)}": [r for r in records if (r.training, r.depth) == (training, depth)]
        for training, depth in networks
    }


def _styles(records: Sequence[Any]) -> dict[str, str]:
    """The style of each curve, by its label: the colour is the depth, the line the training."""
    depths, trainings = (
        {name: i for i, name in enumerate(dict.fromkeys(getattr(r, column) for r in records))}
        for column in ("depth", "training")
    )
    first = {label: rows[0] for label, rows in _by_network(records).items()}
    return {label: f"C{depths[r.depth]}{LINES[trainings[r.training] % len(LINES)]}" for label, r in first.items()}


def _panels(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure of that size in inches, and its axes (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _square(color: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Top row, left column and side of that detail of an image, see `CROPS`, in pixels."""
    (top, left, side), (height, width) = CROPS[color], shape[:2]
    return round(top * height), round(left * width), max(1, round(side * min(height, width)))


def _curve(axis: Axes, records: Sequence[Any], x: str, y: str, style: str, label: str) -> None:
    axis.plot([getattr(r, x) for r in records], [getattr(r, y) for r in records], style, label=label)


def _finish(axis: Axes, x: str, y: str) -> None:
    axis.set(xlabel=x, ylabel=y)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)


def _legend_below(figure: Figure, columns: int) -> None:
    """One legend for all axes, which have no room for it: every label once."""
    labelled = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        labelled |= dict(zip(labels, handles, strict=True))
    figure.legend(labelled.values(), labelled, loc="outside lower center", ncols=columns)


def _show(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
