"""Samples of a training, and what every source of them has: a random state that can be saved.

The sources themselves, and how to add one, are in utils.training.sources.
"""

import math
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from data.patches import random_patches
from utils.evaluation.observation import Observation
from utils.evaluation.records import SideInformation
from utils.running.errors import UserError
from utils.running.processes import process_count, process_number


class Batch(NamedTuple):
    """The samples of a training step, one a row; of several processes, the share of this one."""

    X: Tensor  # (N, m)
    mask: Tensor | None  # of the known pixels, (N, m); None if nothing is known of them
    targets: tuple[Tensor, ...]  # the true values that a loss compares with
    size: float  # samples of all processes / number of processes: gradients are means over the processes


class Samples(NamedTuple):
    """The samples of an epoch, one a row; see Batch."""

    X: Tensor
    mask: Tensor | None = None
    targets: tuple[Tensor, ...] = ()

    def batches(self, size: int) -> Iterator[Batch]:
        """`size` samples at a time, of all processes together."""
        for start in range(0, len(self.X), size):
            end = min(start + size, len(self.X))
            rows = slice(start + process_number(), end, process_count())
            mask = None if self.mask is None else self.mask[rows]
            targets = tuple(target[rows] for target in self.targets)
            yield Batch(self.X[rows], mask, targets, (end - start) / process_count())


class SourceSettings(Protocol):
    """The settings that a source may read: see `Settings` in main_lena.py."""

    image: str  # to restore
    positions: str
    corruption: str  # the noise that the network is to remove
    noise_rate: float
    training_rates: tuple[float, ...]  # the lowest and the highest noise rate to learn; none: noise_rate
    training_images: str  # see data.images.load_training_images
    seed: int


class Source:
    """A source of samples with a random state that can be saved.

    Args:
        observation: the image to restore.
        settings: of the run.

    Raises:
        UserError: the settings do not fit this training.
    """

    targets: ClassVar[tuple[str, ...]] = ()  # as in models.losses.Loss
    restored: ClassVar[str] = "AZ"  # a name in models.dladmm.RESTORED

    def __init__(self, observation: Observation, settings: SourceSettings) -> None:
        self.seed = settings.seed
        self.generator = torch.Generator()
        self.restart()

    @classmethod
    def side_information(cls, settings: SourceSettings) -> SideInformation:
        """What a network is given besides the image that it restores."""
        raise NotImplementedError

    def inputs(self) -> dict[str, Tensor]:
        """What was read from files, by name: see utils.running.provenance."""
        return {}

    def draw(self, count: int) -> Samples:
        """Draws `count` samples."""
        raise NotImplementedError

    def after_epoch(self, restored: np.ndarray, done: float) -> None:
        """Sees the image as the network restores it after an epoch; the share `done` of the training is over."""

    def restart(self) -> None:
        """Goes back to the first draw."""
        self.generator.manual_seed(self.seed)

    def state_dict(self) -> dict:
        """What the next draws depend on."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from there."""
        self.generator.set_state(state["generator"])


def patches_of_all_channels(planes: Tensor, patch: int, count: int, generator: torch.Generator) -> Tensor:
    """Random patches, as many of each channel: (planes, channels, height, width) -> (planes, count, patch²)."""
    drawn = random_patches(planes, patch, math.ceil(count / planes.shape[1]), generator)
    return drawn.transpose(1, 2).flatten(1, 2)[:, :count]


class Corrupting(Source):
    """A source that corrupts afresh in every draw, each time with the next seed; see Source."""

    def next_noise_seed(self) -> int:
        """The first is not the run's own, which has corrupted the image to restore."""
        self.noise_seed += 1
        return self.noise_seed

    def restart(self) -> None:
        """See Source."""
        super().restart()
        self.noise_seed = self.seed

    def state_dict(self) -> dict:
        """See Source."""
        return super().state_dict() | {"noise_seed": self.noise_seed}

    def load_state_dict(self, state: dict) -> None:
        """See Source."""
        super().load_state_dict(state)
        self.noise_seed = state["noise_seed"]


def check_learns_from_the_image(settings: SourceSettings) -> None:
    """Refuses settings that are for other images to learn from."""
    if settings.training_rates or settings.training_images != "shipped":
        raise UserError("training_rates and training_images are for supervised training; allowed here: the defaults")
