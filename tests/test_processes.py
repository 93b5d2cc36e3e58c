"""Claims about several processes: torchrun trains as one process does, and one process alone writes and speaks."""

import os
import subprocess
import sys

import numpy as np
import torch

import main_lena
from data.images import load_pixels
from models import DLADMM
from models.samples import Drawn, Samples
from tests.helpers import ROOT, rows, train_now

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SMALL = (
    "--depths", "2", "--training", "self_supervised", "--epochs", "2", "--patches-per-epoch", "300", "--batch-size",
    "64", "--learning-rate", "0.01", "--ladmm-max-iterations", "20", "--safeguard-layers", "3",
)  # fmt: skip
SCRIPT = """
import sys
import main_lena
from tests.test_processes import loss_curve
from models.samples import joined, process_number
with joined():
    losses = loss_curve()
    if process_number() == 0:
        print("losses", *losses)
main_lena.main(sys.argv[1:])
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


def test_two_processes_have_the_loss_curve_of_one_and_say_once_what_is_wrong(tmp_path):
    script, results = tmp_path / "train.py", tmp_path / "results"
    script.write_text(SCRIPT)
    done = in_python(*TORCHRUN, str(script), "--depths", "0", "--results-dir", str(results))
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("losses"))
    np.testing.assert_allclose(np.double(line.split()[1:]), loss_curve(), rtol=1e-12)
    assert done.returncode != 0 and not results.exists()
    assert done.stderr.count("error: --depths is 0; allowed: 1 or more") == 1


def test_an_experiment_in_two_processes_is_that_of_one_and_one_of_them_speaks(tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    in_one, in_two = (
        (*SMALL, "--results-dir", str(folder), "--checkpoint-dir", str(folder / "checkpoints")) for folder in (one, two)
    )
    main_lena.main(in_one)
    done = in_python(*TORCHRUN, "main_lena.py", *in_two)
    assert done.returncode == 0, done.stderr
    said = capsys.readouterr()
    for out, err in ((said.out, said.err), (done.stdout, done.stderr)):
        assert out.count("D-LADMM, d = 2, self-supervised") == 1 and err.count("0/2 [00:00<?, ?epoch/s]") == 1
    assert {path.relative_to(one) for path in one.rglob("*")} == {path.relative_to(two) for path in two.rglob("*")}
    np.testing.assert_array_equal(*(load_pixels(str(folder / "noisy.png")) for folder in (one, two)))
    histories = [rows(folder / "history.csv") for folder in (one, two)]
    for column in ("loss", "psnr"):
        np.testing.assert_allclose(*(np.double([row[column] for row in history]) for history in histories), rtol=1e-3)
