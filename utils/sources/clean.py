"""Supervised training: pairs of a noisy and a clean patch of other images than the one to restore."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.damage import DAMAGES
from data.images import TRAINING_IMAGES, WITH_DRAWN, load_training_images, reduced, with_random_contrast
from data.masks import MASKS, FindMask, MaskOfFile
from data.patches import random_patches, randomly_turned
from models.losses import IMAGE
from models.samples import Samples
from utils.evaluation.observation import patch_masks
from utils.evaluation.records import SideInformation
from utils.running.errors import UserError
from utils.sources.base import Corrupting

REDUCTIONS = (1, 2, 3)  # of the images that supervised training learns from


class NoisyAndCleanPatches(Corrupting):
    """Pairs of patches, noisy and clean, as many of each training image, corrupted afresh in every draw.

    Every image comes in the sizes of `REDUCTIONS`, as a smaller one has finer detail, with another contrast in every
    draw, and its patches in all symmetries of a square. The image to restore is not seen. Masks mark only pixels that
    are really corrupted.

    Args:
        patch: side of a patch in pixels.
        noise: a name in data.damage.DAMAGES.
        rate: of the noise; or the lowest and the highest, between which it is drawn for every image.
        seed: of the draws and of the noise.
        images: see data.images.load_training_images.
        find_mask: finds the known pixels of a noisy image; None if nothing is known of them.
        device: where the patches live.
        not_from: the image to restore, a name in data.images or a path: it is not to be among the images.

    Raises:
        UserError: there is no noise to learn from, the rates are not the lowest and the highest, the mask is that of
            one image, or the image to restore is among the images.
        InvalidInput: the images cannot be used.
    """

    targets = IMAGE
    restored = "X-BE"
    loss = "absolute_error"

    def __init__(
        self,
        patch: int,
        noise: str,
        rate: float | Sequence[float],
        seed: int,
        images: str = "shipped",
        find_mask: FindMask | None = None,
        device: torch.device | str = "cpu",
        not_from: str = "",
    ) -> None:
        super().__init__(seed)
        if noise not in DAMAGES:
            raise UserError(f"noise is {noise}, for supervised training; allowed: a kind of noise to learn from")
        if not isinstance(rate, float) and (len(rate) != 2 or rate[0] > rate[1]):
            raise UserError(f"training_rates are {' '.join(map(str, rate))}; allowed: the lowest and the highest")
        if isinstance(find_mask, MaskOfFile):
            raise UserError(f"positions are a mask, for supervised training; allowed: {', '.join(MASKS)}")
        inside = Path(images).is_dir() and Path(not_from).resolve().parent == Path(images).resolve()
        if inside or (images == "shipped" and not_from in TRAINING_IMAGES):
            raise UserError(f"image is {not_from}, which supervised training learns from; allowed: any other image")
        self.patch = patch
        self.images = []
        for image in load_training_images(images, patch):
            sizes = [reduced(image, factor) for factor in REDUCTIONS]
            self.images += [size for size in sizes if min(size.shape) >= patch]
        damage, at_rate = DAMAGES[noise], isinstance(rate, float)
        self.corrupt = (
            partial(damage.corrupt, rate=rate)
            if at_rate
            else partial(damage.corrupt_at_random_rate, low=rate[0], high=rate[1])
        )
        self.device = device
        self.find_mask = find_mask

    @staticmethod
    def side_information(noise: str, images: str) -> SideInformation:
        """See PatchSource."""
        data = "other images" if images in ("shipped", WITH_DRAWN) else f"images in {Path(images).name}"
        return SideInformation(training_data=data, clean_targets="yes", noise_model=noise)

    def inputs(self) -> dict[str, Tensor]:
        """See PatchSource."""
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
            stacked, share = torch.from_numpy(np.stack(planes)).to(self.device), (count + number) // len(self.images)
            parts.append(random_patches(stacked, self.patch, share, self.generator))
        mixed = torch.cat(parts, dim=1)[:, torch.randperm(count, generator=self.generator)]
        X, clean, *mask = randomly_turned(mixed, self.generator)
        return Samples(X, *map(patch_masks, mask), targets=(clean, torch.ones_like(clean)))
