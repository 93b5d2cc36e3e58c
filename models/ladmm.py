"""Classical linearized ADMM: the D-LADMM layer with LADMM's weights, repeated without end."""

from collections.abc import Iterator

import torch
from torch import Tensor

from models.activations import Proximal
from models.initialization import ladmm_initialization
from models.layer import Layer
from models.problem import Problem, State


@torch.no_grad()
def ladmm(problem: Problem, X: Tensor, beta: float, mask: Tensor | None = None) -> Iterator[State]:
    """Yields the state after iteration 1, 2, 3, … of LADMM (Lin, Liu & Su 2011) from zero.

    The iteration is that of models.layer.Layer.

    Args:
        problem: the problem, m = length of a row of X.
        X: (N, m).
        beta: penalty β > 0, the same in every iteration.
        mask: of the known values, (N, m): see Problem.known.
    """
    layer = Layer(problem, *ladmm_initialization(problem, beta), beta, Proximal)
    mask = problem.known(mask)
    state = problem.zero_state(X, mask)
    while True:
        state = layer(problem, X, state, mask)
        yield state
