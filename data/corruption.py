"""Corruptions: functions (image, rate, seed) -> corrupted image, values in [0, 1]."""

import numpy as np
from skimage.util import random_noise


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


CORRUPTIONS = {"salt_and_pepper": salt_and_pepper}
