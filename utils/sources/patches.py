"""Sources of patches, a class for each training: what is drawn, and what follows for the network that learns."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from data.damage import DAMAGES, gaussian_deviation, noise_rate, second_rate
from data.images import TRAINING_IMAGES, WITH_DRAWN, Image, load_training_images, reduced, with_random_contrast
from data.masks import MASKS, FindMask, MaskOfFile
from data.patches import ImageTensor, channels_first, random_patches, randomly_turned
from models.losses import IMAGE
from models.samples import Samples, Source
from utils.evaluation.observation import patch_masks
from utils.running.errors import UserError

REDUCTIONS = (1, 2, 3)  # of the images that supervised training learns from


class PatchSource(Source):
    """A source of patches, and what follows from it for the network that learns from them."""

    targets: ClassVar[tuple[str, ...]] = ()  # names of the values that come with the patches, as in models.losses.Loss
    restored: ClassVar[str] = "AZ"  # which part of a state is the restored patch then, a name in models.dladmm.RESTORED
    loss: ClassVar[str] = "objective"  # the default, a name in models.losses.LOSSES

    @staticmethod
    def knowledge(noise: str, images: str) -> dict[str, str]:
        """What a network that learns from this source knows, where it is more than `NOTHING_KNOWN`. `noise` is a name
        in data.damage.DAMAGES; `images` are those of supervised training."""
        return {"training_data": "the noisy image"}

    def inputs(self) -> dict[str, Tensor]:
        """What was read from files, by name: see utils.running.provenance."""
        return {}

    def after_epoch(self, restored: Image, done: float) -> None:
        """Sees the image as the network restores it after an epoch; the share `done` of the training is over."""


class NoisyPatches(PatchSource):
    """Patches from everywhere in the noisy image, of all its channels, and nothing else."""

    def __init__(self, noisy: ImageTensor, patch: int, seed: int, mask: ImageTensor | None = None) -> None:
        super().__init__(seed)
        known = [noisy] if mask is None else [noisy, mask]
        self.planes = torch.stack([channels_first(plane) for plane in known])  # (1 or 2, channels, height, width)
        self.patch = patch

    def draw(self, count: int) -> Samples:
        """See Source."""
        X, *mask = patches_of_all_channels(self.planes, self.patch, count, self.generator)
        return Samples(X, *map(patch_masks, mask))


class Corrupting(PatchSource):
    """A source that damages images afresh in every draw, each time with the next seed, and never with that of the
    draws: it may be that of the damage of the image to restore."""

    targets, restored, loss = IMAGE, "X-BE", "absolute_error"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.noise_seed = seed

    def state_dict(self) -> dict:
        """See Source."""
        return super().state_dict() | {"noise_seed": self.noise_seed}

    def load_state_dict(self, state: dict) -> None:
        """See Source."""
        super().load_state_dict(state)
        self.noise_seed = state["noise_seed"]


def patches_of_all_channels(planes: Tensor, patch: int, count: int, generator: torch.Generator) -> Tensor:
    """Random patches, as many of each channel: (planes, channels, height, width) -> (planes, count, patch²)."""
    drawn = random_patches(planes, patch, math.ceil(count / planes.shape[1]), generator)
    return drawn.transpose(1, 2).flatten(1, 2)[:, :count]


class RecorruptedPatches(Corrupting):
    """Patches of the noisy image y that are corrupted once more, to y', beside those of y.

    A network that restores y from y' learns to remove the noise without a clean pixel (similar to Noisier2Noise, Moran
    et al. 2020, and Noise2Self, Batson & Royer 2019). Only the corruption is known. It says which values of y can be
    trusted: those that it cannot have made (Damage.untouched). Known positions say so themselves. The second
    corruption has the rate of the noise, see data.damage. Patches come in all symmetries of a square.

    Gaussian noise below impulses is drawn once more, n with the deviation of that in y, and enters y' and the target
    with opposite signs, y + n and y − n: their noises are independent then (Recorrupted-to-Recorrupted, Pang et al.
    2021, section 3).
    """

    def __init__(self, noisy: ImageTensor, patch: int, noise: str, seed: int, mask: ImageTensor | None = None) -> None:
        super().__init__(seed)
        if noise not in DAMAGES:
            allowed = "--noise with the kind of noise, or --training unsupervised"
            raise UserError(f"noise is {noise}, for self_supervised training; allowed: {allowed}")
        damage, pixels = DAMAGES[noise], noisy.cpu().numpy()
        trusted = damage.untouched(pixels) if mask is None else mask.cpu().numpy()
        self.masked = mask is not None
        self.noise_rate = noise_rate(pixels, trusted)
        self.blind_rate = second_rate(self.noise_rate, trust=trusted is not None)
        self.deviation = gaussian_deviation(pixels, trusted) if damage.gaussian else 0.0
        self.impulses = damage.impulses or damage
        self.tolerance = None if self.masked else damage.tolerance
        self.learns_from_restored = self.tolerance is not None  # else `learn_from` changes nothing
        self.noisy, self.patch = noisy, patch
        self.untouched = None if trusted is None else torch.from_numpy(trusted).to(noisy)
        self.learn_from(None)

    @staticmethod
    def knowledge(noise: str, images: str) -> dict[str, str]:
        """See PatchSource."""
        return {"training_data": "the noisy image", "noise_model": noise}

    def state_dict(self) -> dict:
        """See Source."""
        return super().state_dict() | {"restored": self.restored_image}

    def load_state_dict(self, state: dict) -> None:
        """See Source."""
        super().load_state_dict(state)
        self.learn_from(state["restored"])

    def after_epoch(self, restored: np.ndarray, done: float) -> None:
        """From the middle of the training on, the restored image says more of the noise; see `learn_from`."""
        if done >= 0.5:
            self.learn_from(torch.from_numpy(restored).to(self.noisy))

    def learn_from(self, restored: ImageTensor | None) -> None:
        """Draws from a restored image, if there is one yet, where the noisy one is not trusted.

        Pixels that the restoration has hardly changed (Damage.tolerance) are trusted too. As most of the noise is gone
        from what is corrupted again, the rate is that of the noise also where nothing was trusted before.
        """
        self.restored_image = restored if self.learns_from_restored else None
        base, trusted, self.rate = self.noisy, self.untouched, self.blind_rate
        if self.restored_image is not None:
            hardly_changed = (restored - self.noisy).abs() < self.tolerance
            trusted = hardly_changed.to(base) if trusted is None else torch.where(hardly_changed, 1, trusted)
            base, self.rate = torch.where(trusted == 1, self.noisy, restored), self.noise_rate
        trusted = torch.ones_like(base) if trusted is None else trusted
        self.planes = torch.stack([channels_first(plane) for plane in (base, self.noisy, trusted)])

    def draw(self, count: int) -> Samples:
        """See Source."""
        drawn = patches_of_all_channels(self.planes, self.patch, count, self.generator)
        base, observed, trusted = randomly_turned(drawn, self.generator)
        if self.deviation > 0:
            noise = self.deviation * torch.randn(base.shape, generator=self.generator).to(base)
            base, observed = (base + noise).clamp(0, 1), observed - noise
        strip = base.reshape(-1, self.patch).cpu().numpy()  # an image: the patches below each other
        self.noise_seed += 1
        X = torch.from_numpy(self.impulses.corrupt(strip, self.rate, self.noise_seed)).to(base).view_as(base)
        mask = patch_masks(trusted * (base == X)) if self.masked else None
        return Samples(X, mask, targets=(observed, trusted))


class NoisyAndCleanPatches(Corrupting):
    """Pairs of patches, noisy and clean, as many of each training image, corrupted afresh in every draw.

    Every image comes in the sizes of `REDUCTIONS`, as a smaller one has finer detail, with another contrast in every
    draw, and its patches in all symmetries of a square. The image to restore is not seen. Masks mark only pixels that
    are really corrupted.
    """

    def __init__(
        self,
        patch: int,
        noise: str,
        rate: float | Sequence[float],  # or the lowest and the highest, between which it is drawn for every image
        seed: int,
        images: str = "shipped",
        find_mask: FindMask | None = None,
        device: torch.device | str = "cpu",
        not_from: str = "",  # a name in data.images or a path: the image to restore is not to be among the images
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
        sizes = [reduced(image, factor) for image in load_training_images(images, patch) for factor in REDUCTIONS]
        self.images = [image for image in sizes if min(image.shape) >= patch]
        damage, (low, high) = DAMAGES[noise], (0, 0) if isinstance(rate, float) else rate
        at_random_rate = partial(damage.corrupt_at_random_rate, low=low, high=high)
        self.corrupt = partial(damage.corrupt, rate=rate) if isinstance(rate, float) else at_random_rate
        self.device = device
        self.find_mask = find_mask

    @staticmethod
    def knowledge(noise: str, images: str) -> dict[str, str]:
        """See PatchSource."""
        data = "other images" if images in ("shipped", WITH_DRAWN) else f"images in {Path(images).name}"
        return {"training_data": data, "clean_targets": "yes", "noise_model": noise}

    def inputs(self) -> dict[str, Tensor]:
        """See PatchSource."""
        return {"training_images": torch.cat([torch.from_numpy(image).flatten() for image in self.images])}

    def draw(self, count: int) -> Samples:
        """See Source."""
        parts = []
        for number, image in enumerate(self.images):
            clean = with_random_contrast(image, self.generator)
            self.noise_seed += 1
            noisy = self.corrupt(clean, seed=self.noise_seed)
            planes = [noisy, clean]
            if self.find_mask is not None:
                planes += [np.maximum(self.find_mask(noisy), noisy == clean)]
            stacked, share = torch.from_numpy(np.stack(planes)).to(self.device), (count + number) // len(self.images)
            parts.append(random_patches(stacked, self.patch, share, self.generator))
        mixed = torch.cat(parts, dim=1)[:, torch.randperm(count, generator=self.generator)]
        X, clean, *mask = randomly_turned(mixed, self.generator)
        return Samples(X, *map(patch_masks, mask), targets=(clean, torch.ones_like(clean)))
