"""Claims about the synthetic experiment: what learning is worth on samples that no network has seen."""

import numpy as np
import pandas as pd
import pytest

from models import DLADMM
from tests.helpers import cells
from utils.studies import synthetic
from utils.studies.synthetic import ALPHA, ALPHAS, BETA, DEPTH


@pytest.fixture(scope="module", autouse=True)
def small():
    """At two fifths of the size, which learns from fewer samples."""
    with pytest.MonkeyPatch.context() as patch:
        sizes = {"M": 100, "ATOMS": 200, "TEST_SAMPLES": 300, "ITERATIONS": 300, "SAMPLES_PER_EPOCH": 6000}
        for name, size in (sizes | {"EPOCHS": 4, "LEARNING_RATE": 0.05}).items():
            patch.setattr(synthetic, name, size)
        yield


@pytest.fixture(scope="module")
def solver():
    return {alpha: pd.DataFrame(synthetic.iterate(alpha, BETA)) for alpha in ALPHAS}


def test_error_and_objective_are_those_of_numpy(solver):
    problem, test = synthetic.pose(ALPHA)
    X, Z, E = (part.numpy() for part in test)
    state = DLADMM(problem.A, 1, ALPHA, beta=BETA)(test[0])[0]
    reached, ours = state.Z.detach().numpy(), solver[ALPHA].iloc[0]
    difference = np.hstack([reached - Z, state.E.detach().numpy() - E])
    expected = 10 * np.log10(np.sum(difference**2) / np.sum(np.hstack([Z, E]) ** 2))
    assert ours["nmse"] == pytest.approx(expected, abs=1e-4)
    objective = ALPHA * np.abs(reached).sum(1) + np.abs(X - reached @ problem.A.numpy().T).sum(1)
    assert ours["objective"] == pytest.approx(objective.mean(), rel=1e-5)


def test_training_on_the_objective_alone_lowers_it(solver, monkeypatch):
    monkeypatch.setattr(synthetic, "SAMPLES_PER_EPOCH", 1000)
    trained = synthetic.train("piecewise_linear", "objective")
    assert trained[-1]["objective"] < 0.99 * solver[ALPHA]["objective"][DEPTH - 1]


def test_fifteen_layers_recover_the_truth_better_than_hundreds_of_ladmm_iterations(solver):
    """By 2 dB better than any of LADMM's first 300 iterations with β = 1 and any of the ALPHAS."""
    layers = synthetic.train("piecewise_linear", "truth")
    assert len(layers) == DEPTH and layers[-1]["nmse"] < min(rows["nmse"].min() for rows in solver.values()) - 2


def test_table_and_figure_have_the_last_layers_beside_ladmm_with_the_same_parameters_and_the_best_ladmm():
    def run(method, activation, alpha, objectives, nmse):
        method = {"method": method, "activation": activation, "trained_on": activation, "alpha": alpha, "beta": BETA}
        return pd.DataFrame(method | {"iteration": range(1, len(nmse) + 1), "objective": objectives, "nmse": nmse})

    same = run("ladmm", "", ALPHA, range(19, 13, -1), range(-1, -7, -1))
    other = run("ladmm", "", 0.45, range(9, 3, -1), range(-2, -14, -2))
    network = run("dladmm", "proximal", ALPHA, (18, 16, 14), (-3, -6, -9))
    page = synthetic.show({"synthetic": pd.concat([same, other, network])}, {})
    assert [line[:1] + line[3:] for line in cells(page.text)[1:]] == [
        ["LADMM", "0.8", "1", "3", "17.00", "-3.00", ""],
        ["LADMM", "0.8", "1", "6", "14.00", "-6.00", ""],
        ["LADMM, best NMSE", "0.45", "1", "6", "4.00", "-12.00", ""],
        ["D-LADMM", "0.8", "1", "3", "14.00", "-9.00", "6"],
    ]
    nmse, objective = page.figures["synthetic"].axes
    assert [list(line.get_ydata()) for line in objective.lines] == [[19, 18, 17, 16, 15, 14], [18, 16, 14]]
    assert list(nmse.lines[-1].get_ydata()) == [-2, -4, -6, -8, -10, -12]
