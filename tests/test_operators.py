"""Claims about A as an operator: a convolution is the matrix that it stands for, in all that a network does with it."""

from itertools import islice

import numpy as np
import pytest
import torch

from models import DLADMM, Problem, ladmm
from models.convergence import safeguarded
from models.errors import InvalidArgument
from models.functions import Box
from models.operators import Convolution
from tests.helpers import certified, fixed, train_now
from utils.running.checkpoints import load_network, save_network

BLOCK, MAPS, SIDE, ALPHA = (
    4,
    6,
    8,
    0.3,
)  # pixels of a block's side, latent maps, blocks of a picture's side, weight of f
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
    """One value a channel, (…, n), as one value for every block and channel."""
    return values.repeat(*[1] * (values.ndim - 1), SIDE * SIDE)


def as_dense(network):
    """The network of a convolution with matrices in place of convolutions."""
    same = DLADMM(dense(network.problem.A), network.depth, ALPHA, beta=1.0, activation=network.activation)
    for ours, theirs in zip(same.layers, network.layers, strict=True):
        weights = theirs.state_dict()
        ours.load_state_dict({k: dense(v) if k == "W1" else everywhere(v) for k, v in weights.items()})
    return same


def trained_like(activation, weights="free"):
    """A network of ten layers whose weights are no longer LADMM's."""
    network = DLADMM(Convolution(KERNEL), 10, ALPHA, beta=2.0, activation=activation, weights=weights)
    for parameter in network.parameters():
        parameter.data *= 1 + 0.1 * normal(*parameter.shape)
    return network


def test_the_adjoint_is_the_one_of_inner_products_and_the_products_are_those_of_the_matrix():
    A, matrix, Z = Convolution(KERNEL), dense(KERNEL), normal(2, SIDE, SIDE, MAPS)
    AZ, AX = A.product(KERNEL, Z), A.adjoint(KERNEL, X)
    torch.testing.assert_close((AZ * X).sum(), (Z * AX).sum())
    torch.testing.assert_close(AZ.flatten(1), Z.flatten(1) @ matrix.T)
    torch.testing.assert_close(AX.flatten(1), X.flatten(1) @ matrix)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_bound_of_the_norm_holds_on_large_pictures_and_is_tight(k):
    A, Z = Convolution(normal(BLOCK**2, MAPS, k, k)), normal(1, 48, 48, MAPS)
    for _ in range(300):  # power iteration
        Z = A.adjoint(A.weight, A.product(A.weight, Z / Z.norm()))
    assert 0.95 < Z.norm().sqrt() / A.norm(A.weight) <= 1 + 1e-12


@pytest.mark.parametrize("activation", ["proximal", "piecewise_linear"])
def test_a_network_of_a_convolution_has_the_states_of_the_one_of_its_matrix(activation):
    network = trained_like(activation)
    with torch.no_grad():
        for ours, theirs in zip(network(X), as_dense(network)(X.flatten(1)), strict=True):
            for one, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(one.flatten(1), other, rtol=0, atol=1e-9)


def test_objective_dual_and_gap_are_those_of_the_matrix_with_a_picture_as_one_problem():
    problem, matrix = Problem(Convolution(KERNEL), ALPHA), Problem(dense(KERNEL), ALPHA)
    state = next(islice(ladmm(problem, X, 1.0), 20, None))
    flat = matrix.state(*(part.flatten(1) for part in state[:3]), X.flatten(1))
    for figure in ("objective", "dual_objective", "gap"):
        ours, theirs = getattr(problem, figure)(state, X), getattr(matrix, figure)(flat, X.flatten(1))
        torch.testing.assert_close(ours, theirs)


def test_ladmm_and_the_safeguard_reach_a_certified_optimum_of_a_whole_picture():
    problem, network = Problem(Convolution(KERNEL), ALPHA), trained_like("proximal")
    steps = (step.state for step in safeguarded(network, X, 1200, 0.25))
    for states in (islice(ladmm(problem, X, 0.25), 1200), steps):
        state = certified(problem, states, X, tolerance=0.01)
        assert (problem.gap(state, X) <= 0.01 * problem.objective(state, X)).all()


@pytest.mark.parametrize("size", [(1, 3), (SIDE, 1)])
def test_with_one_block_or_without_neighbours_it_is_the_matrix(size):
    side, k = size
    kernel, blocks = normal(BLOCK**2, MAPS, k, k), X[:, :side, :side]
    convolution = DLADMM(Convolution(kernel), 10, ALPHA, beta=2.0)
    matrix = DLADMM(kernel[:, :, k // 2, k // 2], 10, ALPHA, beta=2.0)
    for ours, theirs in zip(convolution.layers, matrix.layers, strict=True):
        weights = ours.state_dict()
        theirs.load_state_dict(weights | {"W1": weights["W1"][:, :, k // 2, k // 2]})
    for ours, theirs in zip(convolution(blocks), matrix(blocks.reshape(-1, BLOCK**2)), strict=True):
        torch.testing.assert_close(ours.Z.reshape(-1, MAPS), theirs.Z)


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
