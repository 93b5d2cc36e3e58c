"""Claims about the README: its code runs, and every figure of its results is that of a file in results/."""

import re

import torch

from models import ladmm
from tests.helpers import ROOT, rows

RESULTS = ROOT / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEASURED = README[README.index("## Results") : README.index("## Change it")]
SEEDS = {"seed 1126": RESULTS, "seed 1": RESULTS / "seed_1", "seed 2": RESULTS / "seed_2"}


def test_the_python_snippet_runs_and_its_untrained_network_is_ladmm():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {"X": torch.rand(5, 256, generator=torch.Generator().manual_seed(0))}
    exec(code, names)
    network, X = names["network"], names["X"]
    *_, last = (state for state, _ in zip(ladmm(network.problem, X, beta=1.0), range(15), strict=False))
    assert names["restored"].shape == (5, 256) and len(names["states"]) == 15
    torch.testing.assert_close(names["restored"], last.AZ)


def table():
    """The table of results: heading -> cell, for every row. A row "d = 10" is of the network above it."""
    lines = [line for line in MEASURED.splitlines() if line.startswith("|")]
    headings, _, *body = ([cell.strip(" *") for cell in line.split("|")[1:-1]] for line in lines)
    network, found = "", []
    for cells in body:
        row = dict(zip(headings, cells, strict=True))
        if row["method"].startswith("d ="):
            row["method"] = f"{network}, {row['method']}"
        network = row["method"].rsplit(", ", 1)[0]
        found.append(row)
    return found


def row_of(method, folder):
    """The row of results.csv that a name in the README's table stands for."""
    found = rows(folder / "results.csv")
    kind, *words = method.split(", ")
    if kind == "3 × 3 median":
        (row,) = (row for row in found if row["method"] == "median")
    elif kind == "LADMM to convergence":
        row = max((row for row in found if row["method"] == "ladmm"), key=lambda row: int(row["depth"]))
    elif kind == "LADMM":
        (row,) = (row for row in found if row["method"] == "ladmm" and words == [f"{row['depth']} iterations"])
    else:
        training, depth = words[0].replace("-", "_"), words[1].removeprefix("d = ")
        training = {"untrained": ("untrained", "")}.get(training, ("dladmm", training))
        (row,) = (row for row in found if (row["method"], row["training"], row["depth"]) == (*training, depth))
    return row


def test_the_table_of_results_has_the_psnr_of_every_seed_and_the_seconds_of_the_run():
    shown = table()
    assert len(shown) >= 9
    for row in shown:
        for heading, folder in SEEDS.items():
            assert row[heading] == f"{float(row_of(row['method'], folder)['psnr']):.2f}", row
        seconds = float(row_of(row["method"], RESULTS)["seconds"])
        assert row["seconds"] in (f"{seconds:.1f}", f"{seconds:.0f}"), row
    learned = [row_of(row["method"], RESULTS) for row in shown]
    assert {(r["training"], r["depth"]) for r in learned if r["method"] == "dladmm"} == {
        (r["training"], r["depth"]) for r in rows(RESULTS / "results.csv") if r["method"] == "dladmm"
    }
