"""The base of all sources of patches, and the base of those that corrupt patches afresh in every draw."""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from data.patches import random_patches
from models.samples import Source
from utils.evaluation.records import SideInformation


class PatchSource(Source):
    """A source of patches, and what follows from it for the network that learns from them.

    Attributes:
        targets: names of the values that come with the patches, as in models.losses.Loss.
        restored: which part of a state is the restored patch then, a name in models.dladmm.RESTORED.
        loss: the default loss, a name in models.losses.LOSSES.
    """

    targets: ClassVar[tuple[str, ...]] = ()
    restored: ClassVar[str] = "AZ"
    loss: ClassVar[str] = "objective"

    @staticmethod
    def side_information(noise: str, images: str) -> SideInformation:
        """What a network that learns from this source knows besides the image that it restores.

        Args:
            noise: the kind of noise, a name in data.damage.DAMAGES.
            images: of supervised training, see data.images.load_training_images.
        """
        raise NotImplementedError

    def inputs(self) -> dict[str, Tensor]:
        """What was read from files, by name: see utils.running.provenance."""
        return {}

    def after_epoch(self, restored: np.ndarray, done: float) -> None:
        """Sees the image as the network restores it after an epoch; the share `done` of the training is over."""


class Corrupting(PatchSource):
    """A source that corrupts afresh in every draw, each time with the next seed.

    Args:
        seed: of the draws; the noise of the image to restore may have the same.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.noise_seed = seed

    def next_noise_seed(self) -> int:
        """The first is not `seed`, with which the image to restore was corrupted."""
        self.noise_seed += 1
        return self.noise_seed

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
