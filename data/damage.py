"""Damage: what happens to an image, what it leaves untouched, and how much of it there is in a noisy image.

A new kind of damage is a class here and its name in `DAMAGES`: the experiment, the trainings, the command for
photographs and the studies take it from there.
"""

import io
from contextlib import suppress
from itertools import product
from typing import Any, ClassVar

import numpy as np
from PIL import Image as PillowImage
from scipy.ndimage import binary_dilation, median_filter
from scipy.stats import norm
from skimage.util import random_noise

from data.errors import InvalidInput
from data.images import Image
from data.masks import Mask, black, extremes

LEAST = 0.002  # noise rate: clean photographs have a few black and white pixels as well
STANDS_OUT = 0.3  # of the range of values, from the median around: textures rarely do
TALLEST = 65_488  # rows of a JPEG, in whole blocks
NONE = "none"  # in place of a name: the image is damaged already, and nobody has the clean one


class Damage:
    """A kind of damage."""

    # A pixel that a restored image differs from by less was not damaged, or its error does not matter. None: unknown.
    tolerance: ClassVar[float | None] = None
    network: ClassVar[str] = "specks"  # shipped: a folder of checkpoints. It goes on learning on a picture so damaged,
    positions: ClassVar[str] = "unknown"  # and knows this of the damaged pixels, as in data.masks
    gaussian: ClassVar[bool] = False  # whether every pixel has Gaussian noise too
    impulses: ClassVar["Damage | None"] = None  # the damage without that noise, if it has such

    def corrupt(self, image: Image, rate: float, seed: int) -> Image:
        """The image, of which a pixel, or a block, is damaged with the probability `rate`: the same with one seed."""
        return self._damaged(image, rate, np.random.default_rng(seed)).astype(np.float32)

    def _damaged(self, image: Image, rate: float, generator: np.random.Generator) -> np.ndarray:
        raise NotImplementedError

    def untouched(self, noisy: Image) -> Mask | None:
        """The pixels that were not touched, from their values; None where values do not show it."""
        return None

    def corrupt_at_random_rate(self, image: Image, low: float, high: float, seed: int) -> Image:
        """The damaged image, at a rate whose square root is uniform between those of the two: low ones are not rare."""
        for_rate, for_noise = np.random.SeedSequence(seed).generate_state(2)
        rate = np.random.default_rng(for_rate).uniform(low**0.5, high**0.5) ** 2
        return self.corrupt(image, rate, int(for_noise))


class SaltAndPepper(Damage):
    """A pixel becomes 0 or 1 with equal chance."""

    tolerance = 0.03
    network, positions = "positions", "detected"
    untouched = staticmethod(extremes)

    def _damaged(self, image: Image, rate: float, generator: np.random.Generator) -> np.ndarray:
        return random_noise(image, mode="s&p", amount=rate, rng=generator)


class RandomValued(Damage):
    """A pixel gets a value that is uniform in [0, 1]."""

    tolerance = 0.08
    network = "random_valued"

    def _damaged(self, image: Image, rate: float, generator: np.random.Generator) -> np.ndarray:
        hit, values = generator.random(image.shape) < rate, generator.random(image.shape, dtype=np.float32)
        return np.where(hit, values, image)


class MissingBlocks(Damage):
    """A square of `SIDE` x `SIDE` pixels, on a grid at a random place, is black."""

    network, positions = "missing_blocks", "black"
    untouched = staticmethod(black)
    SIDE = 4

    def _damaged(self, image: Image, rate: float, generator: np.random.Generator) -> np.ndarray:
        side, (height, width) = self.SIDE, image.shape[:2]
        top, left = generator.integers(side, size=2)
        blocks = generator.random([height // side + 2, width // side + 2]) < rate
        hit = np.kron(blocks, np.ones((side, side), dtype=bool))[top : top + height, left : left + width]
        return np.where(hit if image.ndim == 2 else hit[..., None], 0, image)


class GaussianAndImpulses(SaltAndPepper):
    """Every pixel has Gaussian noise with the standard deviation `DEVIATION`, cut to [0, 1], below salt and pepper."""

    tolerance = None
    network, positions = "gaussian_and_impulses", "unknown"
    gaussian, impulses = True, SaltAndPepper()
    DEVIATION = 0.04

    def _damaged(self, image: Image, rate: float, generator: np.random.Generator) -> np.ndarray:
        for_noise, for_impulses = generator.bit_generator.seed_seq.generate_state(2)  # with one seed: correlated
        noise = np.random.default_rng(for_noise).normal(scale=self.DEVIATION, size=image.shape)
        return super()._damaged(np.clip(image + noise, 0, 1), rate, np.random.default_rng(for_impulses))


class Specks(Damage):
    """Specks of many kinds, one kind in a draw: single pixels or clusters of 2 x 2 or 3 x 3 of them.

    They are black and white, or not quite, or of one polarity alone; of any value; or a little darker or brighter than
    what they hide. In a third of the draws the image is then a JPEG of quality 50 to 96.
    """

    def _damaged(self, image: Image, rate: float, generator: np.random.Generator) -> np.ndarray:
        layers, size, side = np.atleast_3d(image), image.shape[:2], int(generator.choice([1, 1, 1, 2, 3]))
        hit = binary_dilation(generator.random(size) < rate / side**2, np.ones((side, side)))
        dark, light = generator.uniform(0, 0.12, 2) * (generator.random(2) < 0.7)
        one_value = np.kron(generator.random([length // side + 1 for length in size]), np.ones((side, side)))
        value = one_value[: size[0], : size[1]]  # of a cluster, where it lies on the grid
        kinds = (np.where(value < 0.5, dark, 1 - light), np.full(size, dark), np.full(size, 1 - light), value)
        kind, signs = generator.integers(len(kinds) + 1), np.where(value < 0.5, -1, 1)
        values = kinds[kind] if kind < len(kinds) else layers.mean(axis=2) + signs * generator.uniform(0.15, 0.6)
        noisy = np.clip(np.where(hit[..., None], values[..., None], layers), 0, 1).reshape(image.shape)
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
    if len(image) > TALLEST:  # such as a strip of patches
        return np.concatenate([as_jpeg(part, **how) for part in (image[:TALLEST], image[TALLEST:])])
    stored = io.BytesIO()
    PillowImage.fromarray(np.rint(image * 255).astype(np.uint8)).save(stored, "JPEG", **how)
    return np.asarray(PillowImage.open(stored), np.float32) / 255


def rounding(qtables: dict[int, list[int]] | None) -> float:
    """The deviation of the noise that a JPEG with these tables adds where no coefficient is small; 0 without tables. A
    coefficient is rounded to a multiple of its entry q, by an error that is uniform in ±q / 2."""
    return 0.0 if qtables is None else float(np.sqrt(np.mean(np.square(qtables[0])) / 12) / 255)


def impulse_rate(noisy: Image) -> float:
    """The share of pixels hit by impulses of any grey value, uniform in [0, 1].

    An impulse stands out from the median m of the 5 x 5 pixels around it, by more than d, unless its value is within
    m ± d. So the pixels that stand out are counted, and divided by the mean probability that an impulse does.
    """
    median = median_filter(noisy, 5, axes=(0, 1))
    hidden = np.minimum(median + STANDS_OUT, 1) - np.maximum(median - STANDS_OUT, 0)
    return min(1.0, float((np.abs(noisy - median) > STANDS_OUT).mean() / (1 - hidden).mean()))


def noise_rate(noisy: Image, trusted: Mask | None) -> float:
    """The share p of corrupted pixels: those that are not trusted, or `impulse_rate` where trust is not known."""
    p = impulse_rate(noisy) if trusted is None else 1 - float(trusted.mean())
    if not LEAST <= p < 1:
        other = "specks of other grey values: python -m utils.restore"
        raise InvalidInput(f"the noise rate is {p:.2g}, estimated from the image; allowed: {LEAST} to 1; {other}")
    return p


def second_rate(p: float, trust: bool) -> float:
    """The rate r of a second corruption of an image that is corrupted at the rate p.

    If the trusted values are known, r = p: as much noise as there is to remove. If not, each pixel of the twice
    corrupted image that is hit has an uncorrupted target with a share of r(1 − p) / (p + r(1 − p)). The ℓ1 norm's
    minimiser is a median, so this has to be above one half, that is r > p / (1 − p); r is half as high again.
    """
    r = p if trust else 1.5 * p / (1 - p)
    if r >= 1:
        raise InvalidInput(f"the noise rate is {p:.2g}, estimated from the image; allowed for such noise: below 0.4")
    return r


def gaussian_deviation(noisy: Image, trusted: Mask) -> float:
    """The standard deviation of Gaussian noise on the trusted pixels.

    It is the median of |a − b − c + d| / 2 over all squares of 2 x 2 trusted pixels, relative to that of a standard
    normal variable: a robust estimate from the finest wavelet coefficients (Donoho & Johnstone 1994, section 4.2).
    """
    corners = [np.s_[top : len(noisy) - 1 + top, left : noisy.shape[1] - 1 + left] for top in (0, 1) for left in (0, 1)]
    a, b, c, d = (noisy[corner] for corner in corners)
    known = np.all([trusted[corner] == 1 for corner in corners], axis=0)
    if not known.any():
        raise InvalidInput("no square of 2 x 2 pixels is free of impulses; allowed: an image of less noise")
    return float(np.median(np.abs(a - b - c + d)[known]) / 2 / norm.ppf(0.75))


def grain(image: Image, trusted: Mask, side: int = 32) -> float:
    """The deviation of the noise in the smoothest squares of an image's first channel: a tenth of them have less."""
    planes = (image, trusted) if image.ndim == 2 else (image[..., 0], trusted[..., 0])
    deviations = []
    for top, left in product(*(range(0, length - 1, side) for length in planes[0].shape)):
        with suppress(InvalidInput):  # of a square where nothing is trusted
            deviations.append(gaussian_deviation(*(plane[top : top + side, left : left + side] for plane in planes)))
    return float(np.quantile(deviations, 0.1)) if deviations else 0.0
