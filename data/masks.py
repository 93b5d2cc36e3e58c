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
    """Black and white pixels are taken for corrupted, unless they lie in a black or white area; finds salt and pepper.

    A pixel lies in an area if at least half of the 7 x 7 pixels around it, in its channel, have its value. So a burnt
    sky is kept, and of its edge all but the corners.
    """
    return not_isolated(noisy, 0) * not_isolated(noisy, 1)


def black(noisy: np.ndarray) -> np.ndarray:
    """Black pixels are taken for corrupted, unless half of the 31 x 31 around are black; finds missing blocks.

    Blocks of 4 x 4 pixels lie side by side, so `extremes` would take them for areas.
    """
    return not_isolated(noisy, 0, side=31)


def not_isolated(noisy: np.ndarray, value: float, side: int = 7) -> np.ndarray:
    """Pixels of that value are taken for corrupted, unless half of the side x side around have it: see `extremes`."""
    same = noisy == value
    window = (side, side) if noisy.ndim == 2 else (side, side, 1)
    return np.float32(~same | (uniform_filter(np.float32(same), window) >= 0.5))


POSITIONS = "corrupted pixels: unknown, extremes (black and white specks), black (blocks), or a mask, not black there"
MASKS: dict[str, FindMask | None] = {"unknown": None, "extremes": extremes, "black": black}
# The pixels that a corruption of data.corruption has not touched, as far as their values tell. Where a corruption has
# no line here, nothing can be told.
UNTOUCHED: dict[str, FindMask] = {
    "salt_and_pepper": extremes,
    "missing_blocks": black,
    "gaussian_and_impulses": extremes,
}
# A pixel that a restored image differs from by less than this was not corrupted, or its error does not matter. Values
# are in [0, 1]. Missing blocks have no line: a network for unknown positions does not change them.
UNCHANGED = {"salt_and_pepper": 0.03, "random_valued": 0.08}


def mask_finder(name: str, shape: tuple[int, ...]) -> FindMask | None:
    """The function that finds the mask of an image of that shape; None if the corrupted pixels are unknown.

    Args:
        name: a name in `MASKS`, or the path of a grey image of the same size. The latter is not black where the image
            is corrupted.
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
        given = " x ".join(map(str, marked.shape[1::-1] + marked.shape[2:]))
        raise InvalidInput(f"mask {name!r} has {given}; allowed: a grey one of {shape[1]} x {shape[0]} pixels")
    mask = np.float32(marked == 0)
    return lambda noisy: mask if noisy.ndim == 2 else np.repeat(mask[..., None], noisy.shape[2], axis=2)
