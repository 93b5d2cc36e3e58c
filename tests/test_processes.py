"""Claims about several processes: torchrun trains as one process does, and one process alone writes and speaks."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from data.images import load_pixels
from models import DLADMM
from models.samples import Drawn, Samples
from tests.helpers import ROOT, rows, train_now

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

TRAINING = """
from tests.test_processes import loss_curve
from models.samples import joined, process_number
with joined():
    losses = loss_curve()
    if process_number() == 0:
        print("losses", *losses)
"""


def loss_curve():
    """Losses in float64, where rounding is not in the way, batches that two cannot halve, and one of a single row."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(12, 20, generator=generator, dtype=torch.float64)
    network = DLADMM(A, 3, 0.5, activation="piecewise_linear")
    samples = Drawn(lambda count: Samples(torch.randn(count, 12, generator=generator, dtype=torch.float64)))
    return train_now(network, samples, epochs=5, samples_per_epoch=22, batch_size=7, learning_rate=0.05)


def in_python(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAINING)
    done = in_python(*TORCHRUN, str(script))
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("losses"))
    np.testing.assert_allclose(np.double(line.split()[1:]), loss_curve(), rtol=1e-12)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The experiment in one process and in two, in folders of these names."""
    folder = tmp_path_factory.mktemp("runs")
    finished = {}
    for name, launcher in {"one": (), "two": TORCHRUN}.items():
        finished[name] = in_python(
            *launcher, "main_lena.py", "--depths", "2", "--training", "self_supervised", "--epochs", "2",
            "--patches-per-epoch", "300", "--batch-size", "64", "--learning-rate", "0.01",
            "--ladmm-max-iterations", "20", "--safeguard-layers", "3", "--results-dir", str(folder / name),
            "--checkpoint-dir", str(folder / name / "checkpoints"),
        )  # fmt: skip
        assert finished[name].returncode == 0, finished[name].stderr
    return folder, finished


def test_an_experiment_in_two_processes_is_that_of_one(runs):
    folder, _ = runs
    names = {path.relative_to(folder / "one") for path in (folder / "one").rglob("*")}
    assert names == {path.relative_to(folder / "two") for path in (folder / "two").rglob("*")}
    np.testing.assert_array_equal(*(load_pixels(str(folder / name / "noisy.png")) for name in ("one", "two")))
    one, two = (rows(folder / name / "history.csv") for name in ("one", "two"))
    for column in ("loss", "psnr"):
        np.testing.assert_allclose(*(np.double([row[column] for row in table]) for table in (one, two)), rtol=1e-3)


def test_one_of_two_processes_speaks(runs):
    _, finished = runs
    for done in finished.values():
        assert done.stdout.count("D-LADMM, d = 2, self-supervised") == 1
        assert done.stderr.count("0/2 [00:00<?, ?epoch/s]") == 1


def test_bad_input_is_said_once_by_two_processes(tmp_path):
    done = in_python(*TORCHRUN, "main_lena.py", "--depths", "0", "--results-dir", str(tmp_path / "results"))
    assert done.returncode != 0
    assert done.stderr.count("error: --depths is 0; allowed: 1 or more") == 1
    assert not any(tmp_path.iterdir())
