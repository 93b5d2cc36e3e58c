"""Figures: restored images side by side, and curves over epochs, layers and noise rates."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from utils.evaluation.records import (
    Classical,
    ComparisonRecord,
    EpochRecord,
    LADMMRecord,
    LayerRecord,
    Learned,
    Restoration,
    Result,
    SafeguardRecord,
    SyntheticRecord,
    in_words,
)

# Two details as (top, left, side), in fractions of the image's height, width and shorter side: Lena's eyes and hat.
CROPS = {"tab:red": (0.46, 0.46, 0.22), "tab:blue": (0.12, 0.40, 0.22)}


def of_run(
    clean: np.ndarray | None,
    classical: Classical,
    learned: Sequence[Learned],
    guarded: Sequence[SafeguardRecord],
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
    height, width = titled[0][1].shape[:2]
    ratio = height / width
    figure = Figure(figsize=(2.4 * len(titled), 2.4 * (ratio + len(CROPS)) + 0.5), layout="constrained", dpi=120)
    axes = figure.subplots(1 + len(CROPS), len(titled), height_ratios=[ratio] + [1] * len(CROPS))
    for column, (title, image) in zip(axes.T, titled, strict=True):
        column[0].set_title(title)
        _show(column[0], image)
        for axis, (color, (top, left, side)) in zip(column[1:], CROPS.items(), strict=True):
            size = max(1, round(side * min(height, width)))
            row, col = round(top * height), round(left * width)
            column[0].add_patch(Rectangle((col, row), size, size, fill=False, color=color, linewidth=1.5))
            _show(axis, image[row : row + size, col : col + size])
            for spine in axis.spines.values():
                spine.set(color=color, linewidth=2)
    return figure


def layers(networks: Sequence[LayerRecord], ladmm: Sequence[LADMMRecord], converged: Result) -> Figure:
    """Objective and PSNR after every layer of each network, against LADMM's iterations and LADMM at convergence."""
    deepest = max(record.layer for record in networks)
    figure = Figure(figsize=(11, 4.5), layout="constrained", dpi=120)
    names = {"objective": "objective per patch", "psnr": "PSNR (dB)"}
    for axis, (name, quantity) in _axes(figure, names, networks[0]):
        for label, records in _by_network(networks).items():
            _curve(axis, records, "layer", name, ".-", label)
        _curve(axis, [r for r in ladmm if r.iteration <= deepest], "iteration", name, "k.--", "LADMM")
        axis.axhline(getattr(converged, name), color="k", linewidth=1, label=converged.title)
        _finish(axis, "layer or iteration", quantity)
    _legend_below(figure, 4)
    return figure


def convergence(networks: Sequence[LayerRecord], ladmm: Sequence[LADMMRecord]) -> Figure:
    """Distance of the objective to the optimum, for which LADMM's last iteration stands, and the certified gap."""
    optimum = max(ladmm[-1].objective, 1e-12)  # zero for a black image
    figure = Figure(figsize=(11, 4.5), layout="constrained", dpi=120)
    distance, certificate = figure.subplots(1, 2)
    for label, records in _by_network(networks).items():
        steps = [r.layer for r in records]
        distance.plot(steps, [r.objective / optimum - 1 for r in records], ".-", label=label)
        certificate.plot(steps, [r.gap / optimum for r in records], ".-", label=label)
    steps = [r.iteration for r in ladmm]
    early = [r for r in ladmm if r.iteration <= steps[-1] / 2]  # the last one stands for the optimum
    distance.plot([r.iteration for r in early], [r.objective / optimum - 1 for r in early], "k--", label="LADMM")
    certificate.plot(steps, [r.gap / optimum for r in ladmm], "k--", label="LADMM")
    distance.set(title=f"optimum: LADMM, {steps[-1]} iterations", ylabel="relative distance to the optimum")
    certificate.set(title="certificate: knows no optimum", ylabel="relative duality gap")
    for axis in (distance, certificate):
        axis.set(xlabel="layer or iteration", xscale="log", yscale="log")
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    return figure


def safeguard(records: Sequence[SafeguardRecord]) -> Figure:
    """Objective per layer on out-of-distribution inputs, with and without the safeguard, and updates replaced."""
    inputs = list(dict.fromkeys(record.input for record in records))
    figure = Figure(figsize=(11, 4 * len(inputs)), layout="constrained", dpi=120)
    for (objective, replaced), name in zip(figure.subplots(len(inputs), 2, squeeze=False), inputs, strict=True):
        for method, style in {"safeguarded": "-", "unguarded": ":", "ladmm": "k--"}.items():
            chosen = [r for r in records if (r.input, r.method) == (name, method)]
            _curve(objective, chosen, "layer", "objective", style, method.replace("ladmm", "LADMM"))
        best = min(r.objective for r in records if (r.input, r.method) == (name, "ladmm"))
        objective.set(title=name, xlabel="layer or iteration", ylabel="objective per patch", yscale="log")
        objective.set_ylim(0.97 * best + 1e-12, 4 * best + 1e-9)
        guarded = [r for r in records if (r.input, r.method) == (name, "safeguarded")]
        _curve(replaced, guarded, "layer", "replaced", "-", "updates replaced by LADMM's")
        replaced.set(title=name, xlabel="layer", ylabel="fraction of the patches", ylim=(-0.02, 1.02))
        for axis in (objective, replaced):
            axis.grid(alpha=0.3, which="both")
            axis.legend()
    return figure


def synthetic(records: Sequence[SyntheticRecord], alpha: float, beta: float) -> Figure:
    """NMSE and objective per layer, against LADMM with the same α and β, and the best NMSE of all α and β tried."""
    figure = Figure(figsize=(11, 5.2), layout="constrained", dpi=120)
    nmse, objective = figure.subplots(1, 2)
    for activation, trained_on in dict.fromkeys((r.activation, r.trained_on) for r in records):
        wanted = (activation, trained_on, alpha, beta)
        chosen = [r for r in records if (r.activation, r.trained_on, r.alpha, r.beta) == wanted]
        label = f"{activation}, trained on the {trained_on}" if activation else f"LADMM, α = {alpha:g}, β = {beta:g}"
        for axis, name in ((nmse, "nmse"), (objective, "objective")):
            _curve(axis, chosen, "iteration", name, ".-" if activation else "k--", label)
    solver = [r for r in records if r.method == "ladmm"]
    iterations = sorted({r.iteration for r in solver})
    best = [min(r.nmse for r in solver if r.iteration == iteration) for iteration in iterations]
    nmse.plot(iterations, best, "k:", label="LADMM, for every iteration the best α and β of those tried")
    nmse.set(ylabel="NMSE of Z and E (dB)")
    objective.set(ylabel=f"objective per sample, α = {alpha:g}")
    for axis in (nmse, objective):
        axis.set(xlabel="layer or iteration", xscale="log")
        axis.grid(alpha=0.3, which="both")
    _legend_below(figure, 2)
    return figure


def errors(clean: np.ndarray, images: dict[str, np.ndarray]) -> Figure:
    """The same detail of the clean image and of each restored one, with the absolute error below."""
    top, left, side = CROPS["tab:red"]
    height, width = clean.shape[:2]
    size = round(side * min(height, width))
    row, col = round(top * height), round(left * width)
    detail = np.s_[row : row + size, col : col + size]
    titled = {"clean": clean} | images
    lines = math.ceil(len(titled) / 8)  # of methods, which make the picture about as wide as a slide
    columns = math.ceil(len(titled) / lines)
    figure = Figure(figsize=(1.6 * columns + 0.8, 3.9 * lines), layout="constrained", dpi=120)
    axes = figure.subplots(2 * lines, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (title, image) in enumerate(titled.items()):
        above, below = axes[2 * (number // columns) :, number % columns][:2]
        above.set_title(title, fontsize=7)
        _show(above, image[detail])
        error = np.abs(image - clean)[detail]
        error = error.mean(axis=2) if error.ndim == 3 else error
        shown = below.imshow(error, cmap="magma", vmin=0, vmax=0.1, interpolation="nearest")
    figure.colorbar(shown, ax=axes[1::2], label="absolute error", shrink=0.8)
    return figure


def noise_rates(records: Sequence[ComparisonRecord]) -> Figure:
    """PSNR of each method over the noise rate, on Lena and in the mean over the test images; means over the seeds."""
    figure = Figure(figsize=(11, 6.5), layout="constrained", dpi=120)
    axes = figure.subplots(1, 2, sharey=True)
    rates = list(dict.fromkeys(record.noise_rate for record in records))
    shown = {"Lena": [r for r in records if r.image == "lena"], "mean of the test images": records}
    for axis, (title, rows) in zip(axes, shown.items(), strict=True):
        for number, method in enumerate(dict.fromkeys(record.method for record in records)):
            of_rate = [[r.psnr for r in rows if (r.method, r.noise_rate) == (method, rate)] for rate in rates]
            means = [np.mean(values) if values else np.nan for values in of_rate]
            style = ".-" if method.startswith("D-LADMM") else "x:"
            axis.plot(rates, means, style, color=f"C{number % 10}", label=method)
        axis.set_xlim(0, 1.05 * max(rates))
        axis.set_xscale("function", functions=(np.sqrt, np.square))  # room for both ends
        axis.set(title=title, xlabel="noise rate", ylabel="PSNR (dB)")
        axis.set_xticks(rates, [f"{rate:.0%}" for rate in rates])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    _legend_below(figure, 2)
    return figure


def training(history: Sequence[EpochRecord]) -> Figure:
    """PSNR per epoch, and the loss of each training, whose losses cannot be compared; a curve for each network."""
    trainings = list(dict.fromkeys(record.training for record in history))
    panels = [("loss", f"training loss at the last layer, {in_words(name)}", {name}) for name in trainings]
    if history[0].psnr is not None:
        panels.append(("psnr", "PSNR (dB), not used in training", set(trainings)))
    colours = {label: f"C{number}" for number, label in enumerate(_by_network(history))}
    figure = Figure(figsize=(5.5 * len(panels), 4.5), layout="constrained", dpi=120)
    for axis, (name, quantity, shown) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for label, records in _by_network([r for r in history if r.training in shown]).items():
            _curve(axis, records, "epoch", name, f"{colours[label]}.-", label)
        _finish(axis, "epoch", quantity)
    _legend_below(figure, 3)
    return figure


def _by_network(records: Sequence[Any]) -> dict[str, list[Any]]:
    """The records of each network, by its depth and training in words."""
    networks = dict.fromkeys((record.training, record.depth) for record in records)
    return {
        f"d = {depth}, {in_words(training)}": [r for r in records if (r.training, r.depth) == (training, depth)]
        for training, depth in networks
    }


def _axes(figure: Figure, names: dict[str, str], record: Any) -> Iterator[tuple[Axes, tuple[str, str]]]:
    """An axis for each of the names for which the record has a value."""
    names = {name: label for name, label in names.items() if getattr(record, name) is not None}
    return zip(figure.subplots(1, len(names), squeeze=False)[0], names.items(), strict=True)


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
