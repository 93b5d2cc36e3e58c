"""Claims about `DLADMM.fit`: it wins whatever the unit is, says what it won, and takes data as people have them."""

import math
import warnings
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from models import DLADMM, Problem, ladmm
from models.errors import InvalidArgument
from models.fitting import best_penalty, source_of
from models.functions import L1, L21, Box, NonNegativeL1, SquaredL2
from models.layer import exact_admm
from models.samples import Samples
from utils.studies.fits import Huber
from utils.studies.synthetic import gaussian_dictionary, sparse_samples

ALPHA, DEPTH = 0.7, 6
GENERATOR = torch.Generator().manual_seed(1126)
A = gaussian_dictionary(12, 20, GENERATOR)
X, Z, E = sparse_samples(A, 1500, GENERATOR, rate=0.2)
TEST, B = X[1000:], gaussian_dictionary(12, 18, GENERATOR)
SHORT = {"epochs": 4, "samples_per_epoch": 1000}


def objective(network, data):
    with torch.no_grad():
        return network.problem.objective(network(data)[-1], data).mean().item()


@pytest.mark.parametrize(("of_X", "of_A", "of_f"), [(255, 1, 1), (0.01, 1, 1), (1, 100, 100), (1, 1e-3, 1e-3)])
def test_nothing_depends_on_units(of_X, of_A, of_f):
    """With A and α times c, Z is divided by c and the objective is the same."""
    data, found = X.double()[:300], []
    for x, a, f in ((1, 1, 1), (of_X, of_A, of_f)):
        network = DLADMM(A.double() * a, 3, ALPHA * f).fit(data * x, epochs=2, samples_per_epoch=500)
        found.append([objective(network, data * x) / x, *(s[0] / x for s in network.fitted.solvers.values())])
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_beta_has_the_lowest_objective_of_the_untrained_network_and_a_given_one_stays():
    network = DLADMM(A, np.int64(DEPTH), np.float32(ALPHA))
    source, _ = source_of(network.problem, X, 0, None)
    sample = source.draw(500)
    network.begin(sample)
    others = [DLADMM(A, DEPTH, ALPHA, beta=network.beta * 2.0**k) for k in (-3, -2, -1, -0.5, 0.5, 1, 2, 3)]
    assert objective(network, sample.X) <= min(objective(other, sample.X) for other in others)
    assert all((layer.beta == network.beta).all() for layer in network.layers)
    moved = DLADMM(A, DEPTH, ALPHA)
    moved.layers[0].W1.requires_grad_(False)
    moved.double().begin(Samples(sample.X.double()))  # rounds what it began with
    assert moved.beta == pytest.approx(network.beta) and not moved.layers[0].W1.requires_grad
    given, by_hand = DLADMM(A, 2, ALPHA, beta=1.0), DLADMM(A, 2, ALPHA)
    by_hand.layers[1].W1.data += 0.1
    for network in (given, by_hand):
        before = [parameter.clone() for parameter in network.parameters()]
        network.begin(sample)
        assert all(map(torch.equal, before, network.parameters()))


def test_the_best_penalty_is_found_to_half_a_step_of_two_also_if_a_loss_is_not_a_number():
    loss, penalty = best_penalty(lambda p: math.nan if p < 1 else abs(math.log(p / 3)), 1.0)
    assert (loss, penalty) == pytest.approx((math.log(3 / 2**1.5), 2**1.5))


def test_what_a_fit_has_won_is_what_anybody_finds_on_the_rows_that_were_set_aside(capsys):
    rows = TEST[:200]
    fit = (network := DLADMM(A, DEPTH, ALPHA).fit(X[:1000], validation=rows, progress=True, **SHORT)).fitted
    out, err = capsys.readouterr()
    assert not out and "epoch 4 of 4" in err
    assert [row["epoch"] for row in fit.epochs] == [0, 1, 2, 3, 4]
    for row, net in ((fit.epochs[0], DLADMM(A, DEPTH, ALPHA, beta=fit.beta)), (fit.epochs[-1], network)):
        assert math.isclose(row["set_aside"], objective(net, rows), rel_tol=1e-6)
    for name, solve in {"LADMM": ladmm, "exact ADMM": exact_admm}.items():
        loss, penalty = fit.solvers[name]
        tried = [penalty * 2.0**k for k in (-2, -1, -0.5, 0, 0.5, 1, 2)]
        ends = [next(islice(solve(network.problem, rows, p), DEPTH - 1, None)) for p in tried]
        found = [network.problem.objective(end, rows).mean().item() for end in ends]
        assert min(found) == found[3] and math.isclose(found[3], loss, rel_tol=1e-3)
    assert f"{fit.epochs[-1]['set_aside']:.5g} after 6 layers" in str(fit) and "LADMM" in str(fit)


def test_a_tenth_of_the_rows_is_set_aside_up_to_so_many_and_never_learned_from(monkeypatch):
    for count, most, expected in ((1000, 1000, 100), (1000, 30, 30), (15, 1000, 1), (1, 1000, 1)):
        monkeypatch.setattr("models.fitting.SET_ASIDE", most)
        source, aside = source_of(Problem(A, ALPHA), (X[:count], Z[:count].double().numpy()), 0, None)
        learned = {tuple(row) for row in source.draw(5 * count).X.tolist()}
        kept = {tuple(row) for row in aside.X.tolist()}
        assert len(aside.X) == expected and len(learned) == max(count - expected, 1)
        assert count == 1 or not learned & kept
        torch.testing.assert_close(aside.targets[0], Z[[X.tolist().index(row) for row in aside.X.tolist()]])


@pytest.mark.parametrize(
    ("rows", "how", "words"),
    [
        (1000, {"learning_rate": 5.0}, ("no better than before", "another learning_rate")),
        (30, {"epochs": 10}, ("learned by heart", "weights='scalar'")),
        (1000, {}, ()),
        (300, {"weights": "scalar"}, ()),
    ],
)
def test_a_fit_that_won_nothing_warns_in_words_and_another_does_not(rows, how, words):
    network, schedule = DLADMM(A, DEPTH, ALPHA, weights=how.pop("weights", "free")), SHORT | how
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network.fit(X[:rows], **schedule)
    said = [str(warning.message) for warning in caught if warning.category is UserWarning]
    assert len(said) == bool(words) and all(word in said[0] for word in words)


FORMS = {
    "NumPy": lambda: X.double().numpy(),
    "function": lambda: lambda count: X[torch.randint(1000, (count,))].numpy(),
    "DataLoader": lambda: DataLoader(TensorDataset(X), batch_size=64, shuffle=True),
    "batches": lambda: list(X.split(64)),
}


@pytest.mark.parametrize("form", FORMS)
def test_data_come_in_any_form(form):
    network = DLADMM(A, DEPTH, ALPHA).fit(FORMS[form](), **SHORT)
    assert network.fitted.epochs[-1]["set_aside"] < network.fitted.solvers["LADMM"][0]


KNOWN = Samples(X, (E == 0).float(), (Z,))  # with the places of E as known positions


def test_all_batches_of_an_iterable_are_learned_from_in_turn_with_masks_and_targets():
    source, _ = source_of(Problem(A, ALPHA), [KNOWN.at(slice(5)), KNOWN.at(slice(5, 8))], 0, X)
    for rows in ([0, 1, 2, 3, 4, 5, 6], [7, 0, 1, 2, 3, 4]):
        torch.testing.assert_close(source.draw(len(rows)), KNOWN.at(torch.tensor(rows)))


def test_known_positions_count_in_what_was_won():
    samples = KNOWN._replace(targets=())
    aside = samples.at(slice(1000, 1100))
    network = DLADMM(A, 3, ALPHA).fit(samples.at(slice(900)), epochs=1, samples_per_epoch=900, validation=aside)
    ((name, (loss, penalty)),) = network.fitted.solvers.items()
    states = network(*aside[:2])[-1], next(islice(ladmm(network.problem, aside.X, penalty, aside.mask), 2, None))
    found = [network.problem.objective(state, *aside[:2]).mean().item() for state in states]
    assert name == "LADMM" and found == pytest.approx([network.fitted.epochs[-1]["set_aside"], loss], rel=1e-5)


def test_targets_and_functions_as_losses_and_every_choice_counts():
    for loss, *targets in (("squared_error", Z[:1000], E[:1000]), ("absolute_error", X[:1000] - E[:1000])):
        fit = DLADMM(A, DEPTH, ALPHA, restored="X-BE").fit((X[:1000], *targets), loss, **SHORT).fitted
        assert fit.epochs[-1]["set_aside"] < fit.solvers["LADMM"][0]
    short = {"epochs": 1, "samples_per_epoch": 1000}
    brightness = lambda problem, state, X, mask, mean: (state.AZ.mean(dim=1) - mean).square()  # noqa: E731
    DLADMM(A, 2, ALPHA).fit((X.numpy(), X.numpy().mean(axis=1)), brightness, epochs=1, samples_per_epoch=100)
    same = [DLADMM(A, 2, ALPHA).fit(X[:500], loss, **short) for loss in ("objective", Problem.objective)]
    assert all(map(torch.equal, *(network.parameters() for network in same)))
    for how in ({"seed": 1}, {"layer_discount": 0.9}, {"batch_size": 50}, {"learning_rate": 0.04}):
        other = DLADMM(A, 2, ALPHA).fit(X[:500], **(short | how))
        assert not any(map(torch.equal, same[0].layers[0].eta.parameters(), other.layers[0].eta.parameters())), how


PROBLEMS = {
    "squared l2": {"g": SquaredL2()},
    "group l1": {"f": L21(ALPHA, 4)},
    "nonnegative l1": {"f": NonNegativeL1(ALPHA)},
    "box": {"g": Box(0.2)},
    "B wide": {"B": B},
    "B narrow": {"B": B[:, :4]},
    "own": {"g": Huber()},
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_won_by_one_line(name):
    parts = PROBLEMS[name] if "f" in PROBLEMS[name] else PROBLEMS[name] | {"alpha": ALPHA}
    network = DLADMM(A, DEPTH, **parts).fit(X[:1000], **SHORT)
    problem = network.problem
    lowest = min(
        problem.objective(next(islice(ladmm(problem, TEST, beta), DEPTH - 1, None)), TEST).mean().item()
        for beta in network.beta * 2.0 ** torch.arange(-6, 6.5, 0.5)
    )
    assert objective(network, TEST) < lowest


@pytest.mark.parametrize(("weights", "most"), [("tied", 3 * 240), ("scalar", 13 * DEPTH)])
def test_tied_and_scalar_weights_begin_as_ladmm_learn_and_have_few_numbers(weights, most):
    for matrix in (B, None):
        network, free = (DLADMM(A, DEPTH, ALPHA, matrix, beta=2.0, weights=kind) for kind in (weights, "free"))
        torch.testing.assert_close(network(X[:9]), free(X[:9]), rtol=1e-5, atol=1e-5)
    assert sum(parameter.numel() for parameter in network.parameters()) <= most
    network.fit(X[:1000], **SHORT)
    assert objective(network, TEST) < objective(free, TEST)
    fixed = DLADMM(A, 2, ALPHA, activation="fixed_proximal", weights=weights)
    assert all(parameter.requires_grad != ("theta" in name) for name, parameter in fixed.named_parameters())
    layers, first = network.free().layers, network.free().layers[0]
    ratios = first.W1 / A
    assert (layers[1].W1 is not first.W1) and torch.equal(layers[1].W1, first.W1) == (weights == "tied")
    assert (ratios.std() < 1e-5) == (weights == "scalar")


def test_a_network_goes_on_from_a_state_and_is_exported_with_any_number_of_rows():
    network = DLADMM(A, 3, ALPHA, beta=2.0, weights="tied")
    longer = list(network.iterate(X, layers=6))[-1]
    torch.testing.assert_close(network(X, state=network(X)[-1])[-1].Z, longer.Z)
    (*_, later), (*_, ten) = (list(islice(ladmm(network.problem, X, 2.0), count)) for count in (4, 10))
    torch.testing.assert_close(next(islice(ladmm(network.problem, X, 2.0, state=later), 5, None)).Z, ten.Z)
    rows = {"X": {0: torch.export.Dim("rows", min=2)}}
    for activation in ("proximal", "piecewise_linear", "adaptive"):
        network = DLADMM(A, 3, ALPHA, beta=2.0, activation=activation)
        exported = torch.export.export(network, (X[:8],), dynamic_shapes=rows).module()
        for count in (2, 700):
            torch.testing.assert_close(exported(X[:count])[-1].E, network(X[:count])[-1].E)


NAN = torch.where(torch.arange(1500)[:, None] == 7, torch.nan, X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: n(X[0]), r"X has shape \(12,\); allowed: rows \(N, m\), N > 0 and m = 12"),
        (lambda n: n(X[:, :5]), "m = 12"),
        (lambda n: n("rows"), "X is a str; allowed: a tensor or an array"),
        (lambda n: n(X[:0]), "N > 0"),
        (lambda n: n.fit(X[:0]), "N > 0"),
        (lambda n: n.fit(NAN), "X holds NaN or infinite values, first in row 7"),
        (lambda n: n.fit(lambda count: NAN[:count]), "X holds NaN"),
        (lambda n: n.fit((X, NAN), "absolute_error"), "a target holds NaN"),
        (lambda n: n.fit((X, X[:9]), "absolute_error"), r"a target has shape \(9, 12\); allowed: 1500 rows"),
        (lambda n: n.fit((X, 3.0), "absolute_error"), r"a target has shape \(\); allowed: 1500 rows"),
        (lambda n: n.fit(Samples(X, X[:, :1])), r"the mask has shape \(1500, 1\); allowed: \(1500, 12\)"),
        (lambda n: n.fit(3), "X is a int; allowed: rows, a tuple"),
        (lambda n: n.fit(iter(X.split(64)), samples_per_epoch=2000), "the batches have ended"),
        (lambda n: n.fit(torch.zeros(9, 12)), "only zeros"),
        (lambda n: n.fit(X, "auto"), "loss is auto; allowed for 0 targets: objective, gap, objective_and_gap, relaxed"),
        (lambda n: n.fit(X, "squared_error"), "loss is squared_error; allowed for 0 targets: objective"),
        (lambda n: n.fit((X, X, X), "squared_error"), "cannot compare"),
        (lambda n: n.fit(X, lambda *parts: parts[2].mean()), r"shape \(\); allowed: \(500,\)"),
        (lambda n: n.fit(X, epochs=0), "epochs is 0; allowed"),
        (lambda n: n.fit(X, batch_size=1.5), "batch_size is 1.5; allowed"),
        (lambda n: n.fit(X, learning_rate=-1), "learning_rate is -1; allowed: a finite number > 0"),
        (lambda n: n.fit(X, layer_discount=2), "layer_discount is 2; allowed: 0 to 1"),
        (lambda n: DLADMM(A, 2, ALPHA, beta=math.inf), "beta is inf; allowed: a finite number > 0"),
        (lambda n: next(ladmm(n.problem, X, -1.0)), "beta is -1.0; allowed"),
        (lambda n: next(exact_admm(Problem(A, ALPHA, B=B), X, 2.0)), "exact ADMM allows B = I"),
        (lambda n: DLADMM(A, 0, ALPHA), "depth is 0; allowed"),
        (lambda n: DLADMM(A, 2.0, ALPHA), "depth is 2.0; allowed"),
        (lambda n: DLADMM(A, 2), "alpha is None and f is None; allowed: one of the two"),
        (lambda n: DLADMM(A, 2, ALPHA, f=L1()), "allowed: one of the two"),
        (lambda n: DLADMM(A, 2, f=L21(1.0, group=3)), "a divisor of 20"),
        (lambda n: L21(1.0, group=0), "group is 0; allowed: a whole number, 1 or more"),
        (lambda n: DLADMM(A, 2, ALPHA, initialization="warm"), "initialization is 'warm'; allowed: ladmm"),
        (lambda n: DLADMM(A, 2, ALPHA, activation="relu"), "activation is 'relu'; allowed: proximal"),
        (lambda n: DLADMM(A, 2, ALPHA, restored="Z"), "restored is 'Z'; allowed: AZ, X-BE"),
        (lambda n: DLADMM(A, 2, ALPHA, weights="loose"), "allowed: free, tied, scalar, convergent"),
        (lambda n: DLADMM(0 * A, 2, ALPHA), "only zeros"),
        (lambda n: DLADMM(torch.full((3, 4), torch.nan), 2, ALPHA), "A holds NaN"),
        (lambda n: DLADMM(A, 2, "0.7"), "weight of a L1 is '0.7'; allowed"),
        (lambda n: DLADMM("lena", 2, ALPHA), "A is a str; allowed: a tensor or an array"),
        (lambda n: DLADMM(A, 2, f="l1"), "f is 'l1'; allowed: a Function of models.functions: L1, NonNegativeL1"),
        (lambda n: DLADMM(A, 2, ALPHA, g=L1), "allowed: a Function of models.functions: L1"),
    ],
)
def test_what_is_not_allowed_is_refused_at_the_door(call, message):
    with pytest.raises(InvalidArgument, match=message):
        call(DLADMM(A, 2, ALPHA))
