"""Claims about the README: its code runs, and every figure of its results is that of a file in results/."""

import re

import numpy as np
import pytest
import torch

from models import ladmm
from tests.helpers import ROOT, rows

RESULTS = ROOT / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEASURED = README[README.index("## Results") : README.index("## Change it")]
SENTENCES = " ".join(" ".join(line for line in MEASURED.splitlines() if not line.startswith("|")).split())


def test_the_python_snippet_runs_and_its_untrained_network_is_ladmm():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {"X": torch.rand(5, 256, generator=torch.Generator().manual_seed(0))}
    exec(code, names)
    network, X = names["network"], names["X"]
    *_, last = (state for state, _ in zip(ladmm(network.problem, X, beta=1.0), range(15), strict=False))
    assert names["restored"].shape == (5, 256) and len(names["states"]) == 15
    torch.testing.assert_close(names["restored"], last.AZ)


def run(method, depth, training):
    """A row of results.csv."""
    found = rows(RESULTS / "results.csv")
    (row,) = (row for row in found if (row["method"], row["depth"], row["training"]) == (method, depth, training))
    return row


def compared(method, experiment="salt_and_pepper", image="lena"):
    """PSNR on an image, mean over the noise seeds, in results/comparison.csv."""
    found = [
        float(row["psnr"])
        for row in rows(RESULTS / "comparison.csv")
        if (row["method"], row["experiment"], row["image"]) == (method, experiment, image)
    ]
    return f"{np.mean(found):.2f}"


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


UNSUPERVISED = "dladmm", "15", "unsupervised"
CERTIFIES = "free weights, then to certify"
CLAIMS = {
    r"15 self-supervised layers reach ([\d.]+) dB; taught with clean patches of other images, ([\d.]+) dB; "
    r"biharmonic inpainting, told the corrupted pixels, ([\d.]+) dB": [
        lambda: compared("D-LADMM, self-supervised, stride 4"),
        lambda: compared("D-LADMM, supervised, stride 4"),
        lambda: compared("biharmonic inpainting"),
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
