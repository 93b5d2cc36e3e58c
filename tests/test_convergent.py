"""Claims about the experiment with convergent weights: what its rows are, and what its table says of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models import Problem
from tests.helpers import cells, numpy_ladmm
from utils.reporting.tables import grouped
from utils.studies import convergent, convergent_networks
from utils.studies.convergent import ConvergenceRecord, best_betas, draw_figure, follow, readme_tables, report_markdown
from utils.studies.convergent_networks import Data, trained, trained_to_certify

BETAS, DEPTH = (0.5, 1.0, 2.0), 3


def set_constants(patch, **values):
    """Sets constants of the study, in that of its two files that has them."""
    for name, value in values.items():
        patch.setattr(convergent if hasattr(convergent, name) else convergent_networks, name, value)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(12, 20, generator=generator)
    A = A / torch.linalg.vector_norm(A, dim=0)

    def draw(number):
        return torch.randn(number, 12, generator=generator)

    return Data("small", Problem(A, 0.5), draw(8), draw(8), draw, lambda samples: None)


@pytest.fixture(scope="module")
def records(data):
    with pytest.MonkeyPatch.context() as patch:
        set_constants(patch, BETAS=BETAS, DEPTH=DEPTH, FOLLOWED=600, SOLVED=3000, EPOCHS=2, STEPS=3)
        set_constants(patch, SAMPLES_PER_EPOCH=64, BATCH_SIZE=16, REPEATS=5, FEW=8, TAIL=2, TAIL_STEPS=3)
        betas = best_betas(data)
        return list(follow(data, betas[1])), betas


def test_rows_of_ladmm_are_those_of_numpy_with_every_beta(data, records):
    A = data.problem.A.numpy()
    for beta in BETAS:
        ours = [row.objective for row in records[0] if row.beta == beta and row.layer <= 100]
        traces = [(x, numpy_ladmm(A, np.eye(12), x, 0.5, beta, 100)) for x in data.X.numpy()]
        expected = [[0.5 * np.abs(Z).sum() + np.abs(x - A @ Z).sum() for Z, *_ in trace] for x, trace in traces]
        np.testing.assert_allclose(ours, np.mean(expected, axis=0), rtol=1e-4)


def test_all_methods_are_followed_as_far_and_convergent_ones_go_to_the_solution(records):
    runs = grouped(records[0], "method", "trained_on", "beta")
    assert {len(run) for run in runs.values()} == {150} and len(runs) == len(BETAS) + 10
    for (method, _, beta), run in runs.items():
        assert all(row.objective - row.gap <= row.objective - row.above + 1e-2 for row in run if row.objective < 1e3)
        if beta is not None or method.startswith("convergent") or method.endswith("safeguarded"):
            assert run[-1].above < 0.02 * run[-1].objective and run[-1].distance < run[DEPTH].distance


def test_a_network_learns_to_certify_what_it_restores_without_restoring_something_else(data, monkeypatch):
    set_constants(monkeypatch, DEPTH=DEPTH, EPOCHS=4, SAMPLES_PER_EPOCH=640, BATCH_SIZE=16, TAIL=2, TAIL_STEPS=60)
    before = trained(data, "free", "objective")
    after = trained_to_certify(data, before)
    assert all(map(torch.equal, before.layers[0].parameters(), after.layers[0].parameters()))
    X = data.draw(200)
    with torch.no_grad():
        (*_, one), (*_, other) = before.iterate(X), after.iterate(X)
    gaps = [data.problem.gap(state, X).mean().item() for state in (one, other)]
    assert gaps[1] < 0.8 * gaps[0]
    assert (other.AZ - one.AZ).abs().mean() < 0.04 * one.AZ.abs().mean()


def row(method, layer, objective, gap, beta=None):
    return ConvergenceRecord(
        "small", method, "" if beta else "objective", beta, layer, objective, objective - 9, gap, 1.0, None
    )


@pytest.fixture
def two_layers(monkeypatch):
    """Networks of two layers, and what is certified to a tenth of the objective."""
    set_constants(monkeypatch, DEPTH=2, TOLERANCE=0.1)


SLOW = [row("LADMM", layer, 20 - layer, 1.0, 0.5) for layer in range(1, 7)]
FAST = [row("LADMM", layer, 19 - layer, 2.0, 1.0) for layer in range(1, 7)]
FREE = [row("free weights", layer, 15.5 - layer / 2, 5 / layer) for layer in range(1, 7)]


def test_the_table_counts_iterations_of_the_best_ladmm_and_layers_to_the_certificate(two_layers):
    lost = [row("lost weights", layer, value, value) for layer, value in enumerate((20.0, 30.0, math.inf, math.nan), 1)]
    text = report_markdown(SLOW + FAST + FREE + lost, {"small": (1.0, 0.5)})
    lines = cells(text)
    assert lines[0][:3] == ["after 2 layers", "objective", "certified gap"]
    assert lines[0][3:5] == ["LADMM iterations to it", "layers until the gap is 10 %"]
    assert [line[0][:12] for line in lines[1:]] == ["LADMM, β wit", "LADMM, β tha", "free weights", "lost weights"]
    assert lines[1][1:5] == ["17.00", "2.00", "", "never"] and lines[2][1:5] == ["18.00", "1.00", "", "1"]
    assert lines[3][1:5] == ["14.50", "2.50", "5", "4"]
    assert lines[4][1:] == ["30.00", "30.00", "1", "never", "diverged", "1"]
    assert "lowest objective is 1, the other 0.5." in text


def test_the_readme_shows_the_ladmm_that_is_certified_first_and_networks_trained_on_the_objective(two_layers):
    networks = "free weights", "free weights, then to certify", "convergent weights"
    networks += ("convergent weights, another last layer, relaxed",)
    rows = [replace(one, data="Lena", psnr=30.0) for one in FAST + SLOW]
    for place, name in enumerate(networks):
        own = [replace(one, data="Lena", method=name, objective=one.objective - place, psnr=31.0) for one in FREE]
        rows += own + [replace(one, trained_on="gap", objective=0.0) for one in own]
    others = [replace(one, data="synthetic", gap=0.0) for one in FAST + FREE]
    lines = cells(readme_tables(rows + others)["convergence"])
    assert lines[1] == ["LADMM", "18.00", "1.00", "30.00", "", "1"]
    assert [line[1] for line in lines[2:]] == ["14.50", "13.50", "12.50", "11.50"]
    assert lines[2] == ["D-LADMM", "14.50", "2.50", "31.00", "5", "4"] and lines[3][4] == "6"


def test_a_network_that_diverges_does_not_spoil_the_figure(tmp_path):
    rows = [row("LADMM", layer, 20 - layer, 1.0, 0.5) for layer in range(1, 4)]
    rows += [row("free weights", layer, value, value) for layer, value in enumerate((12.0, math.inf, math.nan), 1)]
    figure = draw_figure(rows, {"small": (0.5, 0.5)})
    figure.savefig(tmp_path / "figure.png")
    assert all(np.isfinite(axis.get_ylim()).all() for axis in figure.axes)


def test_the_figure_shows_of_each_data_the_ladmm_that_its_legend_names():
    rows = [row("LADMM", layer, 20 - layer, 10 * beta, beta) for beta in (0.5, 2.0) for layer in (1, 2)]
    others = [replace(one, data="others") for one in rows]
    figure = draw_figure(rows + others, {"small": (0.5, 2.0), "others": (2.0, 0.5)})
    gaps = [{line.get_label(): line.get_ydata()[0] for line in figure.axes[place].lines} for place in (1, 4)]
    lowest, first = "LADMM, β with the lowest objective", "LADMM, β that is certified first"
    assert gaps == [{lowest: 5.0, first: 20.0}, {lowest: 20.0, first: 5.0}]
