"""Claims about the experiment with convergent weights: what its rows are, and what its tables say of them."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Memory

from models import Problem
from tests.helpers import cells, interrupted_in, numpy_ladmm
from utils.studies import convergent
from utils.studies.convergent import CERTIFYING, REPEATED, SAFEGUARDED, SOLVERS, TIMED, Data, follow, measure

BETAS, RHOS, DEPTH = (0.5, 1.0, 2.0), (1.0, 4.0), 3
SIZES = {
    "DEPTH": DEPTH, "FOLLOWED": 500, "EPOCHS": 2, "STEPS": 3, "SAMPLES_PER_EPOCH": 64, "BATCH_SIZE": 16,
    "REPEATS": 5, "FEW": 8, "TAIL": 2, "TAIL_STEPS": 3, "SOLVED": 2000,
    "SOLVERS": {name: (solve, BETAS if name == "LADMM" else RHOS) for name, (solve, _) in SOLVERS.items()},
}  # fmt: skip


def small():
    """Few samples; those to choose by are so small that other penalties are chosen than on the test samples."""
    generator = torch.Generator().manual_seed(0)
    A = torch.nn.functional.normalize(torch.randn(12, 20, generator=generator), dim=0)
    X, to_choose_by = torch.randn(8, 12, generator=generator), torch.randn(8, 12, generator=generator) / 10
    return Data(Problem(A, 0.5), X, to_choose_by, generator, lambda count: torch.randn(count, 12, generator=generator))


@pytest.fixture(scope="module", autouse=True)
def study_of_seconds():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SIZES | {"DATA": {"small": small}}).items():
            patch.setattr(convergent, name, value)
        yield


@pytest.fixture(scope="module")
def tables():
    return measure(lambda function: function).tables


def test_all_methods_are_followed_as_far_ladmm_is_that_of_numpy_and_convergent_ones_go_to_the_solution(tables):
    runs = tables["convergent"].fillna({"beta": 0}).groupby(["method", "trained_on", "beta"])
    assert set(runs.size()) == {140} and runs.ngroups == len(BETAS) + len(RHOS) + 10
    for (method, _, beta), run in runs:
        assert not (run["gap"] < run["above"] - 1e-2)[run["objective"] < 1e3].any()
        if beta or method.startswith("convergent") or method == SAFEGUARDED:
            last = run.iloc[-1]
            assert last["above"] < 0.02 * last["objective"] and last["distance"] < run["distance"].iloc[DEPTH]
        if method == "LADMM":
            A, X = small().problem.A.numpy(), small().X.numpy()
            traces = [(x, numpy_ladmm(A, np.eye(12), x, 0.5, beta, 100)) for x in X]
            expected = [[0.5 * np.abs(Z).sum() + np.abs(x - A @ Z).sum() for Z, *_ in trace] for x, trace in traces]
            np.testing.assert_allclose(run["objective"][:100], np.mean(expected, axis=0), rtol=1e-4)


def test_the_penalties_are_those_with_the_lowest_objective_and_the_first_certificate(monkeypatch):
    problem, _, X, *_ = small()
    for name, (solve, _) in SOLVERS.items():
        monkeypatch.setitem(convergent.SOLVERS, name, (solve, (1.0, 4.0, 12.0, 24.0, 32.0)))
        objectives, certified = {}, {}
        for penalty in convergent.SOLVERS[name][1]:
            for layer, state in zip(range(1, 501), solve(problem, X, penalty), strict=False):
                objective, gap = problem.objective(state, X).mean(), problem.gap(state, X).mean()
                if layer == DEPTH:
                    objectives[penalty] = objective
                if (layer <= 100 or layer % 10 == 0) and gap <= 0.01 * objective:
                    certified.setdefault(penalty, (layer, gap))
        expected = min(objectives, key=objectives.get), min(certified, key=certified.get)
        assert tuple(convergent.best_penalties("small", name).values()) == ("small", name, *expected)


def test_an_interrupted_study_goes_on_to_the_same_rows_and_trains_no_network_twice(tables, tmp_path, monkeypatch):
    """The networks draw from one generator: what one learns depends on the draws of those before it."""
    trainings = interrupted_in(monkeypatch, convergent, "train", 3, 7, 10)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            measure(Memory(tmp_path, verbose=0).cache)
    found = measure(Memory(tmp_path, verbose=0).cache).tables
    assert len(trainings) == 8 + 3
    for name in ("convergent", "convergent_penalties"):
        pd.testing.assert_frame_equal(found[name], tables[name], check_exact=True)


def test_a_network_learns_to_certify_what_it_restores_without_restoring_something_else(monkeypatch):
    for name, value in {"EPOCHS": 4, "SAMPLES_PER_EPOCH": 640, "TAIL_STEPS": 60}.items():
        monkeypatch.setattr(convergent, name, value)
    data = small()
    X, networks = data.draw(200), [convergent.trained(data, "free weights", "objective")]
    networks.append(convergent.trained_to_certify(data, networks[0]))
    assert all(map(torch.equal, *(network.layers[0].parameters() for network in networks)))
    (*_, (one, before)), (*_, (other, after)) = (follow(data.problem, X, network.iterate(X)) for network in networks)
    assert other["gap"] < 0.8 * one["gap"] and (after.AZ - before.AZ).abs().mean() < 0.04 * before.AZ.abs().mean()


def run_of(method, objectives, gaps, beta=np.nan, trained_on="objective", data="Lena"):
    run = {"data": data, "method": method, "trained_on": trained_on if np.isnan(beta) else "", "beta": beta}
    run |= {"layer": range(1, 7), "objective": objectives, "above": np.array(objectives) - 9, "gap": gaps}
    return pd.DataFrame(run | {"distance": 1.0, "psnr": 30.0})


FREE = [15.5 - layer / 2 for layer in range(1, 7)], [5 / layer for layer in range(1, 7)]
LOST = [[20.0, 30.0, math.inf, *[math.nan] * 3]] * 2
ROWS = pd.concat([
    *(run_of("LADMM", range(19, 13, -1), [1] * 6, 0.5, data=data) for data in ("Lena", "others")),
    *(run_of("LADMM", range(18, 12, -1), [2] * 6, 1.0, data=data) for data in ("Lena", "others")),
    run_of("exact ADMM", range(17, 11, -1), [2 / layer for layer in range(1, 7)], 4.0),
    *(run_of(name, *FREE) for name in ("free weights", CERTIFYING, REPEATED)),
    run_of("free weights", *FREE, trained_on="gap"), run_of("lost weights", *LOST),
])  # fmt: skip


@pytest.fixture(scope="module")
def page():
    """Of these rows, with LADMM's penalties chosen the other way round on other data."""
    chosen = [("Lena", "LADMM", 1.0, 0.5), ("others", "LADMM", 0.5, 1.0), ("Lena", "exact ADMM", 4.0, 4.0)]
    penalties = pd.DataFrame(chosen, columns=["data", "method", "lowest_objective", "first_certified"])
    times = [("Lena", "a goal", "LADMM", 0.5, 12, 1.234), ("Lena", "a goal", "free weights", *[math.nan] * 3)]
    times = pd.DataFrame(times, columns=["data", "goal", "method", "penalty", "layers", "seconds"])
    tables = {"convergent": ROWS, "convergent_penalties": penalties, "convergent_seconds": times}
    return convergent.show(tables, {"settings": {"depth": 2, "tolerance": 0.1}})


def test_tables_count_iterations_of_the_best_penalty_and_layers_to_the_certificate(page):
    lines, readme = cells(page.text), cells(page.readme["convergence"])
    assert lines[0][4:7] == ["LADMM iterations to it", "exact ADMM iterations to it", "layers until the gap is 10 %"]
    assert lines[1][:7] == ["LADMM, β = 1", "17.00", "2.00", "30.00", "", "1", "never"]
    assert lines[2][:7] == ["LADMM, β = 0.5", "18.00", "1.00", "30.00", "", "1", "1"]
    assert lines[3][:7] == ["exact ADMM, ρ = 4", "16.00", "1.00", "30.00", "3", "", "2"]
    assert lines[4][:7] == ["free weights, trained on the objective", "14.50", "2.50", "30.00", "5", "4", "4"]
    assert lines[8][1:] == ["30.00", "30.00", "30.00", "1", "1", "never", "diverged", "1"]
    assert lines[10:12] == [["a goal", "LADMM", "0.5", "12", "1.23"], ["a goal", "free weights", "", "never", ""]]
    assert readme[1:3] == [lines[1][:6], lines[3][:6]]  # each method once
    methods = ["free weights", "convergent weights", "lost weights"]
    assert [line[0].split(",")[0] for line in readme[3:]] == methods


def test_the_fewest_layers_to_a_goal_are_timed_without_any_evaluation():
    asked = []

    def start(method, trained_on, penalty, layers):
        asked.extend([(method, penalty)] * layers)
        return range(layers)

    rows = ROWS[(ROWS["data"] == "Lena") & (ROWS["trained_on"] != "gap")].replace({"objective": {14.0: 14.5}})
    times = pd.DataFrame(convergent.race(start, rows))
    assert list(times["layers"].dropna()) == [5, 4, 2, 2] and "14.50" in times["goal"][0]
    assert asked[:27] == 3 * 5 * [("LADMM", 1.0)] + 3 * 4 * [("exact ADMM", 4.0)]
    assert (times["seconds"].isna() == times["layers"].isna()).all() and len(times) == 2 * len(TIMED)


def test_the_figure_shows_the_penalties_that_its_legend_names_and_a_network_that_diverges_does_not_spoil_it(page):
    axes = page.figures["convergent"].axes
    assert all(np.isfinite(axis.get_ylim()).all() for axis in axes)
    gaps = [{line.get_label(): line.get_ydata()[0] for line in axes[place].lines} for place in (1, 4)]
    names = "LADMM, β with the lowest objective", "LADMM, β that is certified first"
    assert [tuple(of_data[name] for name in names) for of_data in gaps] == [(2, 1), (1, 2)]
    assert [line.get_linestyle() for line in axes[0].lines][:5] == ["--", "--", "-.", "-.", ":"]
