"""The reports in Markdown: results.md and synthetic.md, and the table of results for the terminal."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from utils.evaluation.records import (
    Classical,
    LADMMRecord,
    Result,
    SafeguardRecord,
    SideInformation,
    SyntheticRecord,
    equivalent_iterations,
)
from utils.reporting.published import published
from utils.reporting.tables import Columns, markdown_table, number, text_table

NO_CLEAN_IMAGE = "There is no clean image to compare with, so no PSNR and no SSIM.\n"
ABOUT_RESULTS = """\
Figures are of the last layer, of an image cut to [0, 1]. PSNR and SSIM are scikit-image's. The training loss is the
mean over the last epoch. LADMM has converged when its duality gap is at most the tolerance, relative to the objective.

Published figures are of the authors' dictionary, noise and loss, which are not used here, and of the layer that is best
against the clean image. So published training losses cannot be compared.

Unsupervised networks learn from the noisy image, by default with the objective as the loss, as in the paper. The
self-supervised ones are told the kind of noise as well: they learn to undo it where the noisy image was corrupted once
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
the layers are free to diverge. With it (models/safeguard.py) an update that would not reduce the fixed-point residual
of LADMM enough is replaced by LADMM's, patch by patch. The last column counts the updates of that layer alone.
"""
ABOUT_SYNTHETIC = """\
A is 250 x 500 Gaussian with columns of length 1. Z and E are Bernoulli(0.1) x N(0, 1), and X = A Z + E. No network has
seen the test samples. NMSE is the error of Z and E relative to their energy. Networks are trained on the true Z and E,
or on the objective. The latter takes E := X - A Z, so it never reaches the last layer's own E step. Shown are the last
layer of every network, and LADMM with the networks' alpha and beta. synthetic.csv has every layer and iteration.
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
    columns = {
        "method": lambda row: row[0].title,
        "learned from": lambda row: _learned_from(row[0].side_information),
        "loss": lambda row: number(row[0].training_loss, 3),
        "PSNR (dB)": lambda row: number(row[0].psnr, 2),
        "SSIM": lambda row: number(row[0].ssim, 3),
        "sec": lambda row: number(row[0].seconds, 1),
        "paper": lambda row: number(row[1].psnr, 2),
    }
    measured = any(row.psnr is not None for row in results)
    rows = list(zip(results, published(results, settings), strict=True))
    columns = _filled(rows, columns)
    return text_table(rows, columns) + ("" if measured else f"\n\n{NO_CLEAN_IMAGE}")


def results_markdown(
    results: Sequence[Result], classical: Classical, safeguard: Sequence[SafeguardRecord], settings: dict[str, Any]
) -> str:
    """The tables of a run of main_lena.py, with what they show."""
    columns = {
        "method": lambda row: row[0].title,
        "training data": lambda row: row[0].side_information.training_data,
        "clean targets": lambda row: row[0].side_information.clean_targets,
        "known positions": lambda row: row[0].side_information.known_positions,
        "noise model": lambda row: row[0].side_information.noise_model,
        "training loss": lambda row: number(row[0].training_loss, 3),
        "PSNR (dB)": lambda row: number(row[0].psnr, 2),
        "SSIM": lambda row: number(row[0].ssim, 4),
        "seconds": lambda row: number(row[0].seconds, 1),
        "published PSNR": lambda row: number(row[1].psnr, 2),
        "published loss": lambda row: number(row[1].training_loss, 3),
    }
    rows = list(zip(results, published(results, settings), strict=True))
    measured = any(row.psnr is not None for row in results)
    sections = [
        f"# Results\n\n{markdown_table(rows, _filled(rows, columns))}\n{ABOUT_RESULTS}",
        *([] if measured else [NO_CLEAN_IMAGE]),
        f"## Certificates\n\n{_certificates(results, classical.trace)}",
        f"## Safeguard\n\n{_safeguard(safeguard)}\n{ABOUT_SAFEGUARD}",
    ]
    return "\n".join(sections)


def _learned_from(told: SideInformation) -> str:
    """The noisy image or others, and whether the kind of noise was told, in few words."""
    data = "" if told.training_data == "none" else told.training_data.removeprefix("the noisy ")
    return data if told.noise_model == "none" else f"{data}, noise kind"


def _filled(rows: Sequence[Any], columns: Columns) -> Columns:
    """The columns in which a row has something."""
    return {name: cell for name, cell in columns.items() if any(cell(row) for row in rows)}


def _certificates(results: Sequence[Result], trace: Sequence[LADMMRecord]) -> str:
    """Objective, distance to the optimum and certified gap of all that solve the problem."""
    last = trace[-1]
    optimum = max(last.objective, 1e-12)  # zero for a black image

    def iterations(row: Result, found: int | None) -> str:
        if row.method != "dladmm":
            return ""
        return f"> {last.iteration}" if found is None else str(found)

    columns = {
        "method": lambda row: row.title,
        "objective": lambda row: number(row.objective, 3),
        "above the optimum": lambda row: f"{row.objective / optimum - 1:.2%}",
        "certified gap": lambda row: number(row.gap, 3),
        "LADMM iterations to this objective": lambda row: iterations(row, row.ladmm_same_objective),
    }
    if any(row.psnr is not None for row in results):
        columns["and to this PSNR"] = lambda row: iterations(row, row.ladmm_same_psnr)
    rows = [row for row in results if row.objective is not None]
    about = ABOUT_CERTIFICATES.format(
        iterations=last.iteration, optimum=number(last.objective, 3), certified=last.gap / optimum
    )
    return f"{markdown_table(rows, columns)}\n{about}"


def _safeguard(records: Sequence[SafeguardRecord]) -> str:
    """Objective with and without the safeguard, and of LADMM, after some numbers of layers."""
    found = {(record.input, record.method, record.layer): record for record in records}
    most = max(record.layer for record in records)
    shown = [layer for layer in (5, 10, 15, 30, 50, 100, 200) if layer < most] + [most]
    rows = [(name, layer) for name in dict.fromkeys(record.input for record in records) for layer in shown]

    def objective(row: tuple[str, int], method: str) -> str:
        value = found[row[0], method, row[1]].objective
        return number(value, 2) if value < 1e4 else f"{value:.0e}" if np.isfinite(value) else "diverged"

    columns = {
        "input": lambda row: row[0],
        "layers": lambda row: str(row[1]),
        "LADMM": lambda row: objective(row, "ladmm"),
        "safeguarded": lambda row: objective(row, "safeguarded"),
        "unguarded": lambda row: objective(row, "unguarded"),
        "updates replaced": lambda row: f"{found[row[0], 'safeguarded', row[1]].replaced:.0%}",
    }
    return markdown_table(rows, columns)


def synthetic_markdown(records: Sequence[SyntheticRecord], alpha: float, beta: float) -> str:
    """The last layer of every network, beside LADMM with the same α and β and the best NMSE of all that were tried."""
    ladmm = [r for r in records if r.method == "ladmm"]
    same = [r for r in ladmm if (r.alpha, r.beta) == (alpha, beta)]
    networks = {(r.activation, r.trained_on): r for r in records if r.method == "dladmm"}  # the last layer of each
    layers = max(r.iteration for r in networks.values())
    shown = [r for r in same if r.iteration in (layers, 50, 200, same[-1].iteration)]
    trace = [LADMMRecord(r.iteration, r.objective, None, 0.0) for r in same]

    def equivalent(row: SyntheticRecord) -> str:
        return "" if row.method == "ladmm" else str(equivalent_iterations(trace, row.objective, None)[0] or "never")

    columns = {
        "method": lambda row: "LADMM" if row.method == "ladmm" else f"D-LADMM, {row.activation}",
        "trained on": lambda row: row.trained_on,
        "layers or iterations": lambda row: str(row.iteration),
        "NMSE of Z and E (dB)": lambda row: number(row.nmse, 2),
        "objective": lambda row: number(row.objective, 2),
        "LADMM iterations to this objective": equivalent,
    }
    best = min(ladmm, key=lambda row: row.nmse)
    tried = (
        f"The best NMSE of LADMM in {max(r.iteration for r in ladmm)} iterations with any alpha of "
        f"{', '.join(f'{a:g}' for a in sorted({r.alpha for r in ladmm}))} and any beta of "
        f"{', '.join(f'{b:g}' for b in sorted({r.beta for r in ladmm}))} is {best.nmse:.2f} dB.\n"
    )
    table = markdown_table([*shown, *networks.values()], columns)
    return f"# Synthetic experiment\n\n{table}\n{ABOUT_SYNTHETIC}\n{tried}"
