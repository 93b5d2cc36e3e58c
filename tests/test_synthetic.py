"""Claims about the studies of synthetic data and of fits: what their rows and tables say is so."""

from functools import partialmethod
from itertools import islice

import numpy as np
import pytest
import torch

from models import DLADMM, ladmm
from models.functions import L1
from models.layer import exact_admm
from utils.studies import fits, synthetic


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        sizes = {"M": 50, "ATOMS": 100, "TEST_SAMPLES": 60, "DEPTH": 5, "FOLLOWED": 60, "EPOCHS": 4}
        for name, value in (sizes | {"SOLVED": 2000, "SAMPLES_PER_EPOCH": 1000}).items():
            patch.setattr(synthetic, name, value)
        for name, value in {"SAMPLES": 800, "UNSEEN": 50, "MOST": 40, "ITERATIONS": 3000}.items():
            patch.setattr(fits, name, value)
        patch.setattr(DLADMM, "fit", partialmethod(DLADMM.fit, epochs=2, samples_per_epoch=500))
        yield


def test_error_and_objective_are_those_of_numpy():
    problem, test = synthetic.pose("twice as large")
    X, Z, E = (part.numpy() for part in test)
    state = next(ladmm(problem, test[0], 1.0))
    reached, alpha = state.Z.numpy(), synthetic.ALPHA
    for own_E in (True, False):
        (row,) = synthetic.follow(problem, [state], test, 50.0, own_E)
        there = state.E.numpy() if own_E else X - reached @ problem.A.numpy().T
        difference = np.hstack([reached - Z, there - E])
        expected = 10 * np.log10(np.sum(difference**2) / np.sum(np.hstack([Z, E]) ** 2))
        assert row["nmse"] == pytest.approx(expected, abs=1e-4)
    objective = alpha * np.abs(reached).sum(1) + np.abs(X - reached @ problem.A.numpy().T).sum(1)
    assert row["above"] == pytest.approx(100 * (objective.mean() / 50 - 1), rel=1e-5)


def test_samples_are_what_the_paper_draws_and_others_what_their_names_say(monkeypatch):
    monkeypatch.setattr(synthetic, "TEST_SAMPLES", 10_000)
    A, rates, sizes = synthetic.pose("as learned")[0].A, {"20 % not zero": 0.2}, {"twice as large": 2}
    torch.testing.assert_close(A.norm(dim=0), torch.ones(100))
    for name in synthetic.UNLIKE:
        X, Z, E = synthetic.pose(name)[1]
        for sparse in (Z, E):
            kept = sparse[sparse != 0]
            assert len(kept) / sparse.numel() == pytest.approx(rates.get(name, 0.1), rel=0.02)
            assert kept.mean().item() == pytest.approx(0, abs=0.02)
            assert kept.std().item() == pytest.approx(sizes.get(name, 1), rel=0.02)
        fits_A = torch.isclose(X, Z @ A.T + E, atol=1e-5).all(dim=1)
        of_first = (Z[:, :10] != 0).any(dim=1)
        assert torch.equal(fits_A, ~of_first) if name == "columns replaced" else fits_A.all()


def test_penalties_and_networks_are_learned_on_samples_that_are_not_those_of_the_tables(monkeypatch):
    measured, seen = synthetic.pose("as learned")[1][0], []
    figures = [{"above": 1.0, "nmse": 1.0}]
    monkeypatch.setattr(synthetic, "follow", lambda problem, states, test, *more: seen.append(test[0]) or figures)
    monkeypatch.setattr(DLADMM, "fit", lambda network, draw, *how, **more: seen.append(draw(len(measured)).X))
    synthetic.chosen_penalty("LADMM", "above"), synthetic.trained("truth")
    assert len(seen) == 8 and not any(torch.equal(X, measured) for X in seen)


def test_all_methods_are_measured_on_all_samples_and_learning_wins_where_it_learned():
    frame = synthetic.measure(lambda function: function).tables["synthetic"]
    assert len(frame) == 4 * (2 * 2 + 2 * 2) * 60 and set(frame["data"]) == set(synthetic.UNLIKE)
    at = frame.query("iteration == 5 and data == 'as learned'").groupby(["method", "trained_on"])["above"].min()
    assert at["D-LADMM", "objective"] < at["LADMM"].min()
    guarded = frame.query("method == 'D-LADMM, safeguarded'").groupby(["data", "trained_on"])["above"].last()
    assert (guarded < 30).all()
    problem, (X, *_) = synthetic.pose("as learned")
    solved = next(islice(exact_admm(problem, X, synthetic.RHO), 1999, None))
    row = frame.query("method == 'LADMM' and data == 'as learned' and iteration == 5").iloc[0]
    lowest = row["objective"] / (1 + row["above"] / 100)
    assert problem.objective(solved, X).mean().item() == pytest.approx(lowest, rel=1e-6)


def test_a_fit_is_worth_the_iterations_that_its_table_says():
    row = fits.won("squared ℓ2")
    parts, _, X = fits.pose(fits.TASKS["squared ℓ2"])
    problem = DLADMM(depth=1, **parts).problem
    goal, optimum = row["optimum"] * (1 + row["dladmm"] / 100), row["optimum"]
    assert 0 <= problem.gap(next(islice(exact_admm(problem, X, 1.0), 3000, None)), X).mean() < 1e-4
    found = {
        penalty: [problem.objective(state, X).mean().item() for state in islice(ladmm(problem, X, penalty), 40)]
        for penalty in row["LADMM_penalty"] * 2.0 ** np.arange(-3, 3.5, 0.5)
    }
    assert 100 * (min(run[9] for run in found.values()) / optimum - 1) == pytest.approx(row["LADMM"], abs=1e-2)
    seventh = min(run[6] for run in found.values()) * (1 + 1e-6)
    of_seventh = fits.worth(problem, X, ladmm, fits.unit_of_beta(problem, X), seventh)
    for reached, worth in ((goal, row["LADMM_worth"]), (seventh, of_seventh)):
        assert worth == min([40, *(k for run in found.values() for k, value in enumerate(run, 1) if value <= reached)])


def test_units_are_those_that_the_tasks_name_and_f_follows_A():
    (of_one, rows, X), (scaled, _, same) = (fits.pose(fits.Task("DCT 64 × 121", of_A=of_A)) for of_A in (1, 100))
    torch.testing.assert_close(scaled["A"], 100 * of_one["A"])
    torch.testing.assert_close(X, same)
    assert not torch.cdist(rows, X, p=1).eq(0).any()  # nobody learns from these
    assert scaled["f"].weight == pytest.approx(100 * of_one["f"].weight) and isinstance(of_one["f"], L1)
