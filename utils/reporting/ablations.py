"""The tables of utils.ablations: what each choice earns and costs, the published setting, and LADMM's atoms."""

from collections.abc import Sequence

import numpy as np

from utils.evaluation.records import AblationRecord, AtomsRecord, in_words
from utils.reporting.published import PUBLISHED
from utils.reporting.tables import Columns, markdown_table, number

ABOUT = """\
Lena, 10 % salt and pepper, patches without overlap, the last of {depth} layers, trained on the noisy image for {epochs}
epochs. PSNR and objective are means over {seeds} seeds, of the noise and of
the training, with their standard deviation. Seconds are those of an epoch, drawing and compiled training, without the
first one.
"""
ABOUT_PUBLISHED = """\
The authors' choices as far as they are known: W1 starts at LADMM's, both thresholds are LADMM's and fixed, their loss,
α and β, and every atom of length 1, the constant one too. The dictionary, the optimizer, the batches and the length of
the training are ours.
"""
ABOUT_ATOMS = """\
LADMM's step is that of ‖A‖₂. The shipped dictionary's constant atom is as long as ‖A‖₂, so that LADMM finds the mean of
a patch at once. Where it has length 1, like all others, many small steps lead there, and the ℓ1 norm draws the mean
towards zero. The published PSNR of LADMM is {published} dB.
"""


def ablations_markdown(records: Sequence[AblationRecord], traces: Sequence[AtomsRecord], epochs: int) -> str:
    """All tables.

    Args:
        records: of all networks; those with atoms of length 1 are the published setting.
        traces: of LADMM.
        epochs: of every training.
    """
    own = [record for record in records if record.atoms == "shipped"]
    about = ABOUT.format(depth=own[0].depth, epochs=epochs, seeds=len({record.seed for record in own}))
    parts = ["# Ablations\n", about]
    for training in dict.fromkeys(record.training for record in own):
        rows = _grouped(
            [record for record in own if record.training == training], "loss", "initialization", "activation"
        )
        columns = {
            name: lambda row, name=name: getattr(row[0], name) for name in ("loss", "initialization", "activation")
        }
        parts += [f"## {in_words(training)}\n", markdown_table(rows, columns | _figures())]
    columns = {"d": lambda row: str(row[0].depth)} | _figures()
    columns["published PSNR"] = lambda row: number(PUBLISHED["dladmm", row[0].depth].psnr, 2)
    published = _grouped([record for record in records if record.atoms != "shipped"], "depth")
    parts += ["## The published setting\n", markdown_table(published, columns), ABOUT_PUBLISHED]
    about_atoms = ABOUT_ATOMS.format(published=PUBLISHED["ladmm", None].psnr)
    parts += ["## LADMM and the length of the atoms\n", _atoms(traces), about_atoms]
    return "\n".join(parts)


def _grouped(records: Sequence, *names: str) -> list[list]:
    """The records, those with the same values of these fields together."""
    groups: dict[tuple, list] = {}
    for record in records:
        groups.setdefault(tuple(getattr(record, name) for name in names), []).append(record)
    return list(groups.values())


def _spread(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def _figures() -> Columns:
    return {
        "PSNR (dB)": lambda row: _spread([record.psnr for record in row], 2),
        "objective": lambda row: _spread([record.objective for record in row], 3),
        "seconds": lambda row: number(float(np.mean([record.seconds for record in row])), 2),
    }


def _atoms(traces: Sequence[AtomsRecord]) -> str:
    """PSNR by atoms, α and β, after every number of iterations."""
    columns: Columns = {
        "atoms": lambda row: row[0].atoms,
        "α": lambda row: f"{row[0].alpha:g}",
        "β": lambda row: f"{row[0].beta:g}",
    }
    for iteration in dict.fromkeys(record.iteration for record in traces):
        columns[f"PSNR (dB) after {iteration} iterations"] = lambda row, iteration=iteration: _spread(
            [record.psnr for record in row if record.iteration == iteration], 2
        )
    return markdown_table(_grouped(traces, "atoms", "alpha", "beta"), columns)
