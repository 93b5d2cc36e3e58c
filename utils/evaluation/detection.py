"""Finding the corrupted pixels by what a network for unknown positions changes."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from data.damage import DAMAGES

AROUND = 31  # pixels; side of the square in which kept black and white pixels are counted


class Detection(NamedTuple):
    """The black and white pixels of an image that a network takes for corrupted, and what it puts there."""

    mask: np.ndarray  # of the known pixels, of the image's shape, float32
    restored: np.ndarray  # the image as that network restores it
    doubt: np.ndarray  # 0 to 1: the share of the black and white pixels around that are kept

    def find_mask(self, noisy: np.ndarray) -> np.ndarray:
        """The mask, as a function of data.masks gives it."""
        return self.mask

    def mixed(self, restored: np.ndarray) -> np.ndarray:
        """The image that a network for known positions restores, mixed with this one's in the share of the doubt.

        Where black and white are colours of the photograph as well, some corrupted pixels are missed, and some good
        ones are taken for corrupted. The network for known positions relies on the mask, the detecting one does not.

        Args:
            restored: the image with its corrupted pixels replaced.
        """
        return np.where(self.mask == 0, restored + self.doubt * (self.restored - restored), restored)


def detect(noisy: np.ndarray, restored: np.ndarray) -> Detection:
    """Black and white pixels are taken for corrupted if a network for unknown positions changes them.

    It sees their surroundings, so a burnt sky and a black border are kept; of thin lines and letters some strokes are
    lost. A pixel that it changes by less than its tolerance (data.damage) is hardly wrong, whether it was hit or not.

    Args:
        noisy: values in [0, 1], (height, width) or (height, width, channels).
        restored: what that network makes of it.
    """
    extreme = (noisy == 0) | (noisy == 1)
    kept = extreme & (np.abs(restored - noisy) < DAMAGES["salt_and_pepper"].tolerance)
    of_kept, of_extremes = (uniform_filter(np.float64(chosen), AROUND, axes=(0, 1)) for chosen in (kept, extreme))
    doubt = np.divide(of_kept, of_extremes, out=np.zeros_like(of_kept), where=extreme)
    return Detection(np.float32(~extreme | kept), restored, doubt.astype(np.float32))
