"""Claims about the synthetic experiment: what learning is worth on samples that no network has seen."""

import numpy as np
import pytest

from models import DLADMM
from tests.helpers import cells
from utils.studies import synthetic
from utils.studies.synthetic import ALPHA, ALPHAS, BETA, DEPTH, Experiment, SyntheticRecord

ITERATIONS = 300


@pytest.fixture(scope="module")
def experiment():
    """At half the size, which takes a quarter of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in {"M": 125, "ATOMS": 250, "TEST_SAMPLES": 500}.items():
            patch.setattr(synthetic, name, size)
        yield Experiment(seed=0)


@pytest.fixture(scope="module")
def solver(experiment):
    return {alpha: experiment.ladmm(alpha, BETA, ITERATIONS) for alpha in ALPHAS}


def test_error_and_objective_are_those_of_numpy(experiment):
    X, Z, E = (part.numpy() for part in experiment.test)
    state = DLADMM(experiment.A, 1, ALPHA, beta=BETA)(experiment.test[0])[0]
    ours = experiment.ladmm(ALPHA, BETA, 1)[0]
    difference = np.hstack([state.Z.detach().numpy() - Z, state.E.detach().numpy() - E])
    expected = 10 * np.log10(np.sum(difference**2) / np.sum(np.hstack([Z, E]) ** 2))
    assert ours.nmse == pytest.approx(expected, abs=1e-4)
    reached = state.Z.detach().numpy()
    objective = ALPHA * np.abs(reached).sum(1) + np.abs(X - reached @ experiment.A.numpy().T).sum(1)
    assert ours.objective == pytest.approx(objective.mean(), rel=1e-5)


def test_untrained_network_is_ladmm(experiment, solver):
    untrained = experiment.dladmm("piecewise_linear", "truth", epochs=0)
    for layer, iteration in zip(untrained, solver[ALPHA][:DEPTH], strict=True):
        assert layer.nmse == pytest.approx(iteration.nmse, abs=1e-3)
        assert layer.objective == pytest.approx(iteration.objective, rel=1e-4)


def test_training_on_the_objective_alone_lowers_it(experiment, solver):
    trained = experiment.dladmm("piecewise_linear", "objective", epochs=1)
    assert trained[-1].objective < solver[ALPHA][DEPTH - 1].objective


def test_fifteen_layers_recover_the_truth_better_than_hundreds_of_ladmm_iterations(experiment, solver):
    """By 2 dB better than any of LADMM's first 300 iterations with β = 1 and any of the ALPHAS."""
    layers = experiment.dladmm("piecewise_linear", "truth", epochs=5)
    assert len(layers) == DEPTH
    best = min(record.nmse for records in solver.values() for record in records)
    assert layers[-1].nmse < best - 2


def test_table_and_figure_have_the_last_layers_beside_ladmm_with_the_same_parameters():
    def row(method, place, alpha, objective, nmse):
        network = ("proximal", "truth") if method == "dladmm" else ("", "")
        return SyntheticRecord(method, *network, alpha, BETA, place, objective, nmse)

    rows = [row("ladmm", place, ALPHA, 20.0 - place, -1.0 * place) for place in range(1, 7)]
    rows += [row("ladmm", place, 0.45, 10.0 - place, -2.0 * place) for place in range(1, 7)]
    rows += [row("dladmm", place, ALPHA, 20.0 - 2 * place, -3.0 * place) for place in (1, 2, 3)]
    text = synthetic.report_markdown(rows)
    assert cells(text)[1:] == [
        ["LADMM", "", "3", "-3.00", "17.00", ""],
        ["LADMM", "", "6", "-6.00", "14.00", ""],
        ["D-LADMM, proximal", "truth", "3", "-9.00", "14.00", "6"],
    ]
    assert "in 6 iterations with any of the α and β below is -12.00 dB" in text
    nmse, objective = synthetic.draw_figure(rows).axes
    assert [list(line.get_ydata()) for line in objective.lines] == [[19, 18, 17, 16, 15, 14], [18, 16, 14]]
    assert list(nmse.lines[-1].get_ydata()) == [-2, -4, -6, -8, -10, -12]
