"""The page of utils.studies.comparison: the PSNR of every method, and how often D-LADMM is better than each rival.

Curves over the noise rate and tables of README.md are made from the same rows.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from data.dictionary import load_dictionary
from main_lena import Settings
from models import DLADMM
from utils.evaluation.observation import NOTHING_KNOWN
from utils.reporting.figures import legend_below, subplots
from utils.reporting.pages import Page
from utils.reporting.tables import markdown
from utils.studies import rivals

ABOUT = """\
## How to read this

PSNR is the mean over {seeds} noise seeds; of the plain command and of networks that learn on the image, it is that of
the first alone. Seconds are those of the first image, learning on it included. "Won : lost" counts the images on which
D-LADMM has the higher and the lower mean PSNR; then come the mean difference and its standard deviation over the seeds.
Weights are those with the highest PSNR on the validation images.

Networks and dictionary were trained on TRAINING_IMAGES in data/images.py, see networks.md: none of these is a test.
The unsupervised and the self-supervised network were trained on the corrupted Lena that they restore. D-LADMM with
d = 15 has {parameters:,} parameters, and detected positions take two such networks. Stride: pixels from a patch to the
next; below 16 they overlap. A network alone leaves a hole that is wider than a patch. Colour channels are restored one
by one.

Known positions are black and white pixels (of missing blocks, black ones) that do not lie in a black or white area;
methods with known positions replace them alone. Detected positions are those that the network trained at 1 to 50 %
changes; the share of black and white that it keeps is the share of its own restoration in every replaced pixel; the
adaptive switching median looks for black and white pixels itself, as if it knew positions. "Learned on the image": the
network has gone on learning there for ten epochs, as by `python -m utils.restore --learn`. "Plain command": `python -m
utils.restore` without options, which sees the image with 8 bits.

Rivals are the other methods. Their files in utils/studies/rivals/ name their papers:

{rivals}
"""
TRAINED, DETECTED = "D-LADMM, trained at 1 to 50 %", "D-LADMM, detected positions, trained at 1 to 50 %"
PLAIN, OVERLAPPING = "D-LADMM, plain command", "**D-LADMM, stride 4**"
OURS = {  # rows of README's table by noise, below those of rivals
    f"{TRAINED}, stride 4": OVERLAPPING,
    "D-LADMM, trained at 20 %, stride 4": OVERLAPPING,
    f"{DETECTED}, stride 4": "**the same, detected positions**",
    PLAIN: "**plain command**",
}
BESIDE = {"10 %": "salt_and_pepper", "random-valued, 20 %": "random_valued"}  # its columns of other experiments
LOST = pd.DataFrame(  # README's table of images lost
    [
        *(
            (f"{share} % of the image black or white", network, f"clipped_{share}", f"{ours}, stride 8")
            for share in (5, 15, 30)
            for network, ours in {"stride 8": TRAINED, "detected, stride 8": DETECTED}.items()
        ),
        ("every colour channel", "stride 4", "colour", "D-LADMM, trained at 10 %, stride 4"),
        ("every colour channel", "detected, stride 4", "colour", f"{DETECTED}, stride 4"),
        ("Gaussian noise too", "stride 4", "mixed", "D-LADMM, trained at 2 to 30 %, stride 4"),
        ("Gaussian noise too", "stride 8", "mixed", "D-LADMM, trained at 2 to 30 %, stride 8"),
        ("missing blocks", "stride 4", "missing_blocks", "D-LADMM, blocks of 2 to 30 %, stride 4"),
    ],
    columns=["damage", "network", "experiment", "ours"],
)


def page(rows: pd.DataFrame, weights: pd.DataFrame, sections: Mapping[str, tuple], of_pictures: str = "") -> Page:
    """Tables of every experiment, then what they mean; curves over the noise rates. Sections are, by experiment, its
    title and our methods that are counted. Tables of the shipped pictures, in no folder, are in README.md as well."""
    experiments = {name: frame for name, frame in rows.groupby("experiment", sort=False) if name in sections}
    parts = [f"# Comparison {f'on the pictures of {of_pictures}' if of_pictures else 'with other methods'}\n"]
    for name, frame in experiments.items():
        parts.append(section(*sections[name], frame, weights[weights["experiment"] == name]))
    network = DLADMM(load_dictionary(), 15, alpha=1.0, activation=Settings.activation)
    files = [f"- `{module.__name__.split('.')[-1]}.py`: {module.__doc__}" for module in rivals.modules()]
    parameters, seeds = sum(weights.numel() for weights in network.parameters()), rows["seed"].nunique()
    parts.append(ABOUT.format(seeds=seeds, parameters=parameters, rivals="\n".join(files)))
    drawn = {name: curves(frame) for name, frame in experiments.items() if frame["noise_rate"].nunique() > 1}
    whole = not of_pictures and {"noise_rates", *LOST["experiment"]} <= set(experiments)
    return Page("\n".join(parts), drawn, readme_tables(rows) if whole else {})


def section(title: str, counted: Sequence[str], rows: pd.DataFrame, weights: pd.DataFrame) -> str:
    """The tables of an experiment: methods by images if it has one noise rate, else by rates; wins and losses of
    rivals, by our methods or, for each of ours, by rates; chosen weights; and the figure."""
    one_rate = rows["noise_rate"].nunique() == 1
    parts = [f"## {title}\n", markdown(*by_image(rows)) if one_rate else markdown(by_rate(rows))]
    wins, heading, how = duels(rows), "won : lost, difference (dB) against", {"aggfunc": "first", "sort": False}
    if one_rate:
        table = wins.pivot_table("text", "rival", "ours", **how)[list(counted)]
        parts.append(markdown(table.rename_axis(heading).reset_index()))
    for ours in [] if one_rate else counted:
        table = wins[wins["ours"] == ours].pivot_table("text", "rival", "noise_rate", **how)
        parts.append(markdown(_with_rates(table, f"{ours}: {heading}")))
    if len(weights):
        table = weights.pivot_table("weight", "method", "noise_rate", sort=False)
        parts.append(markdown(_with_rates(table.map("{:g}".format), "weight")))
    if not one_rate or "lena" in set(rows["image"]):
        parts.append(f"![{title}]({rows['experiment'].iloc[0]}.png)\n")
    return "\n".join(parts)


def by_image(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """What methods know, their figures on the first image, the PSNR on the others, means over all; and formats."""
    first, *others = rows["image"].unique()
    of_method, on_first = (of.groupby("method", sort=False) for of in (rows, rows[rows["image"] == first]))
    table = of_method[list(NOTHING_KNOWN)].first().rename(columns=lambda name: name.replace("_", " "))
    table[f"PSNR (dB), {first}"], table["SSIM"] = on_first["psnr"].mean(), on_first["ssim"].mean()
    table["seconds"] = on_first["seconds"].first()
    table = table.join(rows.pivot_table("psnr", "method", "image", sort=False)[others])
    everywhere = of_method["image"].nunique() == 1 + len(others)
    table["mean PSNR"], table["mean SSIM"] = (of_method[name].mean().where(everywhere) for name in ("psnr", "ssim"))
    formats = dict.fromkeys([f"PSNR (dB), {first}", *others, "mean PSNR"], ".2f")
    return table.reset_index(), formats | {"SSIM": ".4f", "mean SSIM": ".4f", "seconds": ".1f"}


def by_rate(rows: pd.DataFrame) -> pd.DataFrame:
    """PSNR on the first image, Lena, and in the mean over the images, for every rate."""
    first = rows["image"].iloc[0]
    on_first = rows[rows["image"] == first].pivot_table("psnr", "method", "noise_rate", sort=False).map("{:.2f}".format)
    everywhere = rows.pivot_table("psnr", "method", "noise_rate", sort=False).map("{:.2f}".format)
    return _with_rates(on_first + " / " + everywhere, f"PSNR (dB): {first} / mean of the test images")


def is_rival(method: str) -> bool:
    """Whether a method restores and is not ours."""
    return method != "noisy" and not method.startswith("D-LADMM")


def duels(rows: pd.DataFrame) -> pd.DataFrame:
    """Each of our methods against each rival, by experiment and noise rate, on the images and seeds that both have:
    images won and lost by the mean PSNR, and the mean difference in dB with its standard deviation over the seeds."""
    found = []
    for (experiment, rate), frame in rows.groupby(["experiment", "noise_rate"], sort=False):
        psnr, methods = frame.pivot(index=["seed", "image"], columns="method", values="psnr"), frame["method"].unique()
        pairs = product([of for of in methods if of.startswith("D-LADMM")], filter(is_rival, methods))
        for ours, rival in pairs:
            apart = (psnr[ours] - psnr[rival]).dropna()
            by_image, by_seed = apart.groupby("image").mean(), apart.groupby("seed").mean()
            won, lost, spread = (by_image > 0).sum(), (by_image < 0).sum(), by_seed.std()
            text = f"{won} : {lost}, {by_seed.mean():+.2f}" + (f" ± {spread:.2f}" if len(by_seed) > 1 else "")
            found.append((experiment, rate, ours, rival, len(by_image), lost, text))
    return pd.DataFrame(found, columns=["experiment", "noise_rate", "ours", "rival", "of", "lost", "text"])


def _with_rates(table: pd.DataFrame, heading: str) -> pd.DataFrame:
    """Methods below the heading, and noise rates as the other headings."""
    return table.rename(columns="{:.0%}".format).rename_axis(index=heading, columns=None).reset_index()


def readme_tables(rows: pd.DataFrame) -> dict[str, str]:
    """The tables of README.md, by their names there: methods by noise; and on how many images a rival is better than
    D-LADMM, of other damage, with the rows and rivals that have such an image."""
    of_rates = rows[rows["experiment"] == "noise_rates"]
    noises = {f"{100 * rate:.0f} %": frame for rate, frame in of_rates.groupby("noise_rate")}
    noises |= {heading: rows[rows["experiment"] == name] for heading, name in BESIDE.items()}
    noise = pd.DataFrame({heading: by_noise(frame) for heading, frame in noises.items()})
    noise = noise.rename_axis(f"mean of {of_rates['image'].nunique()} images, dB").reset_index()
    losses = LOST.merge(duels(rows[rows["experiment"].isin(LOST["experiment"])]), on=["experiment", "ours"])
    lost = losses.pivot_table("lost", ["damage", "network", "of"], "rival", sort=False)
    lost = lost.loc[(lost > 0).any(axis=1), (lost > 0).any()]
    lost.columns = [name.replace("biharmonic ", "").replace("residual ", "") for name in lost]
    return {"noise": markdown(noise), "lost": markdown(lost.reset_index(), dict.fromkeys(lost, ".0f"))}


def by_noise(rows: pd.DataFrame) -> dict[str, str]:
    """The mean PSNR of a noise, by the names of rows, of the last method that stands for the row and is there. In
    brackets: on how many images the rival beats D-LADMM; in our rows below that, on how many the most frequent one."""
    psnr, lost = rows.groupby("method")["psnr"].mean(), duels(rows).pivot_table("lost", "rival", "ours")
    names = {method.title: method.readme for method in rivals.methods() if method.readme} | OURS
    cells, there = dict.fromkeys(names.values(), ""), {title: name for title, name in names.items() if title in psnr}
    (ours,) = (title for title, name in there.items() if name == OVERLAPPING)
    for title, name in there.items():
        count = lost[ours][title] if is_rival(title) else lost[title].max() if title != ours else 0
        cells[name] = f"{psnr[title]:.2f}" + (f" ({count:.0f})" if count else "")
    return cells


def curves(rows: pd.DataFrame) -> Figure:
    """PSNR of each method over the noise rate, on the first image and in the mean over all; means over the seeds."""
    figure, [axes] = subplots(11, 6.5, 1, 2, sharey=True)
    first, rates = rows["image"].iloc[0], list(rows["noise_rate"].unique())
    shown = {first: rows[rows["image"] == first], "mean of the test images": rows}
    for axis, (title, frame) in zip(axes, shown.items(), strict=True):
        table = frame.pivot_table("psnr", "noise_rate", "method", sort=False)
        for place, method in enumerate(table):
            style = ".-" if method.startswith("D-LADMM") else "x:"
            axis.plot(rates, table[method], style, color=colormaps["tab20"](place), label=method)
        axis.set_xlim(0, 1.05 * max(rates))
        axis.set_xscale("function", functions=(np.sqrt, np.square))  # room for both ends
        axis.set(title=title, xlabel="noise rate", ylabel="PSNR (dB)")
        axis.set_xticks(rates, [f"{rate:.0%}" for rate in rates])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    legend_below(figure, 2)
    return figure
