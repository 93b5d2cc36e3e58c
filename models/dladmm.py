"""Differentiable linearized ADMM: the network, K layers with weights of their own."""

import sys
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from operator import attrgetter
from typing import Self

from torch import Tensor, nn

import models.fitting as fitting
from models.activations import ACTIVATIONS
from models.convergence import ConvergentLayer
from models.errors import InvalidArgument, check_count, check_positive
from models.functions import Function
from models.layer import INITIALIZATIONS, Layer, ScalarLayer
from models.losses import LOSSES, Loss
from models.operators import Array, Matrix
from models.problem import Problem, State
from models.samples import Samples
from models.training import LayerLosses, Training, adam, check_schedule

# Which part of the state is returned as the restored data (N, m). The objective takes E := X − A Z, so the last layer's
# E step gets no gradient from it: A Z is returned. Losses on E train it: X − B E leaves values with E = 0 as they are.
RESTORED = {"AZ": attrgetter("AZ"), "X-BE": attrgetter("uncorrupted")}


# What the weights of layers are. Numbers to learn with a matrix (m, n): some m n a layer, tied all together, as that is
# one layer for all; convergent m + n, scalar 13.
WEIGHTS = {"free": Layer, "tied": Layer, "scalar": ScalarLayer, "convergent": ConvergentLayer}


class DLADMM(nn.Module):
    """K layers, each with weights of its own (Xie et al. 2019): X -> the state after every layer.

    Args:
        A, alpha, B, f, g: see models.problem.Problem. By default B = I, g = ‖·‖₁, and alpha stands for f = alpha‖·‖₁.
        depth: number of layers K >= 1.
        beta: initial penalty β > 0 of every layer. None: `fit` finds it in the data, and before that it is 1.
        initialization: a name in `INITIALIZATIONS`. With "ladmm" the untrained network is K iterations of LADMM.
        activation: a name in `ACTIVATIONS`. None: piecewise linear, or proximal where that does not fit.
        restored: a name in `RESTORED`.
        weights: a name in `WEIGHTS`: "free"; "tied", one layer for all, or "scalar", W1 a multiple of A, for few data;
            "convergent" for layers that provably converge when they are repeated.
        learned_A: whether A, which all layers share, is learned with the weights.
    """

    def __init__(
        self, A: Array | Matrix, depth: int, alpha: float | None = None, B: Array | None = None,
        f: Function | None = None, g: Function | None = None, beta: float | None = None, initialization: str = "ladmm",
        activation: str | None = None, restored: str = "AZ", weights: str = "free", learned_A: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        check_count("depth", depth)
        check_positive("beta", 1.0 if beta is None else beta)
        self.problem = Problem(A, alpha, B, f, g, learned_A)
        if activation is None:
            steps = weights != "convergent" and self.problem.f.has_step and self.problem.g.has_step
            activation = "piecewise_linear" if steps else "proximal"
        chosen = {"initialization": (initialization, INITIALIZATIONS), "activation": (activation, ACTIVATIONS)}
        chosen |= {"restored": (restored, RESTORED), "weights": (weights, WEIGHTS)}
        for argument, (name, allowed) in chosen.items():
            if name not in allowed:
                raise InvalidArgument(f"{argument} is {name!r}; allowed: {', '.join(allowed)}")
        self.depth, self.beta, self.initialization = depth, beta, initialization
        self.activation, self.restored, self.weights = activation, restored, weights
        self.layers = self._layers(1.0 if beta is None else beta)
        self.fitted: fitting.Fit | None = None  # what the last `fit` has won

    def _layers(self, beta: float) -> nn.ModuleList:
        """Untrained layers."""
        initial = INITIALIZATIONS[self.initialization](self.problem, beta)
        layer = partial(WEIGHTS[self.weights], self.problem, *initial, beta, ACTIVATIONS[self.activation])
        if self.weights == "tied":
            return nn.ModuleList([layer()] * self.depth)
        return nn.ModuleList(layer() for _ in range(self.depth))

    def begin(self, samples: Samples, loss: Loss = LOSSES["objective"]) -> None:
        """Begins with the β whose untrained network has the lowest loss, so that nothing depends on units.

        A β that was given or found, and weights that were set, stay.
        """

        def loss_with(beta: float) -> float:
            self.layers.load_state_dict(self._layers(beta).state_dict())
            return self.losses(samples, loss).mean().item()

        if self.beta is not None:
            return
        fresh, weights = self._layers(1.0).state_dict(), self.layers.state_dict()
        if all(weights[name].allclose(value, 1e-4, 0) for name, value in fresh.items()):
            _, self.beta = fitting.best_penalty(loss_with, fitting.unit_of_beta(self.problem, samples.X))
            loss_with(self.beta)

    def losses(self, samples: Samples, loss: Loss) -> Tensor:
        """The losses of the last layer, (N,)."""
        return fitting.losses_after(self.problem, loss, self.iterate(samples.X, samples.mask), self.depth, samples)

    def free(self) -> "DLADMM":
        """A copy with free weights, which have the values that they have here exactly: see models.convergence."""
        network, network.weights = deepcopy(self), "free"
        layers = (deepcopy(layer) if isinstance(layer, Layer) else layer.free(self.problem) for layer in self.layers)
        network.layers = nn.ModuleList(layers)
        return network

    def forward(self, X: Array, mask: Tensor | None = None, state: State | None = None) -> list[State]:
        """X and the mask of its known values, see Problem.known, (N, m) -> the states after the K layers, see State.

        The network begins with the given state, or from zero.
        """
        return list(self.iterate(X, mask, state=state))

    def restore(self, state: State) -> Tensor:
        """The restored data (N, m) in a state."""
        return RESTORED[self.restored](state)

    def iterate(
        self, X: Array, mask: Tensor | None = None, layers: int | None = None, state: State | None = None
    ) -> Iterator[State]:
        """Yields the states of `forward` one by one, so that not all of them have to be kept.

        They are those of so many layers, or of K. Beyond K the last layer is repeated.
        """
        X, mask = self.problem.data(X), self.problem.known(mask)
        state = self.problem.zero_state(X, mask) if state is None else state
        for number in range(len(self.layers) if layers is None else layers):
            state = self.layer(number)(self.problem, X, state, mask)
            yield state

    def fit(
        self, X: fitting.Given, loss: str | Callable[..., Tensor] = "objective", epochs: int = 30,
        samples_per_epoch: int = 10_000, batch_size: int = 100, learning_rate: float = 0.05,
        layer_discount: float = 0.5, seed: int = 0, progress: bool = False, validation: fitting.Given | None = None,
    ) -> Self:  # fmt: skip
        """Trains the network in place, and returns it; by default on the objective, without clean data (Xie et al.).

        What was won is in `fitted` then, see models.fitting.Fit. A warning says if that is nothing.

        Args:
            X: rows (N, m), or a tuple of rows and the targets that the loss compares with, in an order that `seed`
                begins, new in every epoch; or a function: a number -> so many of these; or a DataLoader or another
                iterable of batches of these, which begins again when it ends. Tensors or NumPy arrays.
            loss: a name in models.losses.LOSSES, or a function as they are there: see models.losses.Loss.
            samples_per_epoch: rows in an epoch; if there are fewer, some come more than once.
            progress: whether a line on standard error says how far it is.
            validation: samples to set aside; None: a tenth of the rows, at most 1,000, or the first that X gives.
            epochs, batch_size, learning_rate, layer_discount: see models.training.Training.

        What cannot be learned from raises InvalidArgument, and a learning rate that is too high TrainingError.
        """
        schedule = epochs, samples_per_epoch, batch_size, learning_rate, layer_discount
        check_schedule(*schedule)
        source, set_aside = fitting.source_of(self.problem, X, seed, validation)
        sample = source.draw(fitting.SAMPLE)
        chosen = fitting.loss_for(self.problem, loss, sample)
        self.begin(sample, chosen)
        before = [self.losses(samples, chosen) for samples in (set_aside, sample)]
        at_start = before[1].mean().item()
        history = [{"epoch": 0, "training": at_start, "set_aside": before[0].mean().item()}]
        optimizer = adam(self, learning_rate, unit=abs(at_start) or 1.0)
        for epoch in Training(self, source, LayerLosses(self, chosen), *schedule, optimizer=optimizer):
            aside = self.losses(set_aside, chosen)
            history.append({"epoch": epoch.number, "training": epoch.loss, "set_aside": aside.mean().item()})
            if progress:
                end = "\n" if epoch.number == epochs else ""
                print(f"\repoch {epoch.number} of {epochs}: loss {epoch.loss:.4g}", end=end, file=sys.stderr)
        by_heart = fitting.learned_by_heart((before[0], aside), (before[1], self.losses(sample, chosen)))
        solvers = fitting.solved(self.problem, chosen, self.depth, set_aside)
        self.fitted = fitting.Fit(self.depth, self.beta, history, solvers, by_heart)
        if self.fitted.warning:
            warnings.warn(self.fitted.warning, stacklevel=2)
        return self

    def layer(self, number: int) -> Layer:
        """The layer of that number, from 0; the last one for any number beyond."""
        return self.layers[min(number, len(self.layers) - 1)]
