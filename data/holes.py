"""Large holes: pixels whose surroundings are unknown as well, filled from what is known farther away."""

import numpy as np
from scipy.ndimage import gaussian_filter

from data.errors import InvalidInput

LEAST_WEIGHT = 0.05  # of the known pixels around one that is filled; 1 if all are known


def filled(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Unknown pixels become means of the known ones around, with Gaussian weights, from the edge of a hole inwards.

    The Gaussian is twice as wide in every round, and what a round has filled is known in the next one.

    Args:
        image: values in [0, 1], (height, width) or (height, width, channels).
        mask: of its shape, 1 where a pixel is known, 0 elsewhere.

    Raises:
        InvalidInput: no pixel is known.
    """
    if not mask.any():
        raise InvalidInput("the mask marks every pixel as corrupted; allowed: one that leaves some")
    known, values, width = mask.astype(np.float32), np.where(mask == 0, 0, image).astype(np.float32), 1.0
    while (known == 0).any():
        weight, total = (gaussian_filter(array, width, axes=(0, 1)) for array in (known, values))
        reached = (known == 0) & (weight > LEAST_WEIGHT)
        values[reached] = total[reached] / weight[reached]
        known[reached] = 1
        width *= 2
    return values
