"""Claims about A as an operator: a convolution is the matrix that it stands for, in all that a network does with it."""

import math
from itertools import islice

import numpy as np
import pytest
import torch

from models import DLADMM, Problem, ladmm
from models.convergence import safeguarded
from models.errors import InvalidArgument
from models.fitting import unit_of_beta
from models.functions import Box
from models.operators import Convolution
from tests.helpers import certified, fixed, train_now
from utils.running.checkpoints import load_network, save_network

BLOCK, MAPS, SIDE, ALPHA = 4, 6, 8, 0.3  # pixels of a block's side, maps, blocks of a picture's side, weight of f
GENERATOR = torch.Generator().manual_seed(1126)


def normal(*shape):
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


KERNEL = normal(BLOCK**2, MAPS, 3, 3) / 4
X = normal(2, SIDE, SIDE, BLOCK**2)


def dense(kernel):
    """The matrix of the convolution on a picture, column by column, without a convolution: after the formula."""
    m, n, k, _ = kernel.shape
    matrix = torch.zeros(SIDE, SIDE, m, SIDE, SIDE, n, dtype=kernel.dtype)
    for row, column, up, left in np.ndindex(SIDE, SIDE, k, k):
        r, c = row + up - k // 2, column + left - k // 2
        if 0 <= r < SIDE and 0 <= c < SIDE:
            matrix[row, column, :, r, c] = kernel[:, :, up, left]
    return matrix.reshape(SIDE * SIDE * m, SIDE * SIDE * n)


def everywhere(values):
    return values.repeat(*[1] * (values.ndim - 1), SIDE * SIDE)


def as_dense(network):
    same = DLADMM(dense(network.problem.A), network.depth, ALPHA, beta=1.0, activation=network.activation)
    for ours, theirs in zip(same.layers, network.layers, strict=True):
        weights = theirs.state_dict()
        ours.load_state_dict({k: dense(v) if k == "W1" else everywhere(v) for k, v in weights.items()})
    return same


def trained_like(activation, weights="free"):
    network = DLADMM(Convolution(KERNEL), 10, ALPHA, beta=2.0, activation=activation, weights=weights)
    for parameter in network.parameters():
        parameter.data *= 1 + 0.1 * normal(*parameter.shape)
    return network


@pytest.mark.parametrize("k", [1, 3, 5])
def test_products_are_those_of_the_matrix_and_of_its_transpose(k):
    kernel, Z = normal(BLOCK**2, MAPS, k, k), normal(2, SIDE, SIDE, MAPS)
    A, matrix = Convolution(kernel), dense(kernel)
    AZ, AX = A.product(kernel, Z), A.adjoint(kernel, X)
    torch.testing.assert_close(AZ.flatten(1), Z.flatten(1) @ matrix.T)
    torch.testing.assert_close(AX.flatten(1), X.flatten(1) @ matrix)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_bound_of_the_norm_holds_on_large_pictures_and_is_tight(k):
    A, Z = Convolution(normal(BLOCK**2, MAPS, k, k)), normal(1, 48, 48, MAPS)
    for _ in range(300):  # power iteration
        Z = A.adjoint(A.weight, A.product(A.weight, Z / Z.norm()))
    assert 0.95 < Z.norm().sqrt() / A.norm(A.weight) <= 1 + 1e-12


def test_the_bound_of_the_norm_holds_between_the_frequencies_that_are_looked_at():
    kernel = torch.zeros(1, 1, 3, 3)
    along = kernel[0, 0, :, 1] = torch.tensor([1, 4 * math.cos(2 * math.pi * 16.5 / 64), -0.5])
    looked_at, peak = (torch.fft.fft(along, count).abs().max() for count in (64, 4096))
    assert looked_at < peak <= Convolution(kernel).norm(kernel)


@pytest.mark.parametrize("activation", ["proximal", "piecewise_linear"])
@torch.no_grad()
def test_a_network_of_a_convolution_has_the_states_and_figures_of_the_one_of_its_matrix(activation):
    """A picture is one problem."""
    network = trained_like(activation)
    matrix = as_dense(network)
    for ours, theirs in zip(network(X), matrix(X.flatten(1)), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.flatten(1), other, rtol=0, atol=1e-9)
        for figure in ("objective", "dual_objective", "gap"):
            values = getattr(network.problem, figure)(ours, X), getattr(matrix.problem, figure)(theirs, X.flatten(1))
            torch.testing.assert_close(*values)


def test_ladmm_and_the_safeguard_reach_a_certified_optimum_of_a_whole_picture():
    problem, network = Problem(Convolution(KERNEL), ALPHA), trained_like("proximal")
    steps = (step.state for step in safeguarded(network, X, 1200, 0.25))
    for states in (islice(ladmm(problem, X, 0.25), 1200), steps):
        state = certified(problem, states, X, tolerance=0.01)
        assert (problem.gap(state, X) <= 0.01 * problem.objective(state, X)).all()


def test_whole_pictures_are_fitted_and_beta_has_their_unit():
    network = DLADMM(Convolution(KERNEL), 2, ALPHA)
    assert unit_of_beta(network.problem, X) == pytest.approx(1 / X.abs().mean().item())
    fit = network.fit(normal(30, 4, 4, BLOCK**2).numpy(), epochs=2, samples_per_epoch=40, batch_size=4).fitted
    assert set(fit.solvers) == {"LADMM"} and fit.epochs[-1]["set_aside"] < fit.solvers["LADMM"][0]


def test_blocks_are_those_of_the_picture_and_lead_back_to_it():
    pictures = normal(2, 12, 8)
    blocks = Convolution.blocks(pictures, 4)
    torch.testing.assert_close(blocks[1, 2, 1].view(4, 4), pictures[1, 8:12, 4:8])
    torch.testing.assert_close(Convolution.pictures(blocks), pictures)


@pytest.mark.parametrize("weights", ["free", "tied", "scalar"])
def test_it_learns_compiled_as_not_compiled_and_comes_back_from_its_file(weights, tmp_path, capsys):
    losses = []
    for compiled in (False, True):
        network = DLADMM(Convolution(KERNEL.float()), 2, ALPHA, beta=1.0, weights=weights)
        source, how = fixed(X.float()), {"samples_per_epoch": 6, "batch_size": 2}
        losses.append(train_now(network, source, compiled=compiled, **how))
    assert losses[0][-1] < losses[0][0] and not capsys.readouterr().err
    torch.testing.assert_close(*losses, rtol=1e-4, atol=0)
    save_network(network, str(tmp_path / "network"), {})
    again = load_network(str(tmp_path / "network"))
    torch.testing.assert_close(again(X.float())[-1].E, network.free()(X.float())[-1].E, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Convolution(torch.ones(16, 4, 2, 2)), "shape .16, 4, 2, 2.; allowed for a convolution: .p², n, k, k"),
        (lambda: Convolution(torch.ones(15, 4, 3, 3)), "allowed for a convolution"),
        (lambda: Problem(Convolution(KERNEL), g=Box(), alpha=1.0), "allowed: B = I and a finite g"),
        (lambda: DLADMM(Convolution(KERNEL), 2, 1.0, initialization="pseudo_inverse"), "allowed: ladmm"),
        (lambda: DLADMM(Convolution(KERNEL), 2, 1.0, weights="convergent"), "allowed: a matrix"),
        (lambda: DLADMM(Convolution(KERNEL), 2, 1.0)(X[0]), "allowed: pictures in blocks"),
    ],
)
def test_what_a_convolution_cannot_do_is_refused(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()
