"""What a training step needs: losses of the layers, Adam with a rate for every tensor, schedule, check of the numbers.

The loop over epochs and batches is `train` in main_lena.py.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from models import DLADMM, Problem, State
from models.layer import Layer
from models.losses import Loss
from utils.running.devices import FEW_PASSES, compile_layers
from utils.running.errors import NotFiniteError
from utils.running.processes import share_gradients, summed
from utils.training.samples import Batch


def advance(
    layer: Layer, loss: Loss, problem: Problem, X: Tensor, state: State, targets: tuple[Tensor, ...]
) -> tuple[State, Tensor]:
    """The state after a layer, and the sum of its loss over the rows of X: the part of a step that is compiled."""
    state = layer(problem, X, state)
    return layer.handed_on(state), loss.value(problem, state, X, *targets).sum()


class LayerLosses(nn.Module):
    """The network with its training loss: a batch -> the loss of every layer, summed over the batch, (K,).

    Args:
        network: the network.
        loss: one of models.losses.
        compiled: whether `advance` is compiled, for free weights. Training is then about twice as fast from its second
            step on. The layers are compiled as well, as the network restores an image again and again while it learns.
    """

    def __init__(self, network: DLADMM, loss: Loss, compiled: bool = False) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.advance = advance
        # The compiler would begin anew for every layer with tied weights.
        if compiled and all(isinstance(layer, Layer) for layer in network.layers):
            self.advance = torch.compile(advance, options=FEW_PASSES)
            compile_layers(network)

    def forward(self, batch: Batch) -> Tensor:
        """A batch -> (K,)."""
        problem = self.network.problem.masked(batch.mask)
        state, losses = problem.zero_state(batch.X), []
        for layer in self.network.layers:
            state, value = self.advance(layer, self.loss, problem, batch.X, state, batch.targets)
            losses.append(value)
        return torch.stack(losses)


def layer_losses(network: DLADMM, loss: Loss, compiled: bool = False) -> nn.Module:
    """`LayerLosses`, whose gradients are means over the processes if there are several."""
    return share_gradients(LayerLosses(network, loss, compiled))


def layer_weights(network: DLADMM, discount: float) -> Tensor:
    """Weights of the layers' losses, (K,), sum 1: each layer counts `discount` times as much as the one after it.

    Args:
        network: gives K.
        discount: 0 (the last layer alone) to 1 (all layers alike).
    """
    depth = len(network.layers)
    weights = [discount ** (depth - layer) for layer in range(1, depth + 1)]
    return torch.tensor([weight / sum(weights) for weight in weights]).to(network.problem.A)


def adam(network: nn.Module, learning_rate: float) -> Adam:
    """Adam, whose rate for a tensor is `learning_rate` times the tensor's size: its root mean square at the start.

    W1, β, W2 and the thresholds differ in size by four orders of magnitude, and a step of Adam changes every entry by
    about the rate. One rate for all would destroy the small tensors or not change the large ones. A tensor that starts
    at zero has no size of its own, and gets the median one.
    """
    sizes = {parameter: parameter.detach().square().mean().sqrt().item() for parameter in network.parameters()}
    median = statistics.median([size for size in sizes.values() if size > 0] or [1.0])
    groups = defaultdict(list)
    for parameter, size in sizes.items():
        groups[size or median].append(parameter)
    rates = [{"params": parameters, "lr": learning_rate * size} for size, parameters in groups.items()]
    return Adam(rates, betas=(0.9, 0.99), eps=1e-10, fused=True)


class Descent:
    """Adam over a training: its learning rates rise in a line and fall like a cosine, see `adam` and `rate_at`.

    Args:
        network: to be trained.
        learning_rate: at its peak, relative to the size of each tensor.
        steps: of the whole training.
    """

    def __init__(self, network: nn.Module, learning_rate: float, steps: int) -> None:
        self.optimizer = adam(network, learning_rate)
        self.schedule = one_cycle(self.optimizer, steps)

    def step(self, loss: Tensor) -> None:
        """The loss goes backward through all layers, Adam changes their weights, and its rates move on."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()

    def state_dict(self) -> dict:
        """What the next steps depend on."""
        return {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from there."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def fit(
    network: DLADMM,
    loss: Loss,
    batches: Iterable[Batch],
    steps: int,
    learning_rate: float,
    discount: float,
    compiled: bool = False,
) -> None:
    """Trains the network in place for so many steps, a batch each: `train` in main_lena.py, with nothing beside it.

    Args:
        network: to be trained.
        loss: of every layer.
        batches: one for every step.
        steps: how many.
        learning_rate: see `adam`.
        discount: see `layer_weights`.
        compiled: see `LayerLosses`.
    """
    losses_of, weights = layer_losses(network, loss, compiled), layer_weights(network, discount)
    descent = Descent(network, learning_rate, steps)
    for batch in batches:
        descent.step(weights @ losses_of(batch) / batch.size)


def one_cycle(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Changes the learning rates over `steps` steps by `rate_at`."""
    return LambdaLR(optimizer, lambda step: rate_at((step + 1) / (steps + 1)))


def rate_at(done: float, warm_up: float = 0.1) -> float:
    """Learning rate relative to its peak when the share `done` of a training is over: a line up, a cosine down."""
    return done / warm_up if done < warm_up else 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


class EpochMonitor:
    """Follows the losses and gradients of an epoch. They stay on their device until the epoch is over.

    Args:
        network: in training.
        epoch: its number, from 1, for the message.
    """

    def __init__(self, network: DLADMM, epoch: int) -> None:
        self.network = network
        self.epoch = epoch
        self.losses, self.gradients = [], []

    def after_step(self, losses: Tensor) -> None:
        """Notes the losses (K,) of a batch, and the norms of the gradients of every layer."""
        gradients = [[p.grad for p in layer.parameters() if p.grad is not None] for layer in self.network.layers]
        self.losses.append(losses.detach())
        self.gradients.append(torch.stack([nn.utils.get_total_norm(tensors) for tensors in gradients]))

    def mean_loss(self, patches: int) -> float:
        """The loss of the last layer, mean over the patches of the epoch.

        Raises:
            NotFiniteError: a loss or a gradient is not finite. It says in which epoch, batch and layer that came up
                first.
        """
        losses, gradients = summed(torch.stack(self.losses)), torch.stack(self.gradients)
        if not (torch.isfinite(losses).all() and torch.isfinite(gradients).all()):
            raise NotFiniteError(self._first_fault(losses, gradients))
        return losses[:, -1].sum().item() / patches

    def _first_fault(self, losses: Tensor, gradients: Tensor) -> str:
        """In the order of computation: layers first to last for losses, then last to first for gradients."""
        layers = range(1, losses.shape[1] + 1)
        for number, (of_loss, of_gradient) in enumerate(zip(losses, gradients, strict=True), start=1):
            for what, values, order in (("loss", of_loss, layers), ("gradient", of_gradient, reversed(layers))):
                for layer in order:
                    if not torch.isfinite(values[layer - 1]):
                        where = f"batch {number} of epoch {self.epoch}, d = {len(layers)}"
                        fault = f"the {what} of layer {layer} is {values[layer - 1]:g} in {where}"
                        return f"{fault}; the epochs before it are kept"
        raise AssertionError("all losses and gradients are finite")
