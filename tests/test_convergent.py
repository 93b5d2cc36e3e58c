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
from utils.studies.convergent import Method, best_penalties, follow, methods, race, solvers
from utils.studies.convergent_networks import Data, trained, trained_to_certify
from utils.studies.convergent_tables import (
    REPEATED,
    ConvergenceRecord,
    Timed,
    draw_figure,
    readme_tables,
    section,
)

BETAS, RHOS, DEPTH = (0.5, 1.0, 2.0), (1.0, 4.0), 3


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
        set_constants(patch, BETAS=BETAS, RHOS=RHOS, DEPTH=DEPTH, FOLLOWED=600, SOLVED=3000, EPOCHS=2, STEPS=3)
        set_constants(patch, SAMPLES_PER_EPOCH=64, BATCH_SIZE=16, REPEATS=5, FEW=8, TAIL=2, TAIL_STEPS=3)
        penalties = {name: best_penalties(data, *solver) for name, solver in solvers().items()}
        tried = list(methods(data, penalties["LADMM"][1]))
        rows = list(follow(data, tried, penalties["exact ADMM"][0]))
        return rows, penalties, list(race(tried, rows))


def test_rows_of_ladmm_are_those_of_numpy_with_every_beta(data, records):
    A = data.problem.A.numpy()
    for beta in BETAS:
        ours = [r.objective for r in records[0] if (r.method, r.beta) == ("LADMM", beta) and r.layer <= 100]
        traces = [(x, numpy_ladmm(A, np.eye(12), x, 0.5, beta, 100)) for x in data.X.numpy()]
        expected = [[0.5 * np.abs(Z).sum() + np.abs(x - A @ Z).sum() for Z, *_ in trace] for x, trace in traces]
        np.testing.assert_allclose(ours, np.mean(expected, axis=0), rtol=1e-4)


def test_all_methods_are_followed_as_far_and_convergent_ones_go_to_the_solution(records):
    runs = grouped(records[0], "method", "trained_on", "beta")
    assert {len(run) for run in runs.values()} == {150} and len(runs) == len(BETAS) + len(RHOS) + 10
    for (method, _, beta), run in runs.items():
        assert all(row.objective - row.gap <= row.objective - row.above + 1e-2 for row in run if row.objective < 1e3)
        if beta is not None or method.startswith("convergent") or method.endswith("safeguarded"):
            assert run[-1].above < 0.02 * run[-1].objective and run[-1].distance < run[DEPTH].distance


def test_the_penalties_are_those_with_the_lowest_objective_and_the_first_certificate(data, monkeypatch):
    """On the samples to choose by: these are so small that others are chosen than on the test samples."""
    set_constants(monkeypatch, DEPTH=DEPTH, FOLLOWED=600, CHECK_EVERY=1)
    problem, X, penalties = data.problem, data.X / 10, (1.0, 4.0, 12.0, 24.0, 32.0)
    for solver, _ in solvers().values():
        objectives, certified = {}, {}
        for penalty in penalties:
            for layer, state in zip(range(1, 601), solver(problem, X, penalty), strict=False):
                objective, gap = problem.objective(state, X).mean(), problem.gap(state, X).mean()
                if layer == DEPTH:
                    objectives[penalty] = objective
                if gap <= 0.01 * objective:
                    certified.setdefault(penalty, (layer, gap))
        expected = min(objectives, key=objectives.get), min(certified, key=certified.get)
        assert best_penalties(data._replace(to_choose_by=X), solver, penalties) == expected


def test_methods_are_timed_for_the_fewest_layers_that_reach_a_goal(records):
    rows, penalties, times = records
    (goal,) = (
        r.objective for r in rows if (r.method, r.trained_on) == ("free weights", "objective") and r.layer == DEPTH
    )
    assert [timed.method for timed in times] == 2 * list(convergent.TIMED)
    for place, solver in enumerate(penalties):
        own = [row for row in rows if row.method == solver]
        assert times[place].layers == min(row.layer for row in own if row.objective <= goal)
        assert times[4 + place].layers == min(row.layer for row in own if row.gap <= 0.01 * row.objective)
    assert times[2].layers <= DEPTH and f"{goal:.2f}" in times[2].goal
    assert all((timed.seconds is None) == (timed.layers is None) for timed in times)


def test_seconds_are_those_of_that_many_layers_and_no_evaluation():
    asked = []

    def start():
        for layer in range(100):
            asked.append(layer)
            yield layer

    assert 0 < convergent.seconds(Method("", "", None, start), 7) < 1
    assert asked == 3 * list(range(7))


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
    """A row of a solver, if it has a penalty, or of a network."""
    return ConvergenceRecord(
        "small", method, "" if beta else "objective", beta, layer, objective, objective - 9, gap, 1.0, None
    )


@pytest.fixture
def two_layers(monkeypatch):
    """Networks of two layers, and what is certified to a tenth of the objective."""
    set_constants(monkeypatch, DEPTH=2, TOLERANCE=0.1)


SLOW = [row("LADMM", layer, 20 - layer, 1.0, 0.5) for layer in range(1, 7)]
FAST = [row("LADMM", layer, 19 - layer, 2.0, 1.0) for layer in range(1, 7)]
EXACT = [row("exact ADMM", layer, 18 - layer, 2 / layer, 4.0) for layer in range(1, 7)]
FREE = [row("free weights", layer, 15.5 - layer / 2, 5 / layer) for layer in range(1, 7)]


def test_the_table_counts_iterations_of_the_best_ladmm_and_layers_to_the_certificate(two_layers):
    lost = [row("lost weights", layer, value, value) for layer, value in enumerate((20.0, 30.0, math.inf, math.nan), 1)]
    times = [Timed("a goal", "LADMM", 0.5, 12, 1.234), Timed("a goal", "free weights", None, None, None)]
    penalties = {"LADMM": (1.0, 0.5), "exact ADMM": (4.0, 4.0)}
    text = section(SLOW + FAST + EXACT + FREE + lost, penalties, times)
    lines = cells(text)
    assert lines[0][:3] == ["after 2 layers", "objective", "certified gap"]
    assert lines[0][3:6] == ["LADMM iterations to it", "exact ADMM iterations to it", "layers until the gap is 10 %"]
    assert [line[0][:9] for line in lines[1:5]] == ["LADMM, β ", "LADMM, β ", "exact ADM", "exact ADM"]
    assert lines[1][1:6] == ["17.00", "2.00", "", "1", "never"] and lines[2][1:6] == ["18.00", "1.00", "", "1", "1"]
    assert lines[3][1:6] == lines[4][1:6] == ["16.00", "1.00", "3", "", "2"]
    assert lines[5][1:6] == ["14.50", "2.50", "5", "4", "4"] and lines[5][0].startswith("free weights")
    assert lines[6][1:] == ["30.00", "30.00", "1", "1", "never", "diverged", "1"]
    assert "LADMM's β with the lowest objective is 1, the other 0.5." in text and "exact ADMM's ρ with" in text
    assert lines[8:] == [["a goal", "LADMM", "0.5", "12", "1.23"], ["a goal", "free weights", "", "never", ""]]


def test_the_readme_shows_the_ladmm_that_is_certified_first_and_networks_trained_on_the_objective(two_layers):
    networks = "free weights", "free weights, then to certify", "convergent weights"
    networks += (REPEATED,)
    never = [replace(one, beta=1.0, gap=1.9) for one in EXACT]
    rows = [replace(one, data="Lena", psnr=30.0) for one in FAST + SLOW + never + EXACT]
    for place, name in enumerate(networks):
        own = [replace(one, data="Lena", method=name, objective=one.objective - place, psnr=31.0) for one in FREE]
        rows += own + [replace(one, trained_on="gap", objective=0.0) for one in own]
    others = [replace(one, data="synthetic", gap=0.0) for one in FAST + FREE]
    lines = cells(readme_tables(rows + others)["convergence"])
    assert lines[1] == ["LADMM", "18.00", "1.00", "30.00", "", "1", "1"]
    assert lines[2] == ["exact ADMM", "16.00", "1.00", "30.00", "3", "", "2"]
    assert [line[1] for line in lines[3:]] == ["14.50", "13.50", "12.50", "11.50"]
    assert lines[3] == ["D-LADMM", "14.50", "2.50", "31.00", "5", "4", "4"] and lines[4][4] == "6"


def test_a_network_that_diverges_does_not_spoil_the_figure(tmp_path):
    rows = [row("LADMM", layer, 20 - layer, 1.0, 0.5) for layer in range(1, 4)]
    rows += [row("free weights", layer, value, value) for layer, value in enumerate((12.0, math.inf, math.nan), 1)]
    figure = draw_figure(rows, {"small": {"LADMM": (0.5, 0.5)}})
    figure.savefig(tmp_path / "figure.png")
    assert all(np.isfinite(axis.get_ylim()).all() for axis in figure.axes)


def test_the_figure_draws_exact_admm_dash_dotted():
    penalties = {"LADMM": (0.5, 0.5), "exact ADMM": (4.0, 4.0)}
    lines = draw_figure(SLOW + EXACT + FREE, {"small": penalties}).axes[0].lines
    assert [line.get_linestyle() for line in lines] == ["--", "--", "-.", "-.", ":"]


def test_the_figure_shows_of_each_data_the_ladmm_that_its_legend_names():
    rows = [row("LADMM", layer, 20 - layer, 10 * beta, beta) for beta in (0.5, 2.0) for layer in (1, 2)]
    others = [replace(one, data="others") for one in rows]
    figure = draw_figure(rows + others, {"small": {"LADMM": (0.5, 2.0)}, "others": {"LADMM": (2.0, 0.5)}})
    gaps = [{line.get_label(): line.get_ydata()[0] for line in figure.axes[place].lines} for place in (1, 4)]
    lowest, first = "LADMM, β with the lowest objective", "LADMM, β that is certified first"
    assert gaps == [{lowest: 5.0, first: 20.0}, {lowest: 20.0, first: 5.0}]
