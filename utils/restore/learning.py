"""Learning on one noisy image: a network goes on from its weights, or starts, with that image alone."""

from collections.abc import Iterator
from copy import deepcopy

import torch

from data.dictionary import load_dictionary
from models import DLADMM
from models.losses import LOSSES
from models.samples import Samples, Source
from models.training import Epoch, LayerLosses, Training
from utils.evaluation.observation import Observation
from utils.evaluation.restoration import restored_image
from utils.running.devices import pick_compiled, pick_precision
from utils.sources.clean import NoisyAndCleanPatches
from utils.sources.recorrupted import RecorruptedPatches

PATCHES_PER_EPOCH, BATCH_SIZE = 10_000, 200
EPOCHS = 10  # about half a minute on two cores


# Loss and peak learning rate, relative to the size of each tensor; chosen on the validation images. What a trained
# network restores says which pixels can be trusted; before that, only a median is safe.
TRAINED, UNTRAINED = ("central_error", 0.02), ("absolute_error", 0.08)


def untrained_network() -> DLADMM:
    """A network of 15 layers with the shipped dictionary, of the kind that learns fastest: see results/ablations.md."""
    choices = {"beta": 8.0, "initialization": "pseudo_inverse", "activation": "piecewise_linear"}
    return DLADMM(load_dictionary(), 15, 0.7, **choices)


class InTurns(Source):
    """Samples that come from two sources in turns."""

    def __init__(self, one: Source, other: Source) -> None:
        self.sources = one, other

    def draw(self, count: int) -> Samples:
        """See Source."""
        one, other = (source.draw(count // 2) for source in self.sources)
        pairs = zip((one.X, *one.targets), (other.X, *other.targets), strict=True)
        X, *targets = (torch.stack(pair, dim=1).flatten(0, 1) for pair in pairs)
        return Samples(X, targets=tuple(targets))


class Learning:
    """Learning on a noisy image by corrupting it once more; see RecorruptedPatches.

    Patches are drawn from everywhere in the image, and as many from a large one as from a small one. A trained network
    restores the image before it learns, an untrained one after half of the epochs; the restored image then says more of
    the noise. Where positions are unknown, a trained network takes every other patch from other images, clean ones with
    the same noise added, so that it does not unlearn what it knows.

    Args:
        network: a copy of it learns: `self.network`, which then restores X − B E.
        observation: the noisy image.
        noise: the kind of noise, a name in data.damage.DAMAGES.
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
        noise: str,
        seed: int,
        epochs: int = EPOCHS,
        trained: bool = True,
    ) -> None:
        pixels, patch = observation.pixels, observation.grid.patch
        self.samples = source = RecorruptedPatches(pixels, patch, noise, seed, observation.mask)
        if trained and observation.mask is None:
            clean_images = NoisyAndCleanPatches(patch, noise, source.noise_rate, seed, device=pixels.device)
            source = InTurns(source, clean_images)
        self.network = deepcopy(network)
        self.network.restored = self.samples.restored
        self.observation = observation
        self.looks = {0, epochs // 2} if trained else {epochs // 2}  # after so many epochs it restores the image
        loss, learning_rate = TRAINED if trained else UNTRAINED
        compiled = pick_compiled("auto", len(network.layers) * epochs * PATCHES_PER_EPOCH, pixels.device)
        losses = LayerLosses(self.network, LOSSES[loss], compiled)
        self.training = Training(
            self.network, source, losses, epochs, PATCHES_PER_EPOCH, BATCH_SIZE, learning_rate,
            precision=pick_precision("auto", pixels.device),
        )  # fmt: skip

    def __iter__(self) -> Iterator[Epoch]:
        """Yields every epoch when it is over.

        Raises:
            NotFiniteError: a loss or a gradient is not finite.
        """
        self._look(0)
        for epoch in self.training:
            self._look(epoch.number)
            yield epoch

    def _look(self, finished: int) -> None:
        """Restores the image if it is time to, and learns from what it shows."""
        if finished in self.looks and self.samples.learns_from_restored:
            seen = self.observation
            self.samples.learn_from(restored_image(self.network, seen.grid, seen.pixels, seen.mask, seen.replace))
