"""Trainings: sources of the patches that a network learns from, drawn afresh for every epoch.

A new training is a class like those below and a line in `TRAININGS`. The class says with which targets its samples
come (the losses that fit are those with the same targets), which part of the state is then returned as the restored
patch, and what a network is told besides the image that it restores.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from data.corruption import CORRUPTIONS, at_random_rates
from data.images import TRAINING_IMAGES, load_training_images, reduced, with_random_contrast
from data.masks import MASKS, UNTOUCHED
from data.noise_rate import second_rate
from data.patches import channels_first, random_patches, randomly_turned
from utils.evaluation.observation import Observation, patch_masks
from utils.evaluation.records import SideInformation
from utils.running.errors import UserError
from utils.running.processes import process_count, process_number

REDUCTIONS = (1, 2, 3)  # of the images that supervised training learns from


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


class NoisyPatches(Source):
    """Patches from everywhere in the noisy image, of all its channels. Nothing else is seen; see Source."""

    def __init__(self, observation: Observation, settings: SourceSettings) -> None:
        super().__init__(observation, settings)
        _check_learns_from_the_image(settings)
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


class RecorruptedPatches(Corrupting):
    """Patches of the noisy image y that are corrupted once more, to y', beside those of y; see Source.

    A network that restores y from y' learns to remove the noise without a clean pixel (kin of Noisier2Noise, Moran et
    al. 2020, and Noise2Self, Batson & Royer 2019). All it is told is the kind of noise: which values of y are trusted,
    as noise of this kind cannot have made them (data.masks.UNTOUCHED), unless the positions are known. The second
    corruption has the rate of the noise, see data.noise_rate. Patches come in all symmetries of a square.
    """

    targets = ("observed", "trusted")
    restored = "X-BE"

    def __init__(self, observation: Observation, settings: SourceSettings) -> None:
        super().__init__(observation, settings)
        _check_learns_from_the_image(settings)
        if CORRUPTIONS[settings.corruption] is None:
            raise UserError(
                f"corruption is {settings.corruption}, for self_supervised training; allowed: the kind of noise, or "
                "--training unsupervised"
            )
        self.corrupt = CORRUPTIONS[settings.corruption]
        find_trusted = observation.find_mask or UNTOUCHED.get(settings.corruption)
        trusted = np.ones_like(observation.noisy) if find_trusted is None else find_trusted(observation.noisy)
        self.rate = second_rate(observation.noisy, None if find_trusted is None else trusted)
        planes = [observation.pixels, torch.from_numpy(trusted).to(observation.pixels.device)]
        self.planes = torch.stack([channels_first(plane) for plane in planes])
        self.patch = observation.grid.patch
        self.known = observation.find_mask is not None

    @classmethod
    def side_information(cls, settings: SourceSettings) -> SideInformation:
        """See Source."""
        return SideInformation(training_data="the noisy image", noise_model=settings.corruption)

    def draw(self, count: int) -> Samples:
        """See Source."""
        drawn = patches_of_all_channels(self.planes, self.patch, count, self.generator)
        observed, trusted = randomly_turned(drawn, self.generator)
        strip = observed.reshape(-1, self.patch).cpu().numpy()  # an image: the patches below each other
        X = torch.from_numpy(self.corrupt(strip, rate=self.rate, seed=self.next_noise_seed())).to(observed)
        X = X.reshape(observed.shape)
        mask = patch_masks(trusted * (observed == X)) if self.known else None
        return Samples(X, mask, targets=(observed, trusted))


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


def _check_learns_from_the_image(settings: SourceSettings) -> None:
    """Refuses settings that are for other images to learn from."""
    if settings.training_rates or settings.training_images != "shipped":
        raise UserError("training_rates and training_images are for supervised training; allowed here: the defaults")


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
