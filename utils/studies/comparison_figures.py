"""The figures of utils.studies.comparison: details with their errors, and curves over the noise rates."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from utils.reporting.figures import CROPS
from utils.reporting.tables import grouped
from utils.studies.comparison_tables import ComparisonRecord, images_of, methods_of, on


def errors(clean: np.ndarray, images: Mapping[str, np.ndarray]) -> Figure:
    """The same detail of the clean image and of each restored one, with the absolute error below."""
    top, left, side = CROPS["tab:red"]
    height, width = clean.shape[:2]
    size = round(side * min(height, width))
    row, col = round(top * height), round(left * width)
    detail = np.s_[row : row + size, col : col + size]
    titled = {"clean": clean} | dict(images)
    lines = math.ceil(len(titled) / 8)  # of methods, which make the picture about as wide as a slide
    columns = math.ceil(len(titled) / lines)
    figure = Figure(figsize=(1.6 * columns + 0.8, 3.9 * lines), layout="constrained", dpi=120)
    axes = figure.subplots(2 * lines, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for place, (title, image) in enumerate(titled.items()):
        above, below = axes[2 * (place // columns) :, place % columns][:2]
        above.set_title(title, fontsize=7)
        above.imshow(image[detail], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        error = np.atleast_3d(np.abs(image - clean)[detail]).mean(axis=2)
        shown = below.imshow(error, cmap="magma", vmin=0, vmax=0.1, interpolation="nearest")
    figure.colorbar(shown, ax=axes[1::2], label="absolute error", shrink=0.8)
    return figure


def curves(records: Sequence[ComparisonRecord]) -> Figure:
    """PSNR of each method over the noise rate, on the first image and in the mean over all; means over the seeds."""
    figure = Figure(figsize=(11, 6.5), layout="constrained", dpi=120)
    axes = figure.subplots(1, 2, sharey=True)
    rates = [rate for (rate,) in grouped(records, "noise_rate")]
    first = images_of(records)[0]
    shown = {first: on(first, records), "mean of the test images": records}
    for axis, (title, rows) in zip(axes, shown.items(), strict=True):
        cases = grouped(rows, "method", "noise_rate")
        for place, method in enumerate(methods_of(records)):
            means = [np.mean([row.psnr for row in cases[method, rate]]) for rate in rates]
            style = ".-" if method.startswith("D-LADMM") else "x:"
            axis.plot(rates, means, style, color=colormaps["tab20"](place), label=method)
        axis.set_xlim(0, 1.05 * max(rates))
        axis.set_xscale("function", functions=(np.sqrt, np.square))  # room for both ends
        axis.set(title=title, xlabel="noise rate", ylabel="PSNR (dB)")
        axis.set_xticks(rates, [f"{rate:.0%}" for rate in rates])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
