"""What a run of main_lena.py reports in words: results.md, the table for the terminal, and a table of README.md."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from utils.evaluation.records import (
    Classical,
    LADMMRecord,
    Result,
    SafeguardRecord,
    SideInformation,
    equivalent_iterations,
)
from utils.reporting.published import PUBLISHED, Published, published
from utils.reporting.tables import Columns, markdown_table, number, text_table

NO_CLEAN_IMAGE = "There is no clean image to compare with, so no PSNR and no SSIM.\n"
ABOUT_RESULTS = """\
Figures are of the last layer, of an image cut to [0, 1]. PSNR and SSIM are scikit-image's. The training loss is the
mean over the last epoch. LADMM has converged when its duality gap is at most the tolerance, relative to the objective.

Published figures are of the authors' dictionary, noise and loss, which are not used here, and of the layer that is best
against the clean image. So published training losses cannot be compared.

Unsupervised networks learn from the noisy image, by default with the objective as the loss, as in the paper. The
self-supervised ones know the noise as well: they learn to undo it where the noisy image was corrupted once
more. Their losses cannot be compared with each other, and their objective is not what they were trained on.
"""
ABOUT_CERTIFICATES = """\
For any Z and λ, the objective at a feasible E and the dual objective at a λ scaled into the feasible set enclose the
optimum. Their distance is the certified gap, which knows no optimum. "Above the optimum" is relative to the objective
of LADMM after {iterations} iterations, {optimum}, certified to {certified:.2%} by its own gap. Equivalent LADMM
iterations are those after which LADMM first has this objective, or this PSNR. Figures are means over the patches.
"""
ABOUT_SAFEGUARD = """\
The deepest network runs beyond its depth, its last layer repeated, on out-of-distribution inputs. Without the safeguard
the layers are free to diverge. With it (models/convergence.py) an update that would not reduce the fixed-point residual
of LADMM enough is replaced by LADMM's, patch by patch. The last column counts the updates of that layer alone.
"""


def with_equivalents(results: Sequence[Result], trace: Sequence[LADMMRecord]) -> list[Result]:
    """The results, in which networks have their equivalent LADMM iterations."""
    rows = []
    for row in results:
        if row.method == "dladmm":
            same_objective, same_psnr = equivalent_iterations(trace, row.objective, row.psnr)
            row = replace(row, ladmm_same_objective=same_objective, ladmm_same_psnr=same_psnr)
        rows.append(row)
    return rows


def results_text(results: Sequence[Result], settings: dict[str, Any]) -> str:
    """The table for the terminal, less than 100 columns wide."""
    columns: Columns = {
        "method": lambda row: row[0].title,
        "learned from": lambda row: _learned_from(row[0].side_information),
        "loss": lambda row: number(row[0].training_loss, 3),
        "PSNR (dB)": lambda row: number(row[0].psnr, 2),
        "SSIM": lambda row: number(row[0].ssim, 3),
        "sec": lambda row: number(row[0].seconds, 1),
        "paper": lambda row: number(row[1].psnr, 2),
    }
    return text_table(*_filled(results, settings, columns)) + ("" if _measured(results) else f"\n\n{NO_CLEAN_IMAGE}")


def results_markdown(
    results: Sequence[Result], classical: Classical, safeguard: Sequence[SafeguardRecord], settings: dict[str, Any]
) -> str:
    """The tables of a run of main_lena.py, with what they show."""
    columns: Columns = {"method": lambda row: row[0].title}
    for name in (field.name for field in fields(SideInformation)):
        columns[name.replace("_", " ")] = lambda row, name=name: getattr(row[0].side_information, name)
    columns |= {
        "training loss": lambda row: number(row[0].training_loss, 3),
        "PSNR (dB)": lambda row: number(row[0].psnr, 2),
        "SSIM": lambda row: number(row[0].ssim, 4),
        "seconds": lambda row: number(row[0].seconds, 1),
        "published PSNR": lambda row: number(row[1].psnr, 2),
        "published loss": lambda row: number(row[1].training_loss, 3),
    }
    sections = [
        f"# Results\n\n{markdown_table(*_filled(results, settings, columns))}\n{ABOUT_RESULTS}",
        *([] if _measured(results) else [NO_CLEAN_IMAGE]),
        f"## Certificates\n\n{_certificates(results, classical.trace)}",
        f"## Safeguard\n\n{_safeguard(safeguard)}\n{ABOUT_SAFEGUARD}",
    ]
    return "\n".join(sections)


def depths_table(results: Sequence[Result]) -> str:
    """The PSNR of every method by the number d of layers, for README.md; what has no layers has one for every d."""
    longest = max(row.depth for row in results if row.method == "ladmm")

    def ours(method: str, depth: int | None = None, training: str | None = None) -> str:
        wanted = (method, depth, training)
        return number(next((row.psnr for row in results if (row.method, row.depth, row.training) == wanted), None), 2)

    def theirs(method: str, depth: int | None = None) -> str:
        return number(PUBLISHED.get((method, depth), Published()).psnr, 2)

    rows = {
        "3 × 3 median": lambda d: ours("median"),
        "LADMM, d iterations": lambda d: ours("ladmm", d),
        "LADMM to convergence": lambda d: ours("ladmm", longest),
        "LADMM, published": lambda d: theirs("ladmm"),
        "D-LADMM, untrained": lambda d: ours("untrained", d),
        "**D-LADMM, unsupervised**": lambda d: ours("dladmm", d, "unsupervised"),
        "D-LADMM, published": lambda d: theirs("dladmm", d),
        "**D-LADMM, self-supervised**": lambda d: ours("dladmm", d, "self_supervised"),
    }
    columns: Columns = {"PSNR in dB": lambda name: name}
    for depth in sorted({row.depth for row in results if row.method == "dladmm"}):
        columns[f"d = {depth}"] = lambda name, depth=depth: rows[name](depth)
    return markdown_table(list(rows), columns)


def _measured(results: Sequence[Result]) -> bool:
    """Whether there is a clean image to compare with."""
    return any(row.psnr is not None for row in results)


def _learned_from(side: SideInformation) -> str:
    """What a method learned from and whether it knows the noise, short enough for the terminal."""
    data = "" if side.training_data == "none" else side.training_data.removeprefix("the noisy ")
    return data if side.noise_model == "none" else f"{data}, noise kind"


def _filled(results: Sequence[Result], settings: dict[str, Any], columns: Columns) -> tuple[list[tuple], Columns]:
    """The results, each with what is published of it, and those columns that are not empty in all of them."""
    rows = list(zip(results, published(results, settings), strict=True))
    return rows, {name: cell for name, cell in columns.items() if any(cell(row) for row in rows)}


def _certificates(results: Sequence[Result], trace: Sequence[LADMMRecord]) -> str:
    """Objective, distance to the optimum and certified gap of all that solve the problem."""
    last = trace[-1]
    optimum = max(last.objective, 1e-12)  # zero for a black image

    def iterations(row: Result, needed: int | None) -> str:
        return "" if row.method != "dladmm" else f"> {last.iteration}" if needed is None else str(needed)

    columns = {
        "method": lambda row: row.title,
        "objective": lambda row: number(row.objective, 3),
        "above the optimum": lambda row: f"{row.objective / optimum - 1:.2%}",
        "certified gap": lambda row: number(row.gap, 3),
        "LADMM iterations to this objective": lambda row: iterations(row, row.ladmm_same_objective),
    }
    if _measured(results):
        columns["and to this PSNR"] = lambda row: iterations(row, row.ladmm_same_psnr)
    rows = [row for row in results if row.objective is not None]
    about = ABOUT_CERTIFICATES.format(
        iterations=last.iteration, optimum=number(last.objective, 3), certified=last.gap / optimum
    )
    return f"{markdown_table(rows, columns)}\n{about}"


def _safeguard(records: Sequence[SafeguardRecord]) -> str:
    """Objective with and without the safeguard, and of LADMM, after some numbers of layers."""
    by_place = {(record.input, record.method, record.layer): record for record in records}
    most = max(record.layer for record in records)
    shown = [layer for layer in (5, 10, 15, 30, 50, 100, 200) if layer < most] + [most]
    rows = [(name, layer) for name in dict.fromkeys(record.input for record in records) for layer in shown]

    def objective(row: tuple[str, int], method: str) -> str:
        value = by_place[row[0], method, row[1]].objective
        return number(value, 2) if value < 1e4 else f"{value:.0e}" if np.isfinite(value) else "diverged"

    columns = {
        "input": lambda row: row[0],
        "layers": lambda row: str(row[1]),
        "LADMM": lambda row: objective(row, "ladmm"),
        "safeguarded": lambda row: objective(row, "safeguarded"),
        "unguarded": lambda row: objective(row, "unguarded"),
        "updates replaced": lambda row: f"{by_place[row[0], 'safeguarded', row[1]].replaced:.0%}",
    }
    return markdown_table(rows, columns)
