"""Tables: the rows of a run as CSV for programs and as Markdown for people."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Knowledge:
    """What a method was given besides the corrupted image it restores."""

    training_data: str = "none"
    clean_targets: str = "no"
    corrupted_positions: str = "no"

    def __str__(self) -> str:
        return "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in asdict(self).items())


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method in the table of results; None stands where a method has no such figure."""

    method: str
    depth: int | None = None  # layers or iterations
    knows: Knowledge = Knowledge()
    training_loss: float | None = None  # at the last layer, mean over the last epoch
    objective: float | None = None  # f(Z) + g(E) at the feasible point, mean over the patches of the image
    psnr: float | None = None  # dB
    ssim: float | None = None
    seconds: float | None = None  # training, with an evaluation in every epoch, and restoring
    gap: float | None = None  # certified duality gap, mean over the patches
    ladmm_same_objective: int | None = None  # iterations LADMM takes to this objective; None if it never gets there
    ladmm_same_psnr: int | None = None  # likewise to this PSNR

    @property
    def title(self) -> str:
        """The method in words, for pictures."""
        return TITLES[self.method].format(depth=self.depth)


TITLES = {
    "noisy": "noisy",
    "median": "3 x 3 median",
    "ladmm": "LADMM, {depth} iterations",
    "dladmm": "D-LADMM, d = {depth}",
}


class Restoration(NamedTuple):
    """An image that a method restored, values in [0, 1], and the method's row in the table."""

    image: np.ndarray
    result: Result


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training: loss at the last layer, and PSNR in dB, for the record, on the image to restore.

    Here and below, a PSNR is None if there is no clean image.
    """

    depth: int
    epoch: int
    loss: float
    psnr: float | None


@dataclass(frozen=True)
class LayerRecord:
    """What a layer of a network of some depth reached: mean objective of the patches, PSNR in dB, mean gap."""

    depth: int
    layer: int
    objective: float
    psnr: float | None
    gap: float


@dataclass(frozen=True)
class LADMMRecord:
    """What an iteration of classical LADMM reached; see LayerRecord."""

    iteration: int
    objective: float
    psnr: float | None
    gap: float


@dataclass(frozen=True)
class SafeguardRecord:
    """A layer, or an iteration of LADMM, on an input far from training; see models.safeguard."""

    input: str
    method: str  # safeguarded, unguarded or ladmm
    layer: int
    objective: float  # mean over the patches
    gap: float  # certified duality gap, mean over the patches
    replaced: float | None = None  # fraction of the patches whose update was LADMM's in place of the layer's


@dataclass(frozen=True)
class SyntheticRecord:
    """A layer or an iteration on synthetic test samples: mean objective, and NMSE of Z and E in dB (zero has 0 dB)."""

    method: str  # ladmm or dladmm
    activation: str
    trained_on: str
    alpha: float
    beta: float
    iteration: int
    objective: float
    nmse: float


@dataclass(frozen=True)
class ComparisonRecord:
    """What a method made of a test image; see utils.comparison."""

    experiment: str
    corruption: str
    noise_rate: float
    image: str
    method: str
    knows: Knowledge
    psnr: float  # dB
    ssim: float
    seconds: float  # to restore, without training


def worth(trace: Sequence[LADMMRecord], objective: float, psnr: float | None) -> tuple[int | None, int | None]:
    """Iteration of the trace that first gets down to an objective, and that first gets up to a PSNR; None for never."""
    return (
        next((record.iteration for record in trace if record.objective <= objective), None),
        next((record.iteration for record in trace if psnr is not None and record.psnr >= psnr), None),
    )


class Published(NamedTuple):
    """What the paper reports for a method."""

    training_loss: float | None
    psnr: float | None


# The published figures stand beside runs with these settings; dictionary and loss still differ.
PUBLISHED_EXPERIMENT = {
    "image": "lena", "corruption": "salt_and_pepper", "noise_rate": 0.1, "training": "unsupervised",
    "f": "l1", "g": "l1", "constraint": "identity", "positions": "unknown",
}  # fmt: skip

# Xie et al. 2019, table and figure of the Lena experiment: on the authors' dictionary, and with their loss.
PUBLISHED = {
    ("noisy", None): Published(None, 15.4),
    ("ladmm", None): Published(None, 31.3),
    ("dladmm", 5): Published(1.667, 33.57),
    ("dladmm", 10): Published(1.663, 35.44),
    ("dladmm", 15): Published(1.659, 35.61),
}


def write_csv(rows: Sequence[Any], path: Path, run: str) -> None:
    """Rows are instances of one dataclass, whose fields are the columns; figures have six digits, None is empty.

    A last column has the name of the run, see utils.provenance.
    """
    columns = [field.name for field in fields(rows[0])]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "run"])
        for row in rows:
            values = (getattr(row, column) for column in columns)
            writer.writerow([*(f"{value:.6g}" if isinstance(value, float) else value for value in values), run])


def results_markdown(results: Sequence[Result], longest: int, settings: dict[str, Any]) -> str:
    """The table of results; `longest` is the number of iterations for which LADMM was followed.

    The published figures stand beside if the run's settings are those of `PUBLISHED_EXPERIMENT`. Without a clean image
    there are no columns for PSNR and SSIM, and a line says so.
    """
    columns = {
        "method": lambda row: row.title,
        "training data": lambda row: row.knows.training_data,
        "clean targets": lambda row: row.knows.clean_targets,
        "corrupted positions": lambda row: row.knows.corrupted_positions,
        "training loss": lambda row: _number(row.training_loss, 3),
        "objective": lambda row: _number(row.objective, 3),
        "certified gap": lambda row: _number(row.gap, 3),
        "LADMM iterations to this objective": lambda row: _iterations(row, row.ladmm_same_objective, longest),
        "and to this PSNR": lambda row: _iterations(row, row.ladmm_same_psnr, longest),
        "PSNR (dB)": lambda row: _number(row.psnr, 2),
        "SSIM": lambda row: _number(row.ssim, 4),
        "seconds": lambda row: _number(row.seconds, 1),
    }
    if settings.items() >= PUBLISHED_EXPERIMENT.items():  # what is published of LADMM belongs to its longest run
        most = max(row.depth for row in results if row.method == "ladmm")
        columns["published PSNR"] = lambda row: _number(_published(row, most).psnr, 2)
        columns["published loss"] = lambda row: _number(_published(row, most).training_loss, 3)
    measured = any(row.psnr is not None for row in results)
    if not measured:
        columns = {name: cell for name, cell in columns.items() if "PSNR" not in name and name != "SSIM"}
    table = _table([list(columns), *([cell(row) for cell in columns.values()] for row in results)])
    return table if measured else f"{table}\nThere is no clean image to compare with, so no PSNR and no SSIM.\n"


def comparison_markdown(records: Sequence[ComparisonRecord], titles: dict[str, str]) -> str:
    """A titled table for each experiment: methods by images if it has one noise rate, else methods by rates."""
    sections = []
    for name, title in titles.items():
        rows = [record for record in records if record.experiment == name]
        one_rate = len({row.noise_rate for row in rows}) == 1
        sections.append(f"## {title}\n\n{_table(_by_image(rows) if one_rate else _by_rate(rows))}")
    return "\n".join(sections)


def _by_image(records: Sequence[ComparisonRecord]) -> list[list[str]]:
    """What a method knows, all of it on Lena, its PSNR on the other images, and means if it restored them all."""
    others = [image for image in dict.fromkeys(record.image for record in records) if image != "lena"]
    knows = [field.name.replace("_", " ") for field in fields(Knowledge)]
    lines = [["method", *knows, "PSNR (dB), lena", "SSIM", "seconds", *others, "mean PSNR", "mean SSIM"]]
    for method in dict.fromkeys(record.method for record in records):
        of = {record.image: record for record in records if record.method == method}
        lena = of["lena"]
        line = [method, *asdict(lena.knows).values()]
        line += [_number(lena.psnr, 2), _number(lena.ssim, 4), _number(lena.seconds, 1)]
        line += [_number(of[image].psnr if image in of else None, 2) for image in others]
        for values, digits in (([r.psnr for r in of.values()], 2), ([r.ssim for r in of.values()], 4)):
            line.append(_number(float(np.mean(values)) if len(of) > len(others) else None, digits))
        lines.append(line)
    return lines


def _by_rate(records: Sequence[ComparisonRecord]) -> list[list[str]]:
    """PSNR on Lena and in the mean over the images, for every rate."""
    rates = list(dict.fromkeys(record.noise_rate for record in records))
    lines = [["PSNR (dB): lena / mean of the test images", *(f"{rate:.0%}" for rate in rates)]]
    for method in dict.fromkeys(record.method for record in records):
        cells = []
        for rate in rates:
            of = {r.image: r.psnr for r in records if (r.method, r.noise_rate) == (method, rate)}
            cells.append(f"{of['lena']:.2f} / {np.mean(list(of.values())):.2f}" if of else "")
        lines.append([method, *cells])
    return lines


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *rows = lines
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


def _published(row: Result, most: int) -> Published:
    depth = row.depth if row.method == "dladmm" else None
    if row.method == "ladmm" and row.depth != most:
        return Published(None, None)
    return PUBLISHED.get((row.method, depth), Published(None, None))


def _iterations(row: Result, iterations: int | None, longest: int) -> str:
    if row.method != "dladmm":
        return ""
    return f"> {longest}" if iterations is None else str(iterations)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
