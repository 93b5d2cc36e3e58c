"""The values that stand for white and for impulses in an image, found from the image alone.

Scanners, cameras and video store impulses at other values than black and white: 1 and 254, 16 and 235, 4095 of 65535.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from data.images import Image

BITS = (8, 10, 12, 14, 16)  # of the samples of cameras and scanners that are stored in 16
HALF_STEP = 0.5 / 65535  # half the distance of neighbouring values in 16 bits
INSIDE = 0.5 / 255  # what is no impulse stays this far from 0 and 1
TILE, ACROSS = 32, 16  # levels are looked for in 16 x 16 tiles of 32 x 32 pixels at most, spread over the image
AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)  # a pixel
# Chosen on training and validation images. A sample stands out from all eight around by more than the first, of
# white; only if none of these has a level, by more than the second: in a dark image pepper does no more than that.
STANDS_OUT = (0.12, 0.03)
FEW, SHARE = 8, 0.15  # a level has more samples than these, and than this part of all that stand out,
NEAR, SPIKE = 8.5 / 255, 2.5  # more than so many times those of any other value so near,
NEAR_END, SPIKE_AT_END = 16.5 / 255, 3.5  # and at the end of the range than of all so near together


class Levels(NamedTuple):
    """The values of an image's impulses. A sample that has one may be an impulse, but a part of the picture as well."""

    dark: float | None  # of pepper, in the image's range; None if there is none
    light: float | None  # of salt
    within: float = HALF_STEP  # of the level: a sample so near has it

    def candidates(self, image: Image) -> np.ndarray:
        """The samples that may be impulses, True where they have such a value."""
        return self._at(image, self.dark) | self._at(image, self.light)

    def canonical(self, image: Image) -> Image:
        """The image as if its impulses were black and white: pepper is 0, salt 1, and no other sample: see `INSIDE`."""
        inside = np.clip(image, INSIDE, 1 - INSIDE, dtype=np.float32)
        inside[self._at(image, self.dark)] = 0
        inside[self._at(image, self.light)] = 1
        return inside

    def _at(self, image: Image, level: float | None) -> np.ndarray:
        return np.zeros(image.shape, dtype=bool) if level is None else np.abs(image - np.float32(level)) < self.within


def white_level(pixels: np.ndarray) -> int:
    """The value that stands for white: 255 in 8 bits, else the highest of the fewest `BITS` that hold all pixels, such
    as 4095. So an image of 16 bits that is so dark becomes brighter in [0, 1]; no value is cut off."""
    return next(2**bits - 1 for bits in BITS if pixels.max() < 2**bits)


def find_levels(image: Image) -> Levels:
    """The values of salt and pepper in an image, of which white is 1: those of all channels together.

    An impulse is darker than all eight pixels around it, or lighter. Pixels of the picture are so at many values,
    impulses at one for each polarity. So that value is much more frequent among such pixels than those near it. Even if
    half of the pixels are hit enough of the impulses have no equal beside them. Noise of random values has no such
    value, and that of an impulse is spread over many by JPEG, except for what it cuts off at black and white: hence a
    level at the end of the range has to stand out more. Clean photographs with burnt or black areas may have some, too.
    """
    tops, lefts = (np.linspace(0, max(0, n - TILE), np.clip(n // TILE, 1, ACROSS), dtype=int) for n in image.shape[:2])
    tiles = np.stack([np.atleast_3d(image[i : i + TILE, j : j + TILE]) for i in tops for j in lefts])
    depth = minimum_filter(tiles, footprint=AROUND, axes=(1, 2)) - tiles
    height = tiles - maximum_filter(tiles, footprint=AROUND, axes=(1, 2))
    (dark, peppers), (light, salts) = (_level(tiles, by) for by in (depth, height))
    if dark is not None and dark == light:  # pepper that is not black is lighter than black areas
        dark, light = (dark, None) if peppers > salts else (None, light)
    return Levels(dark, light)


def _level(tiles: np.ndarray, by: np.ndarray) -> tuple[float | None, int]:
    """The most frequent level among the samples that stand out by so much, and how many have it. Where several channels
    of a pixel stand out to different values, this is no impulse: one hits a channel, or all."""
    for least in STANDS_OUT:
        out = by > least
        one_value = np.where(out, tiles, 1).min(axis=-1) == np.where(out, tiles, 0).max(axis=-1)
        values, counts = np.unique(tiles[out & one_value[..., None]], return_counts=True)
        often = np.flatnonzero(counts > max(FEW, SHARE * counts.sum()))
        spikes = [i for i in often if _is_spike(values, counts, i)]
        if spikes:
            best = max(spikes, key=counts.__getitem__)
            return float(values[best]), int(counts[best])
    return None, 0


def _is_spike(values: np.ndarray, counts: np.ndarray, i: int) -> bool:
    """Whether the i-th value is much more frequent than those near it. At the ends all that was cut off piles up."""
    distance = np.abs(values - values[i])
    if i in (0, len(values) - 1):
        return counts[i] > FEW + SPIKE_AT_END * counts[(distance > 0) & (distance < NEAR_END)].sum()
    near = (distance > 0) & (distance < NEAR)
    return counts[i] > FEW + SPIKE * counts[1:-1][near[1:-1]].max(initial=0)
