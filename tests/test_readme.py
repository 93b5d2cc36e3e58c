"""Claims about the README: its code runs, and every figure of its results is that of a file in results/."""

import csv
import math
import re
import subprocess
from functools import cache
from shutil import which

import numpy as np
import pytest
import torch

from data.images import TEST_IMAGES
from models import ladmm
from tests.helpers import ROOT, psnr_by_image
from utils.comparison import EXPERIMENTS, RATES
from utils.convergent import BETAS
from utils.methods import SEEDS
from utils.reporting.comparison import is_rival
from utils.reporting.published import PUBLISHED

BLIND, DETECTED = (f"D-LADMM, {how}trained at 1 to 50 %, stride 4" for how in ("", "detected positions, "))
BLIND_8, DETECTED_8 = (method.replace("stride 4", "stride 8") for method in (BLIND, DETECTED))
SUPERVISED = "D-LADMM, supervised, stride 4"
WITH_GAUSSIAN_NOISE, WITH_GAUSSIAN_NOISE_8 = (f"D-LADMM, trained at 2 to 30 %, stride {stride}" for stride in (4, 8))
SWITCHING, INPAINTING, SMOOTHED, LONGER = (
    "adaptive switching median",
    "biharmonic inpainting",
    "biharmonic inpainting, non-local means",
    "residual CNN, four times as long",
)
LADMM_WITH_POSITIONS = "LADMM to convergence, positions, stride 8"
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


@cache
def rows(name):
    """The rows of a table in results/ as git has it, since a run of one's own writes other seconds there."""
    path = f"results/{name}"
    command = [which("git") or "false", "show", f":{path}"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    text = (ROOT / path).read_text(encoding="utf-8") if shown.returncode else shown.stdout
    return list(csv.DictReader(text.splitlines()))


def run(method, depth, training="", seed=None):
    """A row of results.csv, of the default run or of that with another seed."""
    found = rows(f"seed_{seed}/results.csv" if seed else "results.csv")
    (row,) = (row for row in found if (row["method"], row["depth"], row["training"]) == (method, depth, training))
    return row


def restored(method, depth, training="", seed=None):
    """The PSNR in such a row."""
    return f"{float(run(method, depth, training, seed)['psnr']):.2f}"


def converged():
    """The number of iterations of the longest run of LADMM."""
    return max((row["depth"] for row in rows("results.csv") if row["method"] == "ladmm"), key=int)


@cache
def comparison():
    """The PSNR of comparison.csv: by experiment, noise rate and method, then by image, a list over the noise seeds."""
    cases = psnr_by_image(rows("comparison.csv")).items()
    return {case: {image: [*by_seed.values()] for image, by_seed in found.items()} for case, found in cases}


def compared(method, experiment, rate):
    """Its mean PSNR over all test images and noise seeds; "" if the method is not in this experiment."""
    by_image = comparison().get((experiment, rate, method))
    if by_image is None:
        return ""
    assert set(by_image) == set(TEST_IMAGES) and {len(psnr) for psnr in by_image.values()} == {len(SEEDS)}
    return f"{np.mean(list(by_image.values())):.2f}"


def on_lena(method):
    """Its PSNR on Lena with 10 % salt and pepper."""
    return f"{np.mean(comparison()['salt_and_pepper', 0.1, method]['lena']):.2f}"


def lost(ours, rival, experiment, rate):
    """The number of test images on which a rival has the higher mean PSNR."""
    ours, rival = (comparison()[experiment, rate, method] for method in (ours, rival))
    assert set(ours) == set(rival) and len(ours) >= 5
    return sum(np.mean(rival[image]) > np.mean(ours[image]) for image in ours)


def by_share(ours, rival):
    """That number where 5, 15 and 30 % of the pixels are black or white themselves."""
    return [lambda name=f"clipped_{share}": str(lost(ours, rival, name, 0.1)) for share in (5, 15, 30)]


def lost_to_either(ours, rivals, experiment):
    """That number, which is the same for these rivals, in an experiment at 10 %."""
    (number,) = {lost(ours, rival, experiment, 0.1) for rival in rivals}
    return str(number)


def followed(method, trained_on="objective", beta=""):
    """The layers of a method on Lena in results/convergent.csv."""
    wanted = {"data": "Lena", "method": method, "trained_on": trained_on, "beta": beta}
    return [row for row in rows("convergent.csv") if row.items() >= wanted.items()]


def at_depth(method, name, digits, trained_on="objective"):
    """A figure of a method after 15 layers."""
    (row,) = (row for row in followed(method, trained_on) if row["layer"] == "15")
    return f"{float(row[name]):.{digits}f}"


def ladmm_iterations(method):
    """Of LADMM, with the best β, until the objective is that of 15 layers of a method."""
    objective = float(at_depth(method, "objective", 6))
    found = [row for row in rows("convergent.csv") if row["data"] == "Lena" and row["beta"]]
    return str(min(int(row["layer"]) for row in found if float(row["objective"]) <= objective))


def certified(method, trained_on="objective", beta=""):
    """The layers after which the certified gap is at most 1 % of the objective."""
    for row in followed(method, trained_on, beta):
        if float(row["gap"]) <= 0.01 * float(row["objective"]):
            return int(row["layer"])
    return math.inf


def ablated(training, loss, activation):
    """Mean and standard deviation of the PSNR of five layers that start at the pseudo-inverse, as in two figures."""
    wanted = {"training": training, "loss": loss, "activation": activation}
    wanted |= {"initialization": "pseudo_inverse", "depth": "5"}
    found = [float(row["psnr"]) for row in rows("ablations.csv") if row.items() >= wanted.items()]
    assert len(found) == len(SEEDS)
    return [lambda: f"{np.mean(found):.2f}", lambda: f"{np.std(found, ddof=1):.2f}"]


def with_atoms(atoms):
    """The mean PSNR of LADMM with the paper's α after 15, 100 and 1000 iterations."""
    wanted = {"atoms": atoms, "alpha": "0.45", "beta": "1"}
    found = [row for row in rows("atoms.csv") if row.items() >= wanted.items()]
    return [
        lambda n=n: f"{np.mean([float(row['psnr']) for row in found if row['iteration'] == n]):.2f}"
        for n in ("15", "100", "1000")
    ]


UNSUPERVISED, SELF_SUPERVISED = ("dladmm", "15", "unsupervised"), ("dladmm", "15", "self_supervised")
CERTIFIES = "free weights, then to certify"
CLAIMS = {
    r"The 3 × 3 median has ([\d.]+) dB, LADMM to convergence ([\d.]+) dB \(published: ([\d.]+)\); "
    r"with `--seed 1` and `2`, 15 layers have ([\d.]+) and ([\d.]+) dB unsupervised, "
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
    r"D-LADMM loses to inpainting on (\d), (\d) and (\d), to the longer CNN on (\d), (\d) and (\d), with detected "
    r"positions on (\d), (\d) and (\d); in colour, trained at 10 % alone, to either on (\d) of 5; "
    r"with Gaussian noise too, to inpainting and non-local means on (\d), with the default stride on (\d)\.": [
        *by_share(BLIND_8, INPAINTING),
        *by_share(BLIND_8, LONGER),
        *by_share(DETECTED_8, LONGER),
        lambda: lost_to_either(SUPERVISED, (INPAINTING, LONGER), "colour"),
        lambda: str(lost(WITH_GAUSSIAN_NOISE, SMOOTHED, "mixed", 0.1)),
        lambda: str(lost(WITH_GAUSSIAN_NOISE_8, SMOOTHED, "mixed", 0.1)),
    ],
    r"Five layers with learned soft thresholds have ([\d.]+) ± ([\d.]+) dB unsupervised and ([\d.]+) ± ([\d.]+) dB "
    r"self-supervised \(three seeds, 10 epochs\); with the default, a learned piecewise linear function for every "
    r"coordinate, ([\d.]+) ± ([\d.]+) and ([\d.]+) ± ([\d.]+) dB\.": [
        *ablated("unsupervised", "objective", "proximal"),
        *ablated("self_supervised", "error_where_trusted", "proximal"),
        *ablated("unsupervised", "objective", "piecewise_linear"),
        *ablated("self_supervised", "error_where_trusted", "piecewise_linear"),
    ],
    r"The published ([\d.]+) dB\.\*\* With the paper's α and atoms of length 1, LADMM has ([\d.]+) dB after 15 "
    r"iterations, ([\d.]+) after 100, ([\d.]+) after 1000 \(with our constant atom ([\d.]+), ([\d.]+), ([\d.]+)\): a "
    r"slow start, not a solution of ([\d.]+) dB": [
        lambda: str(PUBLISHED["ladmm", None].psnr),
        *with_atoms("length 1"),
        *with_atoms("shipped"),
        lambda: str(PUBLISHED["ladmm", None].psnr),
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
    r"15 layers are as far as (\d+) iterations of LADMM; a last layer trained to be repeated, relaxed, is certified to "
    r"1 % after (\d+) layers, LADMM after (\d+) iterations": [
        lambda: ladmm_iterations("convergent weights"),
        lambda: str(certified("convergent weights, another last layer, relaxed")),
        lambda: str(min(certified("LADMM", "", f"{beta:g}") for beta in BETAS)),
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
    "LADMM to convergence": (LADMM_WITH_POSITIONS, "LADMM to convergence, stride 8"),
    "adaptive median": (SWITCHING, "adaptive centre-weighted median"),
    "biharmonic inpainting": (INPAINTING, "its detector, biharmonic inpainting"),
    "residual CNN, as long": ("residual CNN",) * 2,
    "residual CNN, 4 × as long": (LONGER,) * 2,
    "D-LADMM": (BLIND, SUPERVISED),
    "D-LADMM, detected positions": (DETECTED, ""),
}


def cell(method, ours, experiment, rate):
    """Its mean PSNR and, of a rival that beats ours on some images, their number in brackets."""
    psnr = compared(method, experiment, rate)
    wins = lost(ours, method, experiment, rate) if psnr and is_rival(method) else 0
    return f"{psnr} ({wins})" if wins else psnr


def test_the_table_by_noise_has_the_means_of_all_images_and_seeds_and_the_wins_of_rivals():
    (_, *noises), *lines = BY_NOISE
    assert noises == [*(f"{100 * rate:.0f} %" for rate in RATES), "random-valued, 20 %"]
    experiments = {rate: "salt_and_pepper" if rate == 0.1 else "noise_rates" for rate in RATES}
    for name, *cells in lines:
        salt_and_pepper, random_valued = COMPARED[name]
        at_rates = [cell(salt_and_pepper, BLIND, experiment, rate) for rate, experiment in experiments.items()]
        assert cells == [*at_rates, cell(random_valued, SUPERVISED, "random_valued", 0.2)]
    assert {name for name, *_ in lines} == set(COMPARED)


# Where README says that D-LADMM loses: experiment, network and rival.
LOSSES = {
    *(("noise_rates", BLIND, rival) for rival in (SWITCHING, INPAINTING, LONGER)),
    *(
        ("salt_and_pepper", ours, rival)
        for ours in (BLIND, BLIND_8)
        for rival in (INPAINTING, LONGER, LADMM_WITH_POSITIONS, LADMM_WITH_POSITIONS.replace("stride 8", "stride 16"))
    ),
    *((clipped, BLIND_8, INPAINTING) for clipped in ("clipped_5", "clipped_15")),
    *((clipped, BLIND_8, LONGER) for clipped in ("clipped_5", "clipped_15", "clipped_30")),
    ("clipped_30", DETECTED_8, LONGER),
    *(("colour", SUPERVISED, rival) for rival in (INPAINTING, LONGER)),
    *(("mixed", ours, SMOOTHED) for ours in (WITH_GAUSSIAN_NOISE, WITH_GAUSSIAN_NOISE_8)),
}


def test_wherever_a_rival_wins_the_readme_says_so_and_nowhere_else():
    found = {
        (name, ours, rival)
        for name, rate, rival in comparison()
        for ours in EXPERIMENTS[name].ours
        if is_rival(rival) and lost(ours, rival, name, rate)
    }
    assert found == LOSSES
    for experiment in ("noise_rates", "random_valued"):
        assert len({rival for name, _, rival in comparison() if name == experiment and is_rival(rival)}) >= 5
