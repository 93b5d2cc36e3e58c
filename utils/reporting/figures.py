"""Figures: restored images side by side, and curves over epochs and layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from data.images import Image
from utils.reporting.tables import in_words, title

# Two details as (top, left, side), in fractions of the image's height, width and shorter side: Lena's eyes and hat.
CROPS = {"tab:red": (0.46, 0.46, 0.22), "tab:blue": (0.12, 0.40, 0.22)}
LINES = (".-", "x--", "+:")  # of the first training, the second, …
MINIMIZE = ("unsupervised",)  # trainings whose loss is the objective, or a bound of it


def comparison(clean: Image | None, restored: Sequence[tuple[Image, Mapping[str, Any]]]) -> Figure:
    """The clean image, if there is one, and the restored ones, each with its row of results; below, two details."""
    titled = [] if clean is None else [("clean", clean)]
    for image, row in restored:
        name = "\n".join(title(row).rsplit(", ", 1))
        titled.append((name if clean is None else f"{name}\n{row['psnr']:.2f} dB", image))
    shape = titled[0][1].shape
    ratios = [shape[0] / shape[1]] + [1] * len(CROPS)
    figure, axes = subplots(2.4 * len(titled), 2.4 * sum(ratios) + 0.5, len(ratios), len(titled), height_ratios=ratios)
    for column, (name, image) in zip(axes.T, titled, strict=True):
        column[0].set_title(name)
        _show(column[0], image)
        for axis, color in zip(column[1:], CROPS, strict=True):
            rows, columns = detail = detail_of(color, shape)
            place, size = (columns.start, rows.start), rows.stop - rows.start
            column[0].add_patch(Rectangle(place, size, size, fill=False, color=color, linewidth=1.5))
            _show(axis, image[detail])
            for spine in axis.spines.values():
                spine.set(color=color, linewidth=2)
    return figure


def layers(networks: pd.DataFrame, ladmm: pd.DataFrame, converged: pd.Series) -> Figure:
    """Objective, of networks that minimize it, and PSNR after every layer, against LADMM's iterations and its end."""
    panels = [("objective", "objective per patch", MINIMIZE)]
    early = ladmm[ladmm["iteration"] <= networks["layer"].max()]
    if networks["psnr"].notna().any():
        panels.append(("psnr", "PSNR (dB)", networks["training"].unique()))
    figure = _curves(networks, "layer", panels, 11)
    for axis, (name, *_) in zip(figure.axes, panels, strict=True):
        axis.plot(early["iteration"], early[name], "k.--", label="LADMM")
        axis.axhline(converged[name], color="k", linewidth=1, label=title(converged))
        axis.set_xlabel("layer or iteration")
    legend_below(figure, 4)
    return figure


def training(history: pd.DataFrame) -> Figure:
    """PSNR per epoch, and the loss of each training, whose losses cannot be compared; a curve for each network."""
    trainings = list(history["training"].unique())
    panels = [("loss", f"training loss at the last layer, {in_words(name)}", [name]) for name in trainings]
    if history["psnr"].notna().any():
        panels.append(("psnr", "PSNR (dB), not used in training", trainings))
    figure = _curves(history, "epoch", panels, 5.5 * len(panels))
    legend_below(figure, 3)
    return figure


def _curves(networks: pd.DataFrame, x: str, panels: Sequence[tuple[str, str, Sequence[str]]], width: float) -> Figure:
    """Axes for panels side by side: a column, its label, and the trainings of the networks whose curves are there.
    Among all networks the colour is the depth, the line the training."""
    figure, [axes] = subplots(width, 4.5, 1, len(panels))
    depths, trainings = (list(networks[column].unique()) for column in ("depth", "training"))
    for axis, (y, quantity, shown) in zip(axes, panels, strict=True):
        own = networks[networks["training"].isin(shown)]
        for (training, depth), rows in own.groupby(["training", "depth"], sort=False):
            style = f"C{depths.index(depth)}{LINES[trainings.index(training) % len(LINES)]}"
            axis.plot(rows[x], rows[y], style, label=f"d = {depth}, {in_words(training)}")
        axis.set(xlabel=x, ylabel=quantity)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
    return figure


def subplots(width: float, height: float, rows: int, columns: int, dpi: int = 120, **how: Any) -> tuple[Figure, Any]:
    """A figure of that size in inches, and its axes, an array (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=dpi)
    return figure, figure.subplots(rows, columns, squeeze=False, **how)


def detail_of(color: str, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns of that detail of an image, see `CROPS`."""
    (top, left, side), (height, width) = CROPS[color], shape[:2]
    row, column, size = round(top * height), round(left * width), max(1, round(side * min(height, width)))
    return slice(row, row + size), slice(column, column + size)


def legend_below(figure: Figure, columns: int) -> None:
    """One legend for all axes, which have no room for it: every label once."""
    labelled = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        labelled |= dict(zip(labels, handles, strict=True))
    figure.legend(labelled.values(), labelled, loc="outside lower center", ncols=columns)


def _show(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
