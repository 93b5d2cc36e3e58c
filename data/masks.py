"""Masks of known pixels: functions noisy image -> mask, 1 where the pixel is good and 0 where it is corrupted.

A new way to find the corrupted pixels is a function and a line in `MASKS`.
"""

from collections.abc import Callable

import numpy as np

from data.errors import InvalidInput
from data.images import load_image

FindMask = Callable[[np.ndarray], np.ndarray]  # image, values in [0, 1] -> mask of its shape, float32


def extremes(noisy: np.ndarray) -> np.ndarray:
    """Black and white pixels are taken for corrupted, which finds salt and pepper."""
    return np.float32((noisy > 0) & (noisy < 1))


POSITIONS = "corrupted pixels: unknown, extremes (black and white), or a mask image, not black where corrupted"
MASKS: dict[str, FindMask | None] = {"unknown": None, "extremes": extremes}


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
