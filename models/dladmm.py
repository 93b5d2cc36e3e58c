"""Differentiable linearized ADMM: the network, K layers with weights of their own."""

from collections.abc import Callable, Iterator
from copy import deepcopy

from torch import Tensor, nn

from models.activations import ACTIVATIONS
from models.convergence import ConvergentLayer
from models.errors import InvalidArgument
from models.functions import Function
from models.initialization import INITIALIZATIONS
from models.layer import Layer
from models.problem import Problem, State

# Which part of the state is returned as the restored data (N, m). The objective takes E := X − A Z, so the last layer's
# E step gets no gradient from it: A Z is returned. Losses on E train it: X − B E leaves values with E = 0 as they are.
RESTORED: dict[str, Callable[[State], Tensor]] = {
    "AZ": lambda state: state.AZ,
    "X-BE": lambda state: state.uncorrupted,
}


# How the weights of a layer depend on each other.
WEIGHTS: dict[str, type[nn.Module]] = {"free": Layer, "convergent": ConvergentLayer}


class DLADMM(nn.Module):
    """K layers, each with weights of its own (Xie et al. 2019): X -> the state after every layer.

    Args:
        A: (m, n) float tensor.
        depth: number of layers K >= 1.
        alpha, B, f, g: see models.problem.Problem. By default B = I, g = ‖·‖₁, and alpha stands for f = alpha‖·‖₁.
        beta: initial penalty β > 0 of every layer.
        initialization: a name in models.initialization. With "ladmm" the untrained network is K iterations of LADMM.
        activation: a name in models.activations.
        restored: a name in `RESTORED`: which part of the last state is returned by `restore`.
        weights: a name in `WEIGHTS`: "free", or "convergent" for layers that provably converge when they are repeated.

    Raises:
        InvalidArgument: an argument is outside what is allowed above.
    """

    def __init__(
        self,
        A: Tensor,
        depth: int,
        alpha: float | None = None,
        B: Tensor | None = None,
        f: Function | None = None,
        g: Function | None = None,
        beta: float = 1.0,
        initialization: str = "ladmm",
        activation: str = "proximal",
        restored: str = "AZ",
        weights: str = "free",
    ) -> None:
        super().__init__()
        if depth < 1:
            raise InvalidArgument(f"depth is {depth}; allowed: 1 or more")
        if not beta > 0:
            raise InvalidArgument(f"beta is {beta}; allowed: > 0")
        _check_choice("initialization", initialization, INITIALIZATIONS)
        _check_choice("activation", activation, ACTIVATIONS)
        _check_choice("restored", restored, RESTORED)
        _check_choice("weights", weights, WEIGHTS)
        self.problem = Problem(A, alpha, B, f, g)
        self.activation = activation
        self.restored = restored
        self.weights = weights
        W1, step1 = INITIALIZATIONS[initialization](self.problem, beta)
        layer = WEIGHTS[weights]
        self.layers = nn.ModuleList(layer(self.problem, W1, step1, beta, ACTIVATIONS[activation]) for _ in range(depth))

    def free(self) -> "DLADMM":
        """A copy with free weights, which have the values that they have here exactly: see models.convergence."""
        network = deepcopy(self)
        network.weights = "free"
        network.layers = nn.ModuleList(layer.free(self.problem) for layer in network.layers)
        return network

    def forward(self, X: Tensor, mask: Tensor | None = None) -> list[State]:
        """X (N, m) -> K states, one per layer, with .Z (N, n), .E (N, q), .multiplier (N, m).

        Args:
            mask: of the known pixels, (N, m): 1 where X is good, 0 where it is corrupted. None: nobody knows.
        """
        return list(self.iterate(X, self.problem.masked(mask)))

    def restore(self, state: State) -> Tensor:
        """The restored data (N, m) in a state."""
        return RESTORED[self.restored](state)

    def iterate(self, X: Tensor, problem: Problem | None = None, layers: int | None = None) -> Iterator[State]:
        """Yields the states of `forward` one by one, so that not all of them have to be kept.

        Args:
            problem: what `problem.masked` gives for the batch X; None stands for the network's problem.
            layers: how many layers; None stands for K. Beyond K the last layer is repeated.
        """
        problem = self.problem if problem is None else problem
        state = problem.zero_state(X)
        for number in range(len(self.layers) if layers is None else layers):
            state = self.layer(number)(problem, X, state)
            yield state

    def layer(self, number: int) -> Layer:
        """The layer of that number, from 0; the last one for any number beyond."""
        return self.layers[min(number, len(self.layers) - 1)]


def _check_choice(argument: str, name: str, table: dict) -> None:
    if name not in table:
        raise InvalidArgument(f"{argument} is {name!r}; allowed: {', '.join(table)}")
