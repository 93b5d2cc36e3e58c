"""Learning on one noisy image: a network goes on from its weights, or starts, with that image alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from data.dictionary import load_dictionary
from models import DLADMM
from models.losses import LOSSES
from utils.evaluation.observation import Observation
from utils.evaluation.restoration import restored_image
from utils.running.devices import pick_compiled
from utils.training.optimization import Descent, EpochMonitor, layer_losses, layer_weights
from utils.training.recorrupted import RecorruptedPatches
from utils.training.samples import Samples
from utils.training.sources import NoisyAndCleanPatches

PATCHES_PER_EPOCH, BATCH_SIZE, LAYER_DISCOUNT = 10_000, 200, 0.5
EPOCHS = 10  # about half a minute on two cores


class Choices(NamedTuple):
    """How to learn. They were chosen on the validation images."""

    loss: str
    learning_rate: float  # at its peak, relative to the size of each tensor


# What a trained network restores says which pixels can be trusted; before that, only a median is safe.
TRAINED, UNTRAINED = Choices("central_error_where_trusted", 0.02), Choices("error_where_trusted", 0.08)


def untrained_network() -> DLADMM:
    """A network of 15 layers as `python main_lena.py` starts from, with the shipped dictionary."""
    choices = {"beta": 8.0, "initialization": "pseudo_inverse", "activation": "piecewise_linear", "restored": "X-BE"}
    return DLADMM(load_dictionary(), 15, 0.7, **choices)


@dataclass(frozen=True)
class Told:
    """What the sources of patches are told: the kind of noise, its rate, a seed. See SourceSettings."""

    corruption: str
    seed: int
    noise_rate: float = 0.0
    image: str = ""
    positions: str = "unknown"
    training_rates: tuple[float, ...] = ()
    training_images: str = "shipped"


class Learning:
    """A network that learns on a noisy image by corrupting it once more; see RecorruptedPatches.

    Patches are drawn from everywhere in the image, and as many from a large one as from a small one. A network that is
    trained already restores the image first, and an untrained one halfway: both then learn from what it shows. Where
    positions are unknown, every other patch of a trained network is one of other images, clean and with noise of the
    same kind and rate, so that it does not unlearn what it knows.

    Args:
        network: is trained in place, and then restores X − B E.
        observation: the noisy image.
        kind: of the noise, a name in data.corruption.CORRUPTIONS.
        seed: of the draws.
        epochs: how long.
        trained: whether the network is trained already.

    Raises:
        UserError, InvalidInput: the kind of noise is unknown, or the image has none or too much.
    """

    def __init__(
        self,
        network: DLADMM,
        observation: Observation,
        kind: str,
        seed: int,
        epochs: int = EPOCHS,
        trained: bool = True,
    ) -> None:
        told = Told(kind, seed)
        self.samples = RecorruptedPatches(observation, told)
        self.others = None
        if trained and observation.mask is None:
            self.others = NoisyAndCleanPatches(observation, replace(told, noise_rate=self.samples.noise_rate))
        self.network = network
        self.observation = observation
        self.epochs = epochs
        self.choices = TRAINED if trained else UNTRAINED
        self.looks = {0, epochs // 2} if trained else {epochs // 2}  # after so many epochs it restores the image

    def run(self) -> Iterator[float]:
        """Yields the loss of the last layer after every epoch.

        Raises:
            NotFiniteError: a loss or a gradient is not finite.
        """
        network, samples, device = self.network, self.samples, self.observation.pixels.device
        network.restored = samples.restored
        compiled = pick_compiled("auto", len(network.layers) * self.epochs * PATCHES_PER_EPOCH, device)
        losses_of = layer_losses(network, LOSSES[self.choices.loss], compiled)
        weights = layer_weights(network, LAYER_DISCOUNT)
        descent = Descent(network, self.choices.learning_rate, self.epochs * math.ceil(PATCHES_PER_EPOCH / BATCH_SIZE))
        for epoch in range(self.epochs):
            if epoch in self.looks and samples.learns_from_restored:
                samples.learn_from(self._restored())
            monitor = EpochMonitor(network, epoch + 1)
            for batch in self._draw(PATCHES_PER_EPOCH).batches(BATCH_SIZE):
                losses = losses_of(batch)
                descent.step(weights @ losses / batch.size)
                monitor.after_step(losses)
            yield monitor.mean_loss(PATCHES_PER_EPOCH)

    def _draw(self, count: int) -> Samples:
        """Samples of the image or, in turns, of the image and of others, whose clean values can all be trusted."""
        if self.others is None:
            return self.samples.draw(count)
        X, _, targets = self.samples.draw(count // 2)
        others = self.others.draw(count // 2)
        pairs = zip((X, *targets), (others.X, *others.targets, torch.ones_like(X)), strict=True)
        X, *targets = (torch.stack(pair, dim=1).flatten(0, 1) for pair in pairs)
        return Samples(X, targets=tuple(targets))

    def _restored(self) -> Tensor:
        given = self.observation
        return restored_image(self.network, given.grid, given.pixels, given.mask, given.replace)
