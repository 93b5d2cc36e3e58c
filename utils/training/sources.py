"""Trainings: sources of the patches that a network learns from, drawn afresh for every epoch.

A new training is a class like those below and a line in `TRAININGS`. The class says with which targets its samples
come (the losses that fit are those with the same targets), which part of the state is then returned as the restored
patch, and what a network is told besides the image that it restores.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.corruption import CORRUPTIONS, at_random_rates
from data.images import TRAINING_IMAGES, load_training_images, reduced, with_random_contrast
from data.masks import MASKS
from data.patches import channels_first, random_patches, randomly_turned
from utils.evaluation.observation import Observation, patch_masks
from utils.evaluation.records import SideInformation
from utils.running.errors import UserError
from utils.training.recorrupted import RecorruptedPatches
from utils.training.samples import (
    Corrupting,
    Samples,
    Source,
    SourceSettings,
    check_learns_from_the_image,
    patches_of_all_channels,
)

REDUCTIONS = (1, 2, 3)  # of the images that supervised training learns from


class NoisyPatches(Source):
    """Patches from everywhere in the noisy image, of all its channels. Nothing else is seen; see Source."""

    def __init__(self, observation: Observation, settings: SourceSettings) -> None:
        super().__init__(observation, settings)
        check_learns_from_the_image(settings)
        known = [plane for plane in (observation.pixels, observation.mask) if plane is not None]
        self.planes = torch.stack([channels_first(plane) for plane in known])  # (1 or 2, channels, height, width)
        self.patch = observation.grid.patch

    @classmethod
    def side_information(cls, settings: SourceSettings) -> SideInformation:
        """See Source."""
        return SideInformation(training_data="the noisy image")

    def draw(self, count: int) -> Samples:
        """See Source."""
        X, *mask = patches_of_all_channels(self.planes, self.patch, count, self.generator)
        return Samples(X, *map(patch_masks, mask))


class NoisyAndCleanPatches(Corrupting):
    """Pairs of patches, noisy and clean, as many of each training image, corrupted afresh in every draw; see Source.

    Every image comes in the sizes of `REDUCTIONS`, as a smaller one has finer detail, in every draw with another
    contrast, and its patches in all symmetries of a square. The image to restore is not seen. Of known positions, no
    pixel is taken for corrupted that is not.
    """

    targets = ("clean",)
    restored = "X-BE"

    def __init__(self, observation: Observation, settings: SourceSettings) -> None:
        super().__init__(observation, settings)
        _check_supervised(settings)
        self.patch = observation.grid.patch
        self.images = []
        for image in load_training_images(settings.training_images, self.patch):
            sizes = [reduced(image, factor) for factor in REDUCTIONS]
            self.images += [size for size in sizes if min(size.shape) >= self.patch]
        self.corrupt = _at_rates(CORRUPTIONS[settings.corruption], settings.training_rates or (settings.noise_rate,))
        self.device = observation.pixels.device
        self.find_mask = observation.find_mask

    @classmethod
    def side_information(cls, settings: SourceSettings) -> SideInformation:
        """See Source."""
        folder = settings.training_images
        data = "other images" if folder == "shipped" else f"images in {Path(folder).name}"
        return SideInformation(training_data=data, clean_targets="yes", noise_model=settings.corruption)

    def inputs(self) -> dict[str, Tensor]:
        """See Source."""
        return {"training_images": torch.cat([torch.from_numpy(image).flatten() for image in self.images])}

    def draw(self, count: int) -> Samples:
        """See Source."""
        parts = []
        for number, image in enumerate(self.images):
            clean = with_random_contrast(image, self.generator)
            noisy = self.corrupt(clean, seed=self.next_noise_seed())
            planes = [noisy, clean]
            if self.find_mask is not None:
                planes += [np.maximum(self.find_mask(noisy), noisy == clean)]
            share = (count + number) // len(self.images)
            parts.append(
                random_patches(torch.from_numpy(np.stack(planes)).to(self.device), self.patch, share, self.generator)
            )
        mixed = torch.cat(parts, dim=1)[:, torch.randperm(count, generator=self.generator)]
        X, clean, *mask = randomly_turned(mixed, self.generator)
        return Samples(X, *map(patch_masks, mask), targets=(clean,))


def _check_supervised(settings: SourceSettings) -> None:
    """Refuses an image to restore that is learned from, and settings that do not fit to other images."""
    rates, folder = settings.training_rates, settings.training_images
    if CORRUPTIONS[settings.corruption] is None:
        raise UserError(f"corruption is {settings.corruption}, for supervised training; allowed: one to learn from")
    if rates and (len(rates) != 2 or rates[0] > rates[1]):
        raise UserError(f"training_rates are {' '.join(map(str, rates))}; allowed: the lowest and the highest")
    if settings.positions not in MASKS:
        raise UserError(f"positions are a mask, for supervised training; allowed: {', '.join(MASKS)}")
    inside = Path(folder).is_dir() and Path(settings.image).resolve().parent == Path(folder).resolve()
    if inside or (folder == "shipped" and settings.image in TRAINING_IMAGES):
        raise UserError(f"image is {settings.image}, which supervised training learns from; allowed: any other image")


def _at_rates(corruption: Callable[..., np.ndarray], rates: Sequence[float]) -> Callable[..., np.ndarray]:
    """(image, seed=...) -> image corrupted at the rate, or at a random one between the lowest and the highest."""
    return partial(corruption, rate=rates[0]) if len(rates) == 1 else at_random_rates(corruption, *rates)


TRAININGS: dict[str, type[Source]] = {
    "unsupervised": NoisyPatches,
    "self_supervised": RecorruptedPatches,
    "supervised": NoisyAndCleanPatches,
}
