"""Masks of known pixels: functions noisy image -> mask, 1 where the pixel is good and 0 where it is corrupted.

A new way to find the corrupted pixels is a function and a line in `MASKS`; one for a kind of noise, in `UNTOUCHED`.
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import uniform_filter

from data.errors import InvalidInput
from data.images import load_image

FindMask = Callable[[np.ndarray], np.ndarray]  # image, values in [0, 1] -> mask of its shape, float32


def extremes(noisy: np.ndarray) -> np.ndarray:
    """Finds salt and pepper: black and white pixels are taken for corrupted, unless they lie in a black or white area.

    A pixel lies in an area if at least half of the 7 x 7 pixels around it, in its channel, have its value. So a burnt
    sky is kept, and of its edge all but the corners.
    """
    return not_isolated(noisy, 0) * not_isolated(noisy, 1)


def black(noisy: np.ndarray) -> np.ndarray:
    """Finds missing blocks: black pixels are taken for corrupted, unless half of the 31 x 31 around are black.

    Blocks of 4 x 4 pixels lie side by side, so `extremes` would take them for areas.
    """
    return not_isolated(noisy, 0, side=31)


def not_isolated(noisy: np.ndarray, value: float, side: int = 7) -> np.ndarray:
    """Pixels of that value are taken for corrupted, unless half of the side x side around have it: see `extremes`."""
    same = noisy == value
    return np.float32(~same | (uniform_filter(np.float32(same), side, axes=(0, 1)) >= 0.5))


POSITIONS = (
    "corrupted pixels: unknown, extremes (black and white specks), black (blocks), or an image file that is not black "
    "where pixels are corrupted"
)
MASKS: dict[str, FindMask | None] = {"unknown": None, "extremes": extremes, "black": black}
# Finds the pixels that a corruption has not touched, from their values. For a corruption without a line here values do
# not show it.
UNTOUCHED: dict[str, FindMask] = {
    "salt_and_pepper": extremes,
    "missing_blocks": black,
    "gaussian_and_impulses": extremes,
}
# A pixel that a restored image differs from by less than this was not corrupted, or its error does not matter. Values
# are in [0, 1]. Missing blocks have no line: a network for unknown positions does not change them.
UNCHANGED = {"salt_and_pepper": 0.03, "random_valued": 0.08}


class MaskOfFile:
    """The mask of one image, read from a file, as a function like those in `MASKS`.

    Args:
        known: (height, width), 1 where a pixel is good.
    """

    def __init__(self, known: np.ndarray) -> None:
        self.known = known

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """The mask of the image, or of each of its channels the same."""
        return self.known if noisy.ndim == 2 else np.repeat(self.known[..., None], noisy.shape[2], axis=2)


def mask_finder(name: str, shape: tuple[int, ...]) -> FindMask | None:
    """The function that finds the mask of an image of that shape; None if the corrupted pixels are unknown.

    Args:
        name: a name in `MASKS`, or the path of a grey image of the same size that is not black where pixels are
            corrupted.
        shape: (height, width) or (height, width, channels).

    Raises:
        InvalidInput: there is no such name or file, or the file is not grey or has another size.
    """
    if name in MASKS:
        return MASKS[name]
    try:
        marked = load_image(name)
    except InvalidInput as error:
        raise InvalidInput(f"positions are {name!r}; allowed: {', '.join(MASKS)}, or a mask ({error})") from None
    if marked.shape != shape[:2]:
        size = " x ".join(map(str, marked.shape[1::-1] + marked.shape[2:]))
        raise InvalidInput(f"mask {name!r} has {size}; allowed: a grey one of {shape[1]} x {shape[0]} pixels")
    return MaskOfFile(np.float32(marked == 0))
