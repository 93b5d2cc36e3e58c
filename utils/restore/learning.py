"""Learning on one noisy image: a shipped network goes on from its weights, with that image alone."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from data.damage import DAMAGES
from data.images import Image
from data.masks import MASKS
from models import DLADMM
from models.losses import LOSSES
from models.samples import Drawn, Samples, Source
from models.training import Epoch, LayerLosses, Training
from utils.evaluation.observation import Observation
from utils.evaluation.restoration import grid_for, restored_image
from utils.restore.remedies import REMEDIES, Networks, by_network, levels_of
from utils.restore.trials import SEED, Way, compared
from utils.running.devices import pick_compiled, pick_precision
from utils.sources.patches import NoisyAndCleanPatches, RecorruptedPatches

PATCHES_PER_EPOCH, BATCH_SIZE = 10_000, 200
EPOCHS = 10  # about half a minute on two cores
# Loss and peak learning rate, relative to the size of each tensor; chosen on the validation images. What a trained
# network restores says which pixels can be trusted.
LOSS, LEARNING_RATE = "central_error", 0.02


def in_turns(one: Source, other: Source, count: int) -> Samples:
    """Samples that come from two sources in turns."""
    drawn = ((samples.X, *samples.targets) for samples in (source.draw(count // 2) for source in (one, other)))
    X, *targets = (torch.stack(pair, dim=1).flatten(0, 1) for pair in zip(*drawn, strict=True))
    return Samples(X, targets=tuple(targets))


class Learning:
    """Learning on a noisy image by corrupting it once more; see RecorruptedPatches.

    Patches are drawn from everywhere in the image, and as many from a large one as from a small one. The network
    restores the image before it learns, and after half of the epochs: that says more of the noise. Where positions are
    unknown, it takes every other patch from other images, clean ones with the same noise added, so that it does not
    unlearn what it knows. What learns is a copy of the trained network, `self.network`, which then restores X − B E.
    InvalidInput is raised if the image has none or too much of the noise, a name in data.damage.DAMAGES.
    """

    def __init__(self, network: DLADMM, observation: Observation, noise: str, epochs: int = EPOCHS) -> None:
        pixels, patch = observation.pixels, observation.grid.patch
        self.samples = source = RecorruptedPatches(pixels, patch, noise, SEED, observation.mask)
        if observation.mask is None:
            clean_images = NoisyAndCleanPatches(patch, noise, source.noise_rate, SEED, device=pixels.device)
            source = Drawn(partial(in_turns, source, clean_images))
        self.network = deepcopy(network)
        self.network.restored = self.samples.restored
        self.observation = observation
        compiled = pick_compiled("auto", len(network.layers) * epochs * PATCHES_PER_EPOCH, pixels.device)
        losses, precision = LayerLosses(self.network, LOSSES[LOSS], compiled), pick_precision("auto", pixels.device)
        schedule = epochs, PATCHES_PER_EPOCH, BATCH_SIZE, LEARNING_RATE
        self.training = Training(self.network, source, losses, *schedule, precision=precision)

    def __iter__(self) -> Iterator[Epoch]:
        """Yields every epoch when it is over."""
        self._look()
        for epoch in self.training:
            if epoch.number == self.training.epochs // 2:
                self._look()
            yield epoch

    def _look(self) -> None:
        """Restores the image, and learns from what it shows."""
        if self.samples.learns_from_restored:
            seen = self.observation
            self.samples.learn_from(restored_image(self.network, seen.grid, seen.pixels, seen.mask, seen.replace))


def learned_on(image: Image, noise: str, networks: Networks) -> tuple[Image, str, dict[str, float]]:
    """The image that a network restores after it has learned on it, what was done, and the errors before and after.

    If the image itself says that the network was better before, it is as before.
    """
    damage, shown, detection = DAMAGES[noise], image, None
    network, find_mask = networks[damage.network], MASKS.get(damage.positions)
    if damage.positions == "detected":
        shown = levels_of(image, REMEDIES["specks"]).canonical(image)
        detection = networks.detection(shown)
    found = find_mask if detection is None else lambda _: detection.mask
    seen = Observation(shown, grid_for(network, image.shape), networks.device, found)
    learning = Learning(network, seen, noise)
    rate = f"the noise rate is {learning.samples.noise_rate:.1%}"
    with tqdm(learning, f"learning, {rate}", learning.training.epochs, unit="epoch", disable=not networks.bars) as bar:
        for epoch in bar:
            bar.set_postfix(loss=f"{epoch.loss:.3f}")
    find_again = find_mask if detection is None else lambda piece: networks.detection(piece).mask

    def at(network: DLADMM) -> Way:
        return lambda piece: by_network(network, piece, None if find_again is None else find_again(piece))

    # Outside the specks a noisy picture tells nothing of who removes its grain.
    ways = {"before": at(network), "after": at(learning.network)}
    _, figures = compared(shown, ways, lambda again: again, hidden_alone=damage.gaussian)
    helped = figures["after"] <= figures["before"]
    mask = None if seen.mask is None else seen.mask.cpu().numpy()
    used, bar_text = learning.network if helped else network, "restoring" if networks.bars else ""
    restored = by_network(used, shown, mask, networks.usual_stride(shown), shown=bar_text)
    said = "learned on the picture" if helped else "learning on the picture did not help, and is not used"
    if detection is not None:  # the picture stays in its range, and specks may have other levels in it, as 16 and 235
        kept = (detection.mask == 1) & ((shown != image) | (shown == 0) | (shown == 1))
        restored = np.where(kept, image, detection.mixed(restored).clip(image.min(), image.max()))
    return restored, f"{rate}: {said}", figures
