"""Damage: what happens to an image, what it leaves untouched, and how one sees that. Each kind is one class.

A new kind of damage is a class here and its name in `DAMAGES`: the experiment, the trainings, the command for
photographs and the studies take it from there.
"""

import io
from typing import Any, ClassVar

import numpy as np
from PIL import Image as PillowImage
from scipy.ndimage import binary_dilation
from skimage.util import random_noise

from data.images import Image
from data.masks import Mask, black, extremes

NONE = "none"  # in place of a name: the image is damaged already, and nobody has the clean one


class Damage:
    """A kind of damage.

    Attributes:
        in_words: as a text names it.
        tolerance: a pixel that a restored image differs from by less was not damaged, or its error does not matter, in
            units of [0, 1]; None where nothing can be said.
        network: the shipped network that goes on learning on a picture with this damage, a folder of checkpoints, and
        positions: what it knows of the damaged pixels, as in data.masks.
        gaussian: whether every pixel has Gaussian noise too.
    """

    in_words: ClassVar[str]
    tolerance: ClassVar[float | None] = None
    network: ClassVar[str] = "specks"
    positions: ClassVar[str] = "unknown"
    gaussian: ClassVar[bool] = False

    def corrupt(self, image: Image, rate: float, seed: int) -> Image:
        """The damaged image, float32; the same seed damages the same pixels.

        Args:
            image: it may also be a strip of patches, below each other.
            rate: probability that a pixel, or a block of them, is damaged, 0 to 1.
            seed: >= 0.
        """
        raise NotImplementedError

    def untouched(self, noisy: Image) -> Mask | None:
        """The pixels that were not touched, from their values; None where values do not show it."""
        return None

    @property
    def impulses(self) -> "Damage":
        """The damage without its Gaussian noise."""
        return self

    def corrupt_at_random_rate(self, image: Image, low: float, high: float, seed: int) -> Image:
        """The damaged image, at a rate whose square root is uniform from that of `low` to that of `high`: low ones are
        not rare."""
        for_rate, for_noise = np.random.SeedSequence(seed).generate_state(2)
        rate = np.random.default_rng(for_rate).uniform(low**0.5, high**0.5) ** 2
        return self.corrupt(image, rate, int(for_noise))


class SaltAndPepper(Damage):
    """A pixel becomes 0 or 1 with equal chance."""

    in_words = "salt and pepper"
    tolerance = 0.03
    network, positions = "positions", "detected"

    def corrupt(self, image: Image, rate: float, seed: int) -> Image:
        """See Damage."""
        return random_noise(image, mode="s&p", amount=rate, rng=seed).astype(np.float32)

    def untouched(self, noisy: Image) -> Mask:
        """See Damage."""
        return extremes(noisy)


class RandomValued(Damage):
    """A pixel gets a value that is uniform in [0, 1]."""

    in_words = "random-valued impulses"
    tolerance = 0.08
    network = "random_valued"

    def corrupt(self, image: Image, rate: float, seed: int) -> Image:
        """See Damage."""
        generator = np.random.default_rng(seed)
        hit, values = generator.random(image.shape) < rate, generator.random(image.shape, dtype=np.float32)
        return np.where(hit, values, image).astype(np.float32)


class MissingBlocks(Damage):
    """A square of `SIDE` x `SIDE` pixels, on a grid at a random place, is black."""

    in_words = "missing blocks"
    network, positions = "missing_blocks", "black"
    SIDE = 4

    def corrupt(self, image: Image, rate: float, seed: int) -> Image:
        """See Damage."""
        generator, side = np.random.default_rng(seed), self.SIDE
        top, left = generator.integers(side, size=2)
        height, width = image.shape[:2]
        blocks = generator.random([height // side + 2, width // side + 2]) < rate
        hit = np.kron(blocks, np.ones((side, side), dtype=bool))[top : top + height, left : left + width]
        return np.where(hit if image.ndim == 2 else hit[..., None], np.float32(0), image).astype(np.float32)

    def untouched(self, noisy: Image) -> Mask:
        """See Damage."""
        return black(noisy)


class GaussianAndImpulses(SaltAndPepper):
    """Every pixel has Gaussian noise with the standard deviation `DEVIATION`, cut to [0, 1], below salt and pepper."""

    in_words = "salt and pepper and Gaussian noise"
    tolerance = None
    network, positions = "gaussian_and_impulses", "unknown"
    gaussian = True
    DEVIATION = 0.04

    def corrupt(self, image: Image, rate: float, seed: int) -> Image:
        """See Damage."""
        for_noise, for_impulses = np.random.SeedSequence(seed).generate_state(2)  # with one seed: correlated
        noise = np.random.default_rng(for_noise).normal(scale=self.DEVIATION, size=image.shape)
        return super().corrupt(np.clip(image + noise, 0, 1), rate, int(for_impulses))

    @property
    def impulses(self) -> Damage:
        """See Damage."""
        return SaltAndPepper()


class Specks(Damage):
    """Specks of many kinds, one kind in a draw: single pixels or clusters of 2 x 2 or 3 x 3 of them.

    They are black and white, or not quite, or of one polarity alone; of any value; or a little darker or brighter than
    what they hide. In a third of the draws the image is then a JPEG of quality 50 to 96.
    """

    in_words = "specks of any kind"

    def corrupt(self, image: Image, rate: float, seed: int) -> Image:
        """See Damage."""
        generator, size = np.random.default_rng(seed), image.shape[:2]
        side = int(generator.choice([1, 1, 1, 2, 3]))
        hit = binary_dilation(generator.random(size) < rate / side**2, np.ones((side, side)))
        dark, light = generator.uniform(0, 0.12, 2) * (generator.random(2) < 0.7)
        one_value = np.kron(generator.random([length // side + 1 for length in size]), np.ones((side, side)))
        value = one_value[: size[0], : size[1]]  # of a cluster, where it lies on the grid
        values = (
            lambda: np.where(value < 0.5, dark, 1 - light),
            lambda: np.full(size, dark),
            lambda: np.full(size, 1 - light),
            lambda: value,
            lambda: (
                (image if image.ndim == 2 else image.mean(axis=2))
                + np.where(value < 0.5, -1, 1) * generator.uniform(0.15, 0.6)
            ),
        )[generator.integers(5)]()
        values, hit = (values, hit) if image.ndim == 2 else (values[..., None], hit[..., None])
        noisy = np.clip(np.where(hit, values, image), 0, 1).astype(np.float32)
        return as_jpeg(noisy, quality=int(generator.integers(50, 97))) if generator.random() < 1 / 3 else noisy


DAMAGES: dict[str, Damage] = {
    "salt_and_pepper": SaltAndPepper(),
    "random_valued": RandomValued(),
    "missing_blocks": MissingBlocks(),
    "gaussian_and_impulses": GaussianAndImpulses(),
    "specks": Specks(),
}


def as_jpeg(image: Image, **how: Any) -> Image:
    """The image as a JPEG shows it: of a `quality`, 1 to 100, or with the `qtables` of another."""
    stored = io.BytesIO()
    PillowImage.fromarray(np.rint(image * 255).astype(np.uint8)).save(stored, "JPEG", **how)
    return np.asarray(PillowImage.open(stored), np.float32) / 255


def rounding(qtables: dict[int, list[int]] | None) -> float:
    """The deviation of the noise that a JPEG with these tables adds where no coefficient is small; 0 without tables.

    A coefficient is rounded to a multiple of its entry q, by an error that is uniform in ±q / 2.
    """
    return 0.0 if qtables is None else float(np.sqrt(np.mean(np.square(qtables[0])) / 12) / 255)
