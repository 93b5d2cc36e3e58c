"""Claims about the README: its code runs, and its figures are those of the files in results/."""

import re

import torch

from models import ladmm
from tests.helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_snippet_runs_and_its_untrained_network_is_ladmm():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {"X": torch.rand(5, 256, generator=torch.Generator().manual_seed(0))}
    exec(code, names)
    network, X = names["network"], names["X"]
    *_, last = (state for state, _ in zip(ladmm(network.problem, X, beta=1.0), range(15), strict=False))
    assert names["restored"].shape == (5, 256) and len(names["states"]) == 15
    torch.testing.assert_close(names["restored"], last.AZ)
