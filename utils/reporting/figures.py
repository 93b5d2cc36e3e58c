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
    panels = {"objective": "objective per patch"} | ({"psnr": "PSNR (dB)"} if networks["psnr"].notna().any() else {})
    early = ladmm[ladmm["iteration"] <= networks["layer"].max()]
    figure, axes = subplots(11, 4.5, 1, len(panels))
    for axis, (name, quantity) in zip(axes[0], panels.items(), strict=True):
        shown = MINIMIZE if name == "objective" else networks["training"].unique()
        _draw_networks(axis, networks, shown, "layer", name)
        axis.plot(early["iteration"], early[name], "k.--", label="LADMM")
        axis.axhline(converged[name], color="k", linewidth=1, label=title(converged))
        _finish(axis, "layer or iteration", quantity)
    legend_below(figure, 4)
    return figure


def training(history: pd.DataFrame) -> Figure:
    """PSNR per epoch, and the loss of each training, whose losses cannot be compared; a curve for each network."""
    trainings = list(history["training"].unique())
    panels = [("loss", f"training loss at the last layer, {in_words(name)}", [name]) for name in trainings]
    if history["psnr"].notna().any():
        panels.append(("psnr", "PSNR (dB), not used in training", trainings))
    figure, axes = subplots(5.5 * len(panels), 4.5, 1, len(panels))
    for axis, (name, quantity, shown) in zip(axes[0], panels, strict=True):
        _draw_networks(axis, history, shown, "epoch", name)
        _finish(axis, "epoch", quantity)
    legend_below(figure, 3)
    return figure


def _draw_networks(axis: Axes, networks: pd.DataFrame, shown: Sequence[str], x: str, y: str) -> None:
    """The curves of the networks with these trainings. Among all the colour is the depth, the line the training."""
    depths, trainings = (list(networks[column].unique()) for column in ("depth", "training"))
    for (training, depth), rows in networks.groupby(["training", "depth"], sort=False):
        if training in shown:
            style = f"C{depths.index(depth)}{LINES[trainings.index(training) % len(LINES)]}"
            axis.plot(rows[x], rows[y], style, label=f"d = {depth}, {in_words(training)}")


def subplots(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure of that size in inches, and its axes (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def detail_of(color: str, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns of that detail of an image, see `CROPS`."""
    (top, left, side), (height, width) = CROPS[color], shape[:2]
    row, column, size = round(top * height), round(left * width), max(1, round(side * min(height, width)))
    return slice(row, row + size), slice(column, column + size)


def _finish(axis: Axes, x: str, y: str) -> None:
    axis.set(xlabel=x, ylabel=y)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(alpha=0.3)


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
