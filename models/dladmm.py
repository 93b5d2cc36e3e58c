"""Differentiable linearized ADMM: the network, K layers with weights of their own."""

import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from operator import attrgetter
from typing import Self

from torch import Tensor, nn

from models.activations import ACTIVATIONS
from models.convergence import ConvergentLayer
from models.errors import InvalidArgument
from models.functions import Function
from models.layer import INITIALIZATIONS, Layer
from models.losses import pick_loss
from models.problem import Problem, State
from models.samples import Drawn, Rows, Samples
from models.training import LayerLosses, Training

# Which part of the state is returned as the restored data (N, m). The objective takes E := X − A Z, so the last layer's
# E step gets no gradient from it: A Z is returned. Losses on E train it: X − B E leaves values with E = 0 as they are.
RESTORED = {"AZ": attrgetter("AZ"), "X-BE": attrgetter("uncorrupted")}

# How the weights of a layer depend on each other.
WEIGHTS: dict[str, type[nn.Module]] = {"free": Layer, "convergent": ConvergentLayer}


class DLADMM(nn.Module):
    """K layers, each with weights of its own (Xie et al. 2019): X -> the state after every layer.

    Args:
        A, alpha, B, f, g: see models.problem.Problem. By default B = I, g = ‖·‖₁, and alpha stands for f = alpha‖·‖₁.
        depth: number of layers K >= 1.
        beta: initial penalty β > 0 of every layer.
        initialization: a name in `INITIALIZATIONS`. With "ladmm" the untrained network is K iterations of LADMM.
        activation, restored: names in `ACTIVATIONS` and `RESTORED`.
        weights: a name in `WEIGHTS`: "free", or "convergent" for layers that provably converge when they are repeated.
    """

    def __init__(
        self, A: Tensor, depth: int, alpha: float | None = None, B: Tensor | None = None,
        f: Function | None = None, g: Function | None = None, beta: float = 1.0, initialization: str = "ladmm",
        activation: str = "proximal", restored: str = "AZ", weights: str = "free",
    ) -> None:  # fmt: skip
        super().__init__()
        if depth < 1:
            raise InvalidArgument(f"depth is {depth}; allowed: 1 or more")
        if not beta > 0:
            raise InvalidArgument(f"beta is {beta}; allowed: > 0")
        chosen = {"initialization": (initialization, INITIALIZATIONS), "activation": (activation, ACTIVATIONS)}
        chosen |= {"restored": (restored, RESTORED), "weights": (weights, WEIGHTS)}
        for argument, (name, allowed) in chosen.items():
            if name not in allowed:
                raise InvalidArgument(f"{argument} is {name!r}; allowed: {', '.join(allowed)}")
        self.problem = Problem(A, alpha, B, f, g)
        self.activation, self.restored, self.weights = activation, restored, weights
        initial = INITIALIZATIONS[initialization](self.problem, beta)
        parts = self.problem, *initial, beta, ACTIVATIONS[activation]
        self.layers = nn.ModuleList(WEIGHTS[weights](*parts) for _ in range(depth))

    def free(self) -> "DLADMM":
        """A copy with free weights, which have the values that they have here exactly: see models.convergence."""
        network = deepcopy(self)
        if network.weights == "convergent":
            network.weights = "free"
            network.layers = nn.ModuleList(layer.free(self.problem) for layer in network.layers)
        return network

    def forward(self, X: Tensor, mask: Tensor | None = None) -> list[State]:
        """X and the mask of its known values, see Problem.known, (N, m) -> the states after the K layers, see State."""
        return list(self.iterate(X, mask))

    def restore(self, state: State) -> Tensor:
        """The restored data (N, m) in a state."""
        return RESTORED[self.restored](state)

    def iterate(self, X: Tensor, mask: Tensor | None = None, layers: int | None = None) -> Iterator[State]:
        """Yields the states of `forward` one by one, so that not all of them have to be kept.

        They are those of so many layers, or of K. Beyond K the last layer is repeated.
        """
        mask = self.problem.known(mask)
        state = self.problem.zero_state(X, mask)
        for number in range(len(self.layers) if layers is None else layers):
            state = self.layer(number)(self.problem, X, state, mask)
            yield state

    def fit(
        self, X: Tensor | Callable[[int], Tensor | Samples], loss: str = "objective", epochs: int = 30,
        samples_per_epoch: int = 10_000, batch_size: int = 100, learning_rate: float = 0.05,
        layer_discount: float = 0.5, seed: int = 0, progress: bool = False,
    ) -> Self:  # fmt: skip
        """Trains the network in place, and returns it; by default on the objective, without clean data (Xie et al.).

        Args:
            X: rows (N, m), in an order that `seed` begins, new in every epoch; or a function: a number -> so many rows.
            loss: a name in models.losses.LOSSES, of a loss that compares with nothing.
            samples_per_epoch: rows in an epoch; if there are fewer, some come more than once.
            progress: whether a line on standard error says how far it is.
            epochs, batch_size, learning_rate, layer_discount: see models.training.Training.

        A loss that needs targets or does not fit the problem raises InvalidArgument, and a learning rate that is too
        high for the problem NotFiniteError.
        """
        source = Rows(X, seed) if isinstance(X, Tensor) else Drawn(X)
        losses = LayerLosses(self, pick_loss(loss, "unsupervised", (), self.problem, masked=False))
        rates = batch_size, learning_rate, layer_discount
        for epoch in Training(self, source, losses, epochs, samples_per_epoch, *rates):
            if progress:
                end = "\n" if epoch.number == epochs else ""
                print(f"\repoch {epoch.number} of {epochs}: loss {epoch.loss:.4g}", end=end, file=sys.stderr)
        return self

    def layer(self, number: int) -> Layer:
        """The layer of that number, from 0; the last one for any number beyond."""
        return self.layers[min(number, len(self.layers) - 1)]
