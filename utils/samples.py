"""Samples: patches to train on, drawn afresh for every epoch, from sources whose state can be saved."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from skimage.transform import downscale_local_mean
from torch import Tensor

from data.images import TRAINING_IMAGES, load_image
from data.patches import channels_first, random_patches
from data.positions import Weigh
from utils.observation import Observation


class Samples(NamedTuple):
    """Training samples, one a row."""

    X: Tensor  # (N, m)
    weights: Tensor | None = None  # (N, m), zero where X is known to be corrupted; None if nothing is known
    targets: tuple[Tensor, ...] = ()  # the true values that a loss compares with

    def batches(self, size: int) -> Iterator["Samples"]:
        """So many samples at a time."""
        for start in range(0, len(self.X), size):
            yield self.part(slice(start, start + size))

    def part(self, rows: slice) -> "Samples":
        """Some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Samples(self.X[rows], weights, tuple(target[rows] for target in self.targets))


DrawSamples = Callable[[int], Samples]  # count -> so many samples, drawn afresh in every call
Corrupt = Callable[..., np.ndarray]  # (image, seed=...) -> corrupted image


class NoisyPatches:
    """Patches from everywhere in the corrupted image, all its channels alike, which is not corrupted again."""

    def __init__(self, observation: Observation, patch: int, corrupt: Corrupt, weigh: Weigh | None, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        known = [each for each in (observation.pixels, observation.weights) if each is not None]
        self.planes = torch.stack([channels_first(each) for each in known])  # (1 or 2, channels, height, width)
        self.patch = patch

    def __call__(self, count: int) -> Samples:
        """Draws so many."""
        drawn = random_patches(self.planes, self.patch, math.ceil(count / self.planes.shape[1]), self.generator)
        return Samples(*drawn.transpose(1, 2).flatten(1, 2)[:, :count])

    def state_dict(self) -> dict:
        """What the next draws depend on."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from there."""
        self.generator.set_state(state["generator"])


def half_size(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels, (height, width) -> (height // 2, width // 2): finer detail than the image itself has."""
    even = image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2]
    return downscale_local_mean(even, (2, 2)).astype(np.float32)


class NoisyAndCleanPatches:
    """Pairs of patches, noisy X and clean, as many of each of the `TRAINING_IMAGES`, corrupted afresh in every call.

    Every image comes in its own size and in half of it. Of the observation it takes nothing but its device.
    """

    def __init__(self, observation: Observation, patch: int, corrupt: Corrupt, weigh: Weigh | None, seed: int) -> None:
        self.images = [each for image in map(load_image, TRAINING_IMAGES) for each in (image, half_size(image))]
        self.device = observation.pixels.device
        self.patch = patch
        self.corrupt = corrupt
        self.weigh = weigh
        self.generator = torch.Generator().manual_seed(seed)
        self.seed = seed  # with the seed itself the image to restore was corrupted: its mask is not shown

    def __call__(self, count: int) -> Samples:
        """Draws so many."""
        parts = []
        for number, image in enumerate(self.images):
            self.seed += 1
            noisy = self.corrupt(image, seed=self.seed)
            known = [noisy, image] if self.weigh is None else [noisy, image, self.weigh(noisy)]
            share = (count + number) // len(self.images)
            planes = torch.from_numpy(np.stack(known)).to(self.device)
            parts.append(random_patches(planes, self.patch, share, self.generator))
        X, clean, *weights = torch.cat(parts, dim=1)[:, torch.randperm(count, generator=self.generator)]
        return Samples(X, *weights, targets=(clean,))

    def state_dict(self) -> dict:
        """What the next draws depend on."""
        return {"generator": self.generator.get_state(), "seed": self.seed}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from there."""
        self.generator.set_state(state["generator"])
        self.seed = state["seed"]
