"""The tables of utils.studies.comparison: the PSNR of every method, and how often D-LADMM is better than each rival.

Some stand in README.md as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from utils.evaluation.records import SideInformation
from utils.reporting.tables import Columns, grouped, markdown_table, number
from utils.studies.plain_command import NAME

ABOUT = """\
Every method restores the same corrupted images. PSNR is the mean over {seeds} noise seeds. Where a method learns on the
noisy image itself, which takes a minute for each, and of the plain command, it is that of the first seed alone.

{networks} (networks.md has the commands). The residual CNN is a
small DnCNN that two cores can train: 8 layers of 16 channels, 15,000 parameters, where D-LADMM with d = 15 has 2.2
million, and detected positions take two such networks. It was trained twice, the second time for four times the epochs.
Weights of other methods, such as α of LADMM, are those with the highest PSNR on the validation images, and stand below
the tables.

"Stride" is the way from a patch to the next, in pixels; below 16 they overlap. The adaptive switching median is for
black and white impulses, the adaptive centre-weighted median for those of any value. "Its detector, biharmonic
inpainting" inpaints the impulses that the latter finds.

Where positions are known, black and white pixels are taken for corrupted (of missing blocks, the black ones), unless
they lie in a black or white area, and only those are replaced. Where they are detected, the network trained at 1 to
50 % for unknown positions finds them: what it changes is corrupted; where it keeps black and white as colours of the
photograph, its own restoration has their share of every replaced pixel. "Learned on the image": the network has then
learned on the noisy image for ten epochs, as by `python -m utils.restore --learn`. "Plain command": `python -m
utils.restore` without options, which sees the image with 8 bits and chooses among networks itself. Seconds are those
of {first}; learning on the image is in them, other training is not. A network alone leaves a hole that is wider than a
patch. Colour channels are restored one by one.

Rivals are other methods, from utils/studies/rivals/, where their papers are named. A line "won : lost" counts the test
images on which D-LADMM has the higher and the lower mean PSNR. The difference is the mean over images, and its spread
the standard deviation over the noise seeds.
"""
OF_LENA = """\
The unsupervised and the self-supervised network were trained on the corrupted Lena that they restore. All other
networks and the dictionary were trained on other images"""
OF_NO_PICTURE = """\
All networks and the dictionary were trained on TRAINING_IMAGES in data/images.py; a picture that is one of them is no
test"""
TRAINED, DETECTED = "D-LADMM, trained at 1 to 50 %", "D-LADMM, detected positions, trained at 1 to 50 %"
INPAINTING, PLAIN = "biharmonic inpainting", f"D-LADMM, {NAME}"
# Rows of README's table by noise: their methods for salt and pepper and for random values.
BY_NOISE = {
    "LADMM to convergence, stride 8": ("LADMM to convergence, positions, stride 8", "LADMM to convergence, stride 8"),
    "adaptive median": ("adaptive switching median", "adaptive centre-weighted median"),
    INPAINTING: (INPAINTING, f"its detector, {INPAINTING}"),
    "small CNN": ("residual CNN",) * 2,
    "small CNN, four times the epochs": ("residual CNN, four times the epochs",) * 2,
    "**D-LADMM, stride 4**": (f"{TRAINED}, stride 4", "D-LADMM, trained at 20 %, stride 4"),
    "**the same, detected positions**": (f"{DETECTED}, stride 4", ""),
    f"**{NAME}**": (PLAIN, PLAIN),
}


class Damage(NamedTuple):
    """A row of README's table of images lost: what it says, and the experiment and the method."""

    title: str
    network: str
    experiment: str
    method: str


LOST = (
    *(
        Damage(f"{share} % of the image black or white", network, f"clipped_{share}", f"{method}, stride 8")
        for share in (5, 15, 30)
        for network, method in (("D-LADMM", TRAINED), ("detected positions", DETECTED))
    ),
    Damage("every colour channel", "trained at 10 %", "colour", "D-LADMM, trained at 10 %, stride 4"),
    Damage("every colour channel", "detected positions", "colour", f"{DETECTED}, stride 4"),
    Damage("Gaussian noise too", "stride 4", "mixed", "D-LADMM, trained at 2 to 30 %, stride 4"),
    Damage("Gaussian noise too", "stride 8", "mixed", "D-LADMM, trained at 2 to 30 %, stride 8"),
    Damage("missing blocks", "D-LADMM", "missing_blocks", "D-LADMM, blocks of 2 to 30 %, stride 4"),
)


@dataclass(frozen=True)
class ComparisonRecord:
    """A test image restored by a method."""

    experiment: str
    corruption: str
    noise_rate: float
    seed: int  # of the corruption
    image: str
    method: str
    side_information: SideInformation
    psnr: float  # dB
    ssim: float
    seconds: float  # to restore, without training


class Compared(NamedTuple):
    """The rows of experiments, their sections in Markdown, and figures by the names of experiments."""

    records: list[ComparisonRecord]
    sections: list[str]
    figures: dict[str, Figure]


def section(
    title: str,
    records: Sequence[ComparisonRecord],
    counted: Sequence[str],
    weights: Mapping[tuple[str, float], float],
    pictured: bool = True,
) -> str:
    """The tables of an experiment: methods by images if it has one noise rate, else by rates; then wins against rivals,
    the chosen weights, and the figure.

    Args:
        title: of the section.
        records: of the experiment.
        counted: the methods of D-LADMM whose wins and losses are counted.
        weights: by method and noise rate.
        pictured: whether there is a figure.
    """
    rates = {f"{rate:.0%}": rate for (rate,) in grouped(records, "noise_rate")}
    tables = [_by_image(records) if len(rates) == 1 else _by_rate(records, rates)]
    tables += _against_rivals(records, counted, rates)
    if weights:
        chosen = list(dict.fromkeys(method for method, _ in weights))
        tables.append(_table("weight", chosen, rates, lambda method, rate: f"{weights[method, rate]:g}"))
    figure = [f"![{title}]({records[0].experiment}.png)\n"] if pictured else []
    return "\n".join([f"## {title}\n", *tables, *figure])


def is_rival(method: str) -> bool:
    """Whether a method restores and is not ours."""
    return method != "noisy" and not method.startswith("D-LADMM")


def difference(records: Sequence[ComparisonRecord], ours: str, rival: str, rate: float) -> tuple[int, int, np.ndarray]:
    """Test images won and lost by the mean PSNR over the seeds, and the mean difference in dB for every seed.

    Images and seeds are those that both methods have.
    """
    psnr = {
        method: {(r.seed, r.image): r.psnr for r in records if (r.method, r.noise_rate) == (method, rate)}
        for method in (ours, rival)
    }
    both = [key for key in psnr[ours] if key in psnr[rival]]
    seeds, images = (list(dict.fromkeys(part)) for part in zip(*both, strict=True))
    table = np.array([[psnr[ours][s, i] - psnr[rival][s, i] for i in images] for s in seeds])
    by_image = table.mean(axis=0)
    return int((by_image > 0).sum()), int((by_image < 0).sum()), table.mean(axis=1)


def _table(heading: str, rows: Sequence[str], cases: Mapping[str, Any], cell: Callable[[str, Any], str]) -> str:
    """A table with a column of names below the heading, and a column of cell(name, case) for every case."""
    columns = {name: lambda row, case=case: cell(row, case) for name, case in cases.items()}
    return markdown_table(rows, {heading: str} | columns)


def methods_of(records: Sequence[ComparisonRecord]) -> list[str]:
    """The methods, in order."""
    return [method for (method,) in grouped(records, "method")]


def images_of(records: Sequence[ComparisonRecord]) -> list[str]:
    """The images, in order."""
    return [image for (image,) in grouped(records, "image")]


def on(image: str, records: Sequence[ComparisonRecord]) -> list[ComparisonRecord]:
    """The rows of an image."""
    return [record for record in records if record.image == image]


def _mean(records: Sequence[ComparisonRecord], of: str = "psnr", digits: int = 2) -> str:
    """The mean of a column, empty if there are no rows."""
    return number(float(np.mean([getattr(record, of) for record in records])), digits) if records else ""


def _against_rivals(
    records: Sequence[ComparisonRecord], counted: Sequence[str], rates: Mapping[str, float]
) -> list[str]:
    """Wins and losses: rivals by our methods if there is one noise rate, else a table by rates for each of ours."""

    def cell(rival: str, case: tuple[str, float]) -> str:
        won, lost, differences = difference(records, case[0], rival, case[1])
        spread = f" ± {differences.std(ddof=1):.2f}" if len(differences) > 1 else ""
        return f"{won} : {lost}, {differences.mean():+.2f}{spread}"

    heading = "won : lost, difference (dB) against"
    tables = {f"{ours}: {heading}": {name: (ours, rate) for name, rate in rates.items()} for ours in counted}
    if len(rates) == 1 and counted:
        tables = {heading: {ours: (ours, rate) for ours in counted for rate in rates.values()}}
    return [_table(heading, list(filter(is_rival, methods_of(records))), of, cell) for heading, of in tables.items()]


def _by_image(records: Sequence[ComparisonRecord]) -> str:
    """Side information, the figures on the first image, Lena, the PSNR on the others, and means over all images."""
    images = images_of(records)
    first = images[0]

    def everywhere(rows: Sequence[ComparisonRecord]) -> Sequence[ComparisonRecord]:
        return rows if len(grouped(rows, "image")) == len(images) else []

    columns: Columns = {"method": lambda rows: rows[0].method}
    for field in fields(SideInformation):
        name = field.name.replace("_", " ")
        columns[name] = lambda rows, of=field.name: getattr(rows[0].side_information, of)
    columns[f"PSNR (dB), {first}"] = lambda rows: _mean(on(first, rows))
    columns["SSIM"] = lambda rows: _mean(on(first, rows), "ssim", 4)
    columns["seconds"] = lambda rows: number(on(first, rows)[0].seconds, 1)
    columns |= {i: lambda rows, i=i: _mean(on(i, rows)) for i in images[1:]}
    columns["mean PSNR"] = lambda rows: _mean(everywhere(rows))
    columns["mean SSIM"] = lambda rows: _mean(everywhere(rows), "ssim", 4)
    return markdown_table(list(grouped(records, "method").values()), columns)


def _by_rate(records: Sequence[ComparisonRecord], rates: Mapping[str, float]) -> str:
    """PSNR on the first image, Lena, and in the mean over the images, for every rate."""
    first = images_of(records)[0]

    def cell(method: str, rate: float) -> str:
        rows = [r for r in records if (r.method, r.noise_rate) == (method, rate)]
        return f"{_mean(on(first, rows))} / {_mean(rows)}" if rows else ""

    return _table(f"PSNR (dB): {first} / mean of the test images", methods_of(records), rates, cell)


def readme_tables(records: Sequence[ComparisonRecord]) -> dict[str, str]:
    """The tables of README.md, by their names there."""
    by_experiment = {name: rows for (name,), rows in grouped(records, "experiment").items()}
    return {"noise": _by_noise(by_experiment), "lost": _images_lost(by_experiment)}


def _by_noise(by_experiment: Mapping[str, Sequence[ComparisonRecord]]) -> str:
    """The mean PSNR of methods by noise; and on how many images a rival is better than D-LADMM, or, in rows of ours
    below that of D-LADMM, on how many the rival that is better most often."""
    shown = by_experiment.get("noise_rates", [])
    rates = sorted(rate for (rate,) in grouped(shown, "noise_rate"))
    noises = {f"{100 * rate:.0f} %": ("salt_and_pepper" if rate == 0.1 else "noise_rates", rate, 0) for rate in rates}
    noises["random-valued, 20 %"] = ("random_valued", 0.2, 1)

    def cell(name: str, noise: tuple[str, float, int]) -> str:
        experiment, rate, place = noise
        method, first = BY_NOISE[name][place], BY_NOISE["**D-LADMM, stride 4**"][place]
        rows = [row for row in by_experiment.get(experiment, []) if row.noise_rate == rate]
        psnr = _mean([row for row in rows if row.method == method])
        rivals = [method] if is_rival(method) else filter(is_rival, methods_of(rows) if method != first else ())
        ours = first if is_rival(method) else method
        lost = max((difference(rows, ours, rival, rate)[1] for rival in rivals), default=0) if psnr else 0
        return f"{psnr} ({lost})" if lost else psnr

    return _table(f"mean of {len(grouped(shown, 'image'))} images, dB", list(BY_NOISE), noises, cell)


def _images_lost(by_experiment: Mapping[str, Sequence[ComparisonRecord]]) -> str:
    """On how many images a rival is better than D-LADMM, of other damage; rows and rivals with such an image."""
    lost: dict[Damage, dict[str, int]] = {}
    for damage in LOST:
        rows = by_experiment.get(damage.experiment, [])
        rivals = filter(is_rival, methods_of(rows))
        lost[damage] = {rival: difference(rows, damage.method, rival, rows[0].noise_rate)[1] for rival in rivals}
    columns: Columns = {
        "damage": lambda damage: damage.title,
        "network": lambda damage: damage.network,
        "of": lambda damage: str(len(grouped(by_experiment[damage.experiment], "image"))),
    }
    for rival in dict.fromkeys(rival for counts in lost.values() for rival, count in counts.items() if count):
        name = rival.replace("biharmonic ", "").replace("residual ", "")
        columns[name] = lambda damage, rival=rival: str(lost[damage].get(rival, ""))
    return markdown_table([damage for damage, counts in lost.items() if any(counts.values())], columns)
