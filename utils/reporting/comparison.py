"""The report of utils.comparison: PSNR of every method, and how often D-LADMM wins and loses against each rival."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from utils.evaluation.records import ComparisonRecord, SideInformation
from utils.reporting.tables import Columns, markdown_table, number

ABOUT = """\
Every method restores the same corrupted images. PSNR is the mean over {seeds} noise seeds. Where a method learns on the
noisy image itself, which takes a minute for each, it is that of the first seed alone.

The unsupervised and the self-supervised network were trained on the corrupted Lena that they restore. All other
networks and the dictionary were trained on other images (networks.md has the commands). The residual CNN was trained
for as many minutes as the network of D-LADMM for the same noise, and once more four times as long; detected positions
take two networks, and so twice the minutes. Weights of other methods, such as α of LADMM, are those with the highest
PSNR on the validation images, and stand below the tables.

"Stride" is the way from a patch to the next, in pixels; below 16 they overlap. The adaptive switching median is for
black and white impulses, the adaptive centre-weighted median for those of any value. "Its detector, biharmonic
inpainting" inpaints the impulses that the latter finds.

Where positions are known, black and white pixels are taken for corrupted (of missing blocks, the black ones), unless
they lie in a black or white area, and only those are replaced. Where they are detected, the network trained at 1 to
50 % for unknown positions finds them: what it changes is corrupted; where it keeps black and white as colours of the
photograph, its own restoration has their share of every replaced pixel. "Learned on the image": the network has then
learned on the noisy image for ten epochs, as by `python -m utils.restore --learn`. Seconds are those of Lena, without
training. A hole that is wider than a patch stays as it is. Colour channels are restored one by one.

Rivals are other methods, from utils/rivals/, where their papers are named. A line "won : lost" counts the test images
on which D-LADMM has the higher and the lower mean PSNR. The difference is the mean over images, and its spread the
standard deviation over the noise seeds.
"""


def comparison_markdown(
    records: Sequence[ComparisonRecord],
    titles: Mapping[str, str],
    ours: Mapping[str, Sequence[str]],
    weights: Mapping[str, Mapping[tuple[str, float], float]],
) -> str:
    """A titled section for each experiment: methods by images if it has one noise rate, else by rates; then rivals, and
    the weights of those that have one.

    Args:
        records: of all experiments.
        titles: of the experiments, by name.
        ours: the methods whose wins and losses are counted, by experiment.
        weights: those chosen, by experiment, and there by method and noise rate.
    """
    seeds = len({record.seed for record in records})
    sections = [f"# Comparison with other methods\n\n{ABOUT.format(seeds=seeds)}"]
    for name, title in titles.items():
        rows = [record for record in records if record.experiment == name]
        table = _by_image(rows) if len({row.noise_rate for row in rows}) == 1 else _by_rate(rows)
        sections += [f"## {title}\n\n{table}", *_against_rivals(rows, ours[name]), *_chosen(weights[name])]
    return "\n".join(sections)


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


def _against_rivals(records: Sequence[ComparisonRecord], ours: Sequence[str]) -> list[str]:
    """Wins and losses: rivals by our methods if there is one noise rate, else a table by rates for each of ours."""
    methods, rates = (list(dict.fromkeys(getattr(r, name) for r in records)) for name in ("method", "noise_rate"))
    rivals = [method for method in methods if is_rival(method)]

    def cell(rival: str, method: str, rate: float) -> str:
        won, lost, differences = difference(records, method, rival, rate)
        spread = f" ± {differences.std(ddof=1):.2f}" if len(differences) > 1 else ""
        return f"{won} : {lost}, {differences.mean():+.2f}{spread}"

    if len(rates) == 1:
        columns: Columns = {"won : lost, difference (dB) against": lambda rival: rival}
        for method in ours:
            columns[method] = lambda rival, method=method: cell(rival, method, rates[0])
        return [markdown_table(rivals, columns)] if ours else []
    tables = []
    for method in ours:
        columns = {f"{method}: won : lost, difference (dB) against": lambda rival: rival}
        for rate in rates:
            columns[f"{rate:.0%}"] = lambda rival, method=method, rate=rate: cell(rival, method, rate)
        tables.append(markdown_table(rivals, columns))
    return tables


def _chosen(weights: Mapping[tuple[str, float], float]) -> list[str]:
    """The table of the weights, methods by noise rates, if there are any."""
    columns: Columns = {"weight": lambda method: method}
    for rate in dict.fromkeys(rate for _, rate in weights):
        columns[f"{rate:.0%}"] = lambda method, rate=rate: f"{weights[method, rate]:g}"
    return [markdown_table(list(dict.fromkeys(method for method, _ in weights)), columns)] if weights else []


def _mean(records: Sequence[ComparisonRecord], name: str) -> float:
    return float(np.mean([getattr(record, name) for record in records]))


def _by_image(records: Sequence[ComparisonRecord]) -> str:
    """Side information, the figures on Lena, the PSNR on the other images, and means over all images."""
    images = list(dict.fromkeys(record.image for record in records))
    methods = []
    for method in dict.fromkeys(record.method for record in records):
        own = [record for record in records if record.method == method]
        methods.append({image: [r for r in own if r.image == image] for image in images})

    def over_images(row: dict[str, list[ComparisonRecord]], name: str, digits: int) -> str:
        return number(_mean(sum(row.values(), []), name), digits) if all(row.values()) else ""

    columns: Columns = {"method": lambda row: row["lena"][0].method}
    for field in fields(SideInformation):
        heading = field.name.replace("_", " ")
        columns[heading] = lambda row, name=field.name: getattr(row["lena"][0].side_information, name)
    columns["PSNR (dB), lena"] = lambda row: number(_mean(row["lena"], "psnr"), 2)
    columns["SSIM"] = lambda row: number(_mean(row["lena"], "ssim"), 4)
    columns["seconds"] = lambda row: number(row["lena"][0].seconds, 1)
    for image in images:
        if image != "lena":
            columns[image] = lambda row, image=image: number(_mean(row[image], "psnr"), 2) if row[image] else ""
    columns["mean PSNR"] = lambda row: over_images(row, "psnr", 2)
    columns["mean SSIM"] = lambda row: over_images(row, "ssim", 4)
    return markdown_table(methods, columns)


def _by_rate(records: Sequence[ComparisonRecord]) -> str:
    """PSNR on Lena and in the mean over the images, for every rate."""

    def cell(method: str, rate: float) -> str:
        rows = [r for r in records if (r.method, r.noise_rate) == (method, rate)]
        lena = [r for r in rows if r.image == "lena"]
        return f"{_mean(lena, 'psnr'):.2f} / {_mean(rows, 'psnr'):.2f}" if rows else ""

    columns: Columns = {"PSNR (dB): lena / mean of the test images": lambda method: method}
    for rate in dict.fromkeys(record.noise_rate for record in records):
        columns[f"{rate:.0%}"] = lambda method, rate=rate: cell(method, rate)
    return markdown_table(list(dict.fromkeys(record.method for record in records)), columns)
