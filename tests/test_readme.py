"""Claims about the README: its code runs, and every figure of its results is that of a file in results/."""

import re

import numpy as np
import pytest
import torch

from data.images import TEST_IMAGES
from models import ladmm
from tests.helpers import ROOT, rows
from utils.comparison import RATES
from utils.methods import SEEDS
from utils.reporting.comparison import is_rival
from utils.reporting.published import PUBLISHED

RESULTS = ROOT / "results"
BLIND, DETECTED = (f"D-LADMM, {how}trained at 1 to 50 %, stride 4" for how in ("", "detected positions, "))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEASURED = README[README.index("## Results") : README.index("## Change it")]
SENTENCES = " ".join(" ".join(line for line in MEASURED.splitlines() if not line.startswith("|")).split())
BY_DEPTH, BY_NOISE = (
    [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table.splitlines() if "---" not in line]
    for table in re.findall(r"(?:^\|.*\n)+", MEASURED, flags=re.MULTILINE)
)


def test_the_python_snippet_runs_and_its_untrained_network_is_ladmm():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {"X": torch.rand(5, 256, generator=torch.Generator().manual_seed(0))}
    exec(code, names)
    network, X = names["network"], names["X"]
    *_, last = (state for state, _ in zip(ladmm(network.problem, X, beta=1.0), range(15), strict=False))
    assert names["restored"].shape == (5, 256) and len(names["states"]) == 15
    torch.testing.assert_close(names["restored"], last.AZ)


def run(method, depth, training="", seed=None):
    """A row of results.csv, of the default run or of that with another seed."""
    found = rows((RESULTS / f"seed_{seed}" if seed else RESULTS) / "results.csv")
    (row,) = (row for row in found if (row["method"], row["depth"], row["training"]) == (method, depth, training))
    return row


def restored(method, depth, training="", seed=None):
    """The PSNR in such a row."""
    return f"{float(run(method, depth, training, seed)['psnr']):.2f}"


def converged():
    """The number of iterations of the longest run of LADMM."""
    return max((row["depth"] for row in rows(RESULTS / "results.csv") if row["method"] == "ladmm"), key=int)


def compared(method, experiment, rate, image="", digits=2):
    """PSNR in results/comparison.csv on an image, by default on all: mean over the noise seeds; "" if it has none."""
    found = [
        float(row["psnr"])
        for row in rows(RESULTS / "comparison.csv")
        if (row["method"], row["experiment"], float(row["noise_rate"])) == (method, experiment, rate)
        and (not image or row["image"] == image)
    ]
    assert not found or image or len(found) == len(SEEDS) * len(TEST_IMAGES)
    return f"{np.mean(found):.{digits}f}" if found else ""


def on_lena(method):
    """Its PSNR on Lena with 10 % salt and pepper."""
    return compared(method, "salt_and_pepper", 0.1, "lena")


def lost(ours, rival, experiment, rate):
    """The number of test images on which a rival has the higher mean PSNR."""
    return sum(
        float(compared(rival, experiment, rate, image, 6)) > float(compared(ours, experiment, rate, image, 6))
        for image in TEST_IMAGES
    )


def losses(rival):
    """The numbers of images that the network without positions loses against a rival, by noise rate."""
    return [lambda rate=rate: str(lost(BLIND, rival, "noise_rates", rate)) for rate in RATES]


def followed(method, trained_on="objective", beta=""):
    """The layers of a method on Lena in results/convergent.csv."""
    wanted = {"data": "Lena", "method": method, "trained_on": trained_on, "beta": beta}
    return [row for row in rows(RESULTS / "convergent.csv") if row.items() >= wanted.items()]


def at_depth(method, name, digits, trained_on="objective"):
    """A figure of a method after 15 layers."""
    (row,) = (row for row in followed(method, trained_on) if row["layer"] == "15")
    return f"{float(row[name]):.{digits}f}"


def ladmm_iterations(method):
    """Of LADMM, with the best β, until the objective is that of 15 layers of a method."""
    objective = float(at_depth(method, "objective", 6))
    found = [row for row in rows(RESULTS / "convergent.csv") if row["data"] == "Lena" and row["beta"]]
    return str(min(int(row["layer"]) for row in found if float(row["objective"]) <= objective))


def certified(method, trained_on="objective", beta=""):
    """The layers after which the certified gap is at most 1 % of the objective."""
    for row in followed(method, trained_on, beta):
        if float(row["gap"]) <= 0.01 * float(row["objective"]):
            return row["layer"]
    return "never"


UNSUPERVISED, SELF_SUPERVISED = ("dladmm", "15", "unsupervised"), ("dladmm", "15", "self_supervised")
CERTIFIES = "free weights, then to certify"
CLAIMS = {
    r"The 3 × 3 median has ([\d.]+) dB, LADMM to convergence ([\d.]+) dB \(published: ([\d.]+)\)\. "
    r"With `--seed 1` and `--seed 2`, 15 layers have ([\d.]+) and ([\d.]+) dB unsupervised, "
    r"([\d.]+) and ([\d.]+) dB self-supervised": [
        lambda: restored("median", ""),
        lambda: restored("ladmm", converged()),
        lambda: str(PUBLISHED["ladmm", None].psnr),
        lambda: restored(*UNSUPERVISED, 1),
        lambda: restored(*UNSUPERVISED, 2),
        lambda: restored(*SELF_SUPERVISED, 1),
        lambda: restored(*SELF_SUPERVISED, 2),
    ],
    r"15 self-supervised layers reach ([\d.]+) dB": [lambda: on_lena("D-LADMM, self-supervised, stride 4")],
    r"on (\d), (\d), (\d), (\d), (\d), (\d) and (\d) of the six images at 1, 3, 10, 20, 30, 40 and 50 %, to the "
    r"adaptive median on (\d), (\d), (\d), (\d), (\d), (\d) and (\d), "
    r"and at 10 % to LADMM with known positions on (\d)": [
        *losses("biharmonic inpainting"),
        *losses("adaptive switching median"),
        lambda: str(lost(BLIND, "LADMM to convergence, positions, stride 16", "salt_and_pepper", 0.1)),
    ],
    r"as far as (\d+) iterations of LADMM\. Their certified gap, a bound on the distance to the optimum, is wide: "
    r"([\d.]+) at an objective of ([\d.]+)\.": [
        lambda: run(*UNSUPERVISED)["ladmm_same_objective"],
        lambda: f"{float(run(*UNSUPERVISED)['gap']):.1f}",
        lambda: f"{float(run(*UNSUPERVISED)['objective']):.1f}",
    ],
    r"it falls from ([\d.]+) to ([\d.]+), and the PSNR from ([\d.]+) to ([\d.]+) dB": [
        lambda: at_depth("free weights", "gap", 2),
        lambda: at_depth(CERTIFIES, "gap", 2),
        lambda: at_depth("free weights", "psnr", 2),
        lambda: at_depth(CERTIFIES, "psnr", 2),
    ],
    r"15 are as far as (\d+) iterations of LADMM; a last layer trained to be repeated, relaxed, is certified to 1 % "
    r"after (\d+) layers, LADMM after (\d+) iterations": [
        lambda: ladmm_iterations("convergent weights"),
        lambda: certified("convergent weights, another last layer, relaxed"),
        lambda: certified("LADMM", "", "1"),
    ],
}


@pytest.mark.parametrize("pattern", CLAIMS)
def test_a_sentence_with_figures_has_those_of_the_files(pattern):
    (found,) = re.finditer(pattern, SENTENCES)
    assert list(found.groups()) == [figure() for figure in CLAIMS[pattern]]


def test_no_sentence_has_a_figure_that_no_file_was_asked_for():
    rest = re.sub("|".join(CLAIMS), "", SENTENCES)
    assert re.findall(r"\d+\.\d+|\d+ (?:dB|iterations|layers|images|seconds)", rest) == []


LADMM_OR_NETWORK = {
    "LADMM, d iterations": ("ladmm", ""),
    "D-LADMM, untrained": ("untrained", ""),
    "D-LADMM, unsupervised": ("dladmm", "unsupervised"),
    "D-LADMM, self-supervised": ("dladmm", "self_supervised"),
}


def test_the_table_by_depth_has_the_figures_of_the_default_run():
    head, *lines = BY_DEPTH
    assert head[1:] == ["d = 5", "d = 10", "d = 15", "seconds"]
    depths = [name.removeprefix("d = ") for name in head[1:-1]]
    for name, *psnrs, seconds in lines:
        if name == "published":
            assert psnrs == [f"{PUBLISHED['dladmm', int(depth)].psnr}" for depth in depths] and not seconds
            continue
        method, training = LADMM_OR_NETWORK[name]
        assert psnrs == [restored(method, depth, training) for depth in depths]
        expected = float(run(method, "15", training)["seconds"])
        assert seconds == (f"{expected:.1f}" if expected < 1 else f"{expected:.0f}")
    assert {name for name, *_ in lines} == {*LADMM_OR_NETWORK, "published"}


# The names of README's rows in results/comparison.csv: for salt and pepper, and for random-valued impulses.
COMPARED = {
    "LADMM to convergence": ("LADMM to convergence, stride 16", "LADMM to convergence, stride 8"),
    "adaptive median": ("adaptive switching median", "adaptive centre-weighted median"),
    "biharmonic inpainting": ("biharmonic inpainting", "its detector, biharmonic inpainting"),
    "D-LADMM": (BLIND, "D-LADMM, supervised, stride 4"),
    "D-LADMM, detected positions": (DETECTED, ""),
}


def test_the_table_by_noise_has_the_means_of_all_test_images_and_seeds():
    (_, *noises), *lines = BY_NOISE
    rates = [float(name.removesuffix(" %")) / 100 for name in noises[:-1]]
    assert 0.1 in rates and noises[-1] == "random-valued, 20 %"
    for name, *psnrs in lines:
        salt_and_pepper, random_valued = COMPARED[name]
        columns = [(salt_and_pepper, "salt_and_pepper" if rate == 0.1 else "noise_rates", rate) for rate in rates]
        assert psnrs == [compared(*column) for column in [*columns, (random_valued, "random_valued", 0.2)]]
    assert {name for name, *_ in lines} == set(COMPARED)


def test_the_methods_that_beat_every_rival_on_every_image_do():
    for experiment, ours in (("noise_rates", DETECTED), ("random_valued", "D-LADMM, supervised, stride 4")):
        found = [row for row in rows(RESULTS / "comparison.csv") if row["experiment"] == experiment]
        rivals = {row["method"] for row in found if is_rival(row["method"])}
        rates = {float(row["noise_rate"]) for row in found}
        assert len(rivals) >= 5
        assert not any(lost(ours, rival, experiment, rate) for rival in rivals for rate in rates)
