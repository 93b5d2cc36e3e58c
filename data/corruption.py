"""Corruptions: functions (image, rate, seed) -> corrupted image, values in [0, 1], grey or with channels last.

A new one is a function and a line in `CORRUPTIONS`.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_dilation
from skimage.util import random_noise
from torch import Tensor


def salt_and_pepper(image: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Every pixel is, with probability `rate` and drawn with `seed`, set to 0 or 1 with equal chance.

    Args:
        image: values in [0, 1], any shape.
        rate: 0 to 1.
        seed: >= 0; the same seed corrupts the same pixels.

    Returns:
        float32 array of the same shape.
    """
    return random_noise(image, mode="s&p", amount=rate, rng=seed).astype(np.float32)


def random_valued(image: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Every pixel is, with probability `rate`, set to a grey value uniform in [0, 1]; see `salt_and_pepper`."""
    generator = np.random.default_rng(seed)
    hit, values = generator.random(image.shape) < rate, generator.random(image.shape, dtype=np.float32)
    return np.where(hit, values, image).astype(np.float32)


def missing_blocks(image: np.ndarray, rate: float, seed: int, side: int = 4) -> np.ndarray:
    """Squares of `side` x `side` pixels, on a randomly placed grid, are black with probability `rate`."""
    generator = np.random.default_rng(seed)
    top, left = generator.integers(side, size=2)
    height, width = image.shape[:2]
    blocks = generator.random([height // side + 2, width // side + 2]) < rate
    hit = np.kron(blocks, np.ones((side, side), dtype=bool))[top : top + height, left : left + width]
    return np.where(hit if image.ndim == 2 else hit[..., None], np.float32(0), image).astype(np.float32)


def gaussian_and_impulses(image: np.ndarray, rate: float, seed: int, deviation: float = 0.04) -> np.ndarray:
    """Gaussian noise of that standard deviation on every pixel, cut to [0, 1], then salt and pepper at `rate`."""
    for_noise, for_impulses = np.random.SeedSequence(seed).generate_state(2)  # with one seed they would be correlated
    noise = np.random.default_rng(for_noise).normal(scale=deviation, size=image.shape)
    return salt_and_pepper(np.clip(image + noise, 0, 1), rate, int(for_impulses))


def specks(image: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Specks of many kinds, one kind in a draw: single pixels or clusters of 2 x 2 or 3 x 3 of them.

    They are black and white, or not quite, or of one polarity alone; of any value; or a little darker or brighter than
    what they hide. In a third of the draws the image is then a JPEG of quality 50 to 96.
    """
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


def as_jpeg(image: np.ndarray, **how: Any) -> np.ndarray:
    """The image, values in [0, 1], as a JPEG shows it: of a `quality`, 1 to 100, or with the `qtables` of another."""
    stored = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(stored, "JPEG", **how)
    return np.asarray(Image.open(stored), np.float32) / 255


def rounding(qtables: dict[int, list[int]] | None) -> float:
    """The deviation of the noise that a JPEG with these tables adds where no coefficient is small; 0 without tables.

    A coefficient is rounded to a multiple of its entry q, by an error that is uniform in ±q / 2.
    """
    return 0.0 if qtables is None else float(np.sqrt(np.mean(np.square(qtables[0])) / 12) / 255)


def at_random_rates(
    corruption: Callable[..., np.ndarray], low: float, high: float
) -> Callable[[np.ndarray, int], np.ndarray]:
    """The corruption at a rate that is drawn with the seed: a function (image, seed) -> corrupted image.

    The square root of the rate is uniform, so that low rates are not rare.

    Args:
        corruption: a function of `CORRUPTIONS`.
        low: lowest rate, >= 0.
        high: highest rate, <= 1.
    """

    def corrupt(image: np.ndarray, seed: int) -> np.ndarray:
        for_rate, for_noise = np.random.SeedSequence(seed).generate_state(2)
        rate = np.random.default_rng(for_rate).uniform(low**0.5, high**0.5) ** 2
        return corruption(image, rate=rate, seed=int(for_noise))

    return corrupt


def salt_and_pepper_there(image: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """As `salt_and_pepper`, where the image is, with draws of its own."""
    drawn = torch.rand(image.shape, generator=generator, device=image.device)
    return torch.where(drawn < rate, (drawn < rate / 2).to(image), image)


def random_valued_there(image: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """As `random_valued`, where the image is."""
    hit, values = (torch.rand(image.shape, generator=generator, device=image.device) for _ in range(2))
    return torch.where(hit < rate, values, image)


def missing_blocks_there(image: Tensor, rate: float, generator: torch.Generator, side: int = 4) -> Tensor:
    """As `missing_blocks`, where the image (height, width) is."""
    top, left = torch.randint(side, (2,), generator=generator, device=image.device).tolist()
    height, width = image.shape
    shape = height // side + 2, width // side + 2
    blocks = torch.rand(shape, generator=generator, device=image.device) < rate
    hit = blocks.repeat_interleave(side, 0).repeat_interleave(side, 1)[top : top + height, left : left + width]
    return image.masked_fill(hit, 0)


# The same corruptions on tensors, for devices to which an image would have to travel back and forth.
THERE = {
    salt_and_pepper: salt_and_pepper_there,
    random_valued: random_valued_there,
    missing_blocks: missing_blocks_there,
}
IMPULSES_ALONE = {"gaussian_and_impulses": salt_and_pepper}  # what such a corruption is without its Gaussian noise
CORRUPTIONS: dict[str, Callable[..., np.ndarray] | None] = {
    "salt_and_pepper": salt_and_pepper,
    "random_valued": random_valued,
    "missing_blocks": missing_blocks,
    "gaussian_and_impulses": gaussian_and_impulses,
    "specks": specks,
    "none": None,  # the image is damaged already, and nobody has the clean one
}
