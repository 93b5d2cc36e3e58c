"""Training: one optimizer, one schedule, a loss over all layers, and what there is to choose from; in any processes."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from data.corruption import at_random_rates, uncorrupted
from data.images import TRAINING_IMAGES
from data.patches import window
from data.positions import POSITIONS
from models import DLADMM, Problem, State
from models.dladmm import Layer
from models.losses import LOSSES, SUPERVISED_LOSSES, Loss, check_loss, weighted_error_norm
from utils.processes import process_count, process_number, shared, summed
from utils.samples import Corrupt, DrawSamples, NoisyAndCleanPatches, NoisyPatches, Samples
from utils.tables import Knowledge


def central_error(problem: Problem, state: State, X: Tensor, clean: Tensor) -> Tensor:
    """The norm of a patch's error, in which pixels count as they do where patches overlap: see data.patches.window.

    Where many errors cannot be told from texture, it gives more weight to the patches that are worst.
    """
    weights = window(math.isqrt(X.shape[1])).to(X)
    return weighted_error_norm(problem, state, X, clean, torch.outer(weights, weights).flatten())


class Training(NamedTuple):
    """Where training patches come from, what the network gets to know by that, the losses that fit, best first, and
    what of a state they train as the restored data, a name in models.dladmm.RESTORED."""

    source: type[NoisyPatches | NoisyAndCleanPatches]
    knows: Knowledge
    losses: dict[str, Loss]
    restored: str


TRAININGS = {
    "unsupervised": Training(NoisyPatches, Knowledge(training_data="the noisy image"), LOSSES, "AZ"),
    "supervised": Training(
        NoisyAndCleanPatches,
        Knowledge(training_data="other images", clean_targets="of other images"),
        SUPERVISED_LOSSES | {"central_error": central_error},
        "X-BE",
    ),
}


def check_training(training: Training, image: str, positions: str) -> None:
    """Refuses a supervised training that would see the image to restore, or has no positions for its own images.

    Raises:
        ValueError: see above.
    """
    if training is not TRAININGS["supervised"]:
        return
    if image in TRAINING_IMAGES:
        raise ValueError(f"image is {image}, which supervised training learns from; allowed: any other image")
    if positions not in POSITIONS:
        raise ValueError(f"positions are a mask, for supervised training; allowed: {', '.join(POSITIONS)}")


def training_corruption(
    training: Training, corruption: Callable[..., np.ndarray], rate: float, rates: Sequence[float]
) -> Corrupt:
    """What corrupts the clean images of a supervised training: the corruption at a rate, or at rates in between two.

    Args:
        training: one of `TRAININGS`.
        corruption: one of data.corruption.
        rate: noise rate.
        rates: the lowest and the highest in its place, drawn for every image, see data.corruption; or none.

    Raises:
        ValueError: there is nothing to learn from, or `rates` are not as above.
    """
    supervised = training is TRAININGS["supervised"]
    if supervised and corruption is uncorrupted:
        raise ValueError("corruption is none, for supervised training; allowed: a corruption to learn from")
    if not rates:
        return partial(corruption, rate=rate)
    if not supervised or len(rates) != 2 or rates[0] > rates[1]:
        given = " ".join(map(str, rates))
        raise ValueError(f"training_rates are {given}; allowed: the lowest and the highest, for supervised training")
    return at_random_rates(corruption, *rates)


LOSS_NAMES = ("auto", *(name for training in TRAININGS.values() for name in training.losses))


def pick_loss(name: str, training: Training, problem: Problem) -> Loss:
    """The loss of that name; "auto" is the first that fits the training.

    Raises:
        ValueError: the loss does not fit the training or the problem.
    """
    if name == "auto":
        name = next(iter(training.losses))
    if name not in training.losses:
        raise ValueError(f"loss is {name}; allowed for this training: {', '.join(training.losses)}")
    check_loss(name, problem)
    return training.losses[name]


def layer_weights(depth: int, discount: float) -> list[float]:
    """Weights of the layers' losses, summing to 1: each layer counts `discount` times as much as the one after it."""
    weights = [discount ** (depth - layer) for layer in range(1, depth + 1)]
    return [weight / sum(weights) for weight in weights]


def relative_rates(network: nn.Module, learning_rate: float) -> list[dict]:
    """Adam's parameter groups: the rate of a tensor is `learning_rate` times its root mean square at the start.

    W1, β, W2 and the thresholds differ in size by four orders of magnitude, and a step of Adam moves every entry by
    about the rate: one rate for all would tear up the small ones or leave the large ones where they are.
    """
    groups = defaultdict(list)
    for parameter in network.parameters():
        groups[parameter.detach().square().mean().sqrt().item()].append(parameter)
    return [{"params": parameters, "lr": learning_rate * size} for size, parameters in groups.items()]


def one_cycle(done: float, warm_up: float = 0.1) -> float:
    """Learning rate as a fraction of its peak, with the fraction `done` of training over: a line up, a cosine down."""
    return done / warm_up if done < warm_up else 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def advance(
    layer: Layer, loss: Loss, problem: Problem, X: Tensor, state: State, targets: tuple[Tensor, ...]
) -> tuple[State, Tensor]:
    """A layer's state and the sum of its loss over the rows of X: the step of training that is worth compiling."""
    state = layer(problem, X, state)
    return state, loss(problem, state, X, *targets).sum()


class LayerLosses(nn.Module):
    """The network with its training loss: samples -> the loss of every layer, summed over the samples, (K,).

    Args:
        network: the network.
        loss: one of models.losses.
        compiled: whether `advance` is compiled, which makes training about twice as fast from its second step on.
    """

    def __init__(self, network: DLADMM, loss: Loss, compiled: bool) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.advance = torch.compile(advance) if compiled else advance

    def forward(self, X: Tensor, weights: Tensor | None, targets: tuple[Tensor, ...]) -> Tensor:
        """Samples, as in `Samples` -> (K,)."""
        problem = self.network.problem.weighted(weights)
        state, losses = problem.zero_state(X), []
        for layer in self.network.layers:
            state, value = self.advance(layer, self.loss, problem, X, state, targets)
            losses.append(value)
        return torch.stack(losses)


class Trainer:
    """Trains a network in place with Adam and a one-cycle rate; iterating yields each epoch's mean loss at the last
    layer, from the epoch after the last one that is finished.

    Where several processes train together, each draws the same samples, takes its share of every batch, and has the
    same network after every step: see utils.processes.

    Args:
        network: the network.
        draw_samples: gives an epoch's samples, with targets if the loss takes any.
        loss: one of models.losses; its mean over a batch is weighted over the layers by `layer_weights`.
        epochs: how many times patches are drawn.
        patches_per_epoch: how many each time.
        batch_size: patches in a step, of all processes together.
        learning_rate: the peak, relative to the size of each tensor: see `relative_rates`.
        layer_discount: 0 (the last layer alone) to 1 (all layers alike).
        compiled: whether layers are compiled: see utils.device.

    Raises:
        FloatingPointError: when iterating, if a loss or a gradient is not finite; it says in which epoch, batch and
            layer that came up first.
    """

    def __init__(
        self,
        network: DLADMM,
        draw_samples: DrawSamples,
        loss: Loss,
        epochs: int,
        patches_per_epoch: int,
        batch_size: int,
        learning_rate: float,
        layer_discount: float,
        compiled: bool = False,
    ) -> None:
        self.network = network
        self.draw_samples = draw_samples
        self.epochs = epochs
        self.patches_per_epoch = patches_per_epoch
        self.batch_size = batch_size
        self.finished = 0  # epochs
        self.weights = torch.tensor(layer_weights(len(network.layers), layer_discount)).to(network.problem.A)
        rates = relative_rates(network, learning_rate)
        self.optimizer = torch.optim.Adam(rates, betas=(0.9, 0.99), eps=1e-10, fused=True)
        steps = epochs * math.ceil(patches_per_epoch / batch_size)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: one_cycle((step + 1) / (steps + 1))
        )
        self.model = shared(LayerLosses(network, loss, compiled))

    def __iter__(self) -> Iterator[float]:
        """Trains for an epoch with every step."""
        while self.finished < self.epochs:
            samples = self.draw_samples(self.patches_per_epoch)
            # Losses and gradients of all batches stay on the device until the epoch is over.
            losses, gradients = map(torch.stack, zip(*map(self._step, samples.batches(self.batch_size)), strict=True))
            losses = summed(losses)
            self._check(losses, gradients)
            self.finished += 1
            yield losses[:, -1].sum().item() / self.patches_per_epoch

    def state_dict(self) -> dict:
        """Everything that the next epochs depend on but the samples."""
        return {
            "finished": self.finished,
            "network": self.network.layers.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on from there, bit for bit."""
        self.finished = state["finished"]
        self.network.layers.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def _step(self, batch: Samples) -> tuple[Tensor, Tensor]:
        """One step: the sums of this process's losses and the norms of the gradients, of every layer, (K,) each."""
        losses = self.model(*batch.part(slice(process_number(), None, process_count())))
        self.optimizer.zero_grad()
        # Gradients are means over the processes, and this is the mean over the batch.
        (losses.dot(self.weights) * (process_count() / len(batch.X))).backward()
        gradients = [[p.grad for p in layer.parameters() if p.grad is not None] for layer in self.network.layers]
        norms = torch.stack([nn.utils.get_total_norm(each) for each in gradients])
        self.optimizer.step()
        self.schedule.step()
        return losses.detach(), norms

    def _check(self, losses: Tensor, gradients: Tensor) -> None:
        """Raises FloatingPointError if an epoch's losses or gradients (batches, K) are not finite.

        Forward, the first layer comes first, and so does the loss before the gradient; backward, the last layer.
        """
        if torch.isfinite(losses).all() and torch.isfinite(gradients).all():
            return
        for number, (of_loss, of_gradient) in enumerate(zip(losses, gradients, strict=True), start=1):
            layers = range(1, len(of_loss) + 1)
            for what, values, order in (("loss", of_loss, layers), ("gradient", of_gradient, reversed(layers))):
                for layer in order:
                    if not torch.isfinite(values[layer - 1]):
                        raise FloatingPointError(
                            f"the {what} of layer {layer} is {values[layer - 1]:g} in batch {number} of epoch "
                            f"{self.finished + 1}, d = {len(layers)}"
                        )
