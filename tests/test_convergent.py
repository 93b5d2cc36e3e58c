"""Claims about the experiment with convergent weights: what its rows are, and what its tables say of them."""

from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Memory

from models import Problem
from tests.helpers import ROOT, cells, interrupted_in
from utils.reporting.tables import read_table
from utils.running.provenance import read_provenance
from utils.studies import convergent
from utils.studies.convergent import SAFEGUARDED, SOLVERS, TIMED, Data, measure

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


def test_all_methods_are_followed_as_far_and_convergent_ones_go_to_the_solution(tables):
    runs = tables["convergent"].fillna({"beta": 0}).groupby(["method", "trained_on", "beta"])
    assert set(runs.size()) == {140} and runs.ngroups == len(BETAS) + len(RHOS) + 10
    for (method, _, beta), run in runs:
        assert not (run["gap"] < run["above"] - 1e-2)[run["objective"] < 1e3].any()
        if beta or method.startswith("convergent") or method == SAFEGUARDED:
            last = run.iloc[-1]
            assert last["above"] < 0.02 * last["objective"] and last["distance"] < run["distance"].iloc[DEPTH]


def test_the_penalties_are_those_with_the_lowest_objective_and_the_first_certificate():
    problem, _, X, *_ = small()
    for name, (solve, penalties) in convergent.SOLVERS.items():
        objectives, certified = {}, {}
        for penalty in penalties:
            for layer, state in enumerate(islice(solve(problem, X, penalty), 500), start=1):
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


@pytest.fixture(scope="module")
def committed():
    """The rows in results/ of Lena, and the page of all."""
    made_by = read_provenance(ROOT / "results" / "convergent.json")
    tables = {name: read_table(ROOT / "results" / f"{name}.csv") for name in made_by["tables"]}
    rows = tables["convergent"].query("data == 'Lena'").replace(np.inf, np.nan)
    return rows, convergent.show(tables, made_by)


def first_with(rows, goal, method):
    """The row in which a method, with any penalty, is first as low as the goal."""
    there = rows[(rows["method"] == method) & (rows["objective"] <= goal) & rows["trained_on"].isin(["", "objective"])]
    return there.loc[there["layer"].idxmin()]


def test_tables_count_iterations_of_the_best_penalty_and_layers_to_the_certificate(committed):
    rows, page = committed
    for name, figures in rows[rows["beta"].isna() | (rows["beta"] == 8)].groupby(["method", "trained_on"]):
        title = {"LADMM": "LADMM, β = 8", "exact ADMM": "exact ADMM, ρ = 8"}
        title = title.get(name[0], f"{name[0]}, trained on the {name[1].replace('_', ' ')} ")
        at = figures.set_index("layer").loc[15]
        solvers = [s for s in SOLVERS if s != name[0]]
        counts = {f"{s} iterations to it": str(first_with(rows, at["objective"], s)["layer"]) for s in solvers}
        certified = figures["layer"][figures["gap"] <= 0.01 * figures["objective"]].min()
        counts["layers until the gap is 1 %"] = "never" if np.isnan(certified) else f"{certified:.0f}"
        shown = dict(zip(cells(page.text)[0], cells(page.text, title)[0], strict=True))
        assert counts.items() <= shown.items() and shown["objective"] == f"{at['objective']:.2f}"


def test_the_fewest_layers_to_a_goal_are_timed_without_any_evaluation(committed):
    rows, asked = committed[0], []
    times = pd.DataFrame(convergent.race(lambda *what: asked.append(what) or range(what[-1]), rows))
    goal = rows.query("method == 'free weights' and trained_on == 'objective' and layer == @DEPTH")["objective"].item()
    for number, method in enumerate(TIMED):
        first = first_with(rows, goal, method)
        assert asked[3 * number][::3] == (method, first["layer"]) and times["layers"][number] == first["layer"]
    assert (times["seconds"].isna() == times["layers"].isna()).all() and len(times) == 2 * len(TIMED)
