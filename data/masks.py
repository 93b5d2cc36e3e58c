"""Masks of known pixels: functions noisy image -> mask. A new way to find corrupted pixels is a line in `MASKS`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, uniform_filter

from data.errors import InvalidInput
from data.formats import Picture, read_picture
from data.images import Image, to_image

Mask = np.ndarray  # float32, of the shape of an Image: 1 where the pixel is good, 0 where it is corrupted
FindMask = Callable[[Image], Mask]


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
    "corrupted pixels: unknown, extremes (black and white specks), black (blocks), or a mask, an image file that is "
    "brighter than half way, white or a colour, where pixels are corrupted, or opaque there and transparent elsewhere"
)
MASKS: dict[str, FindMask | None] = {"unknown": None, "extremes": extremes, "black": black}
HALF = 0.5  # of a mask's range: more is a mark
SOFT = 0.1  # of its range: more beside a mark belongs to it. On camera up to 4 dB better than to grow every mark


class MaskOfFile:
    """The mask of one image, read from a file, as a function like those in `MASKS`.

    Args:
        known: (height, width), 1 where a pixel is good, 0 where it is marked.
    """

    def __init__(self, known: np.ndarray) -> None:
        self.known = known

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """The mask of the image, or of each of its channels the same."""
        return self.known if noisy.ndim == 2 else np.repeat(self.known[..., None], noisy.shape[2], axis=2)

    @property
    def share(self) -> float:
        """The share of the pixels that are marked, above 0 and below 1; over a half, the mask may be inverted."""
        return float((self.known == 0).mean())


def mask_finder(name: str, shape: tuple[int, ...]) -> FindMask | None:
    """The function that finds the mask of an image of that shape; None if the corrupted pixels are unknown.

    Args:
        name: a name in `MASKS`, or the path of a mask, see `load_mask`.
        shape: (height, width) or (height, width, channels).

    Raises:
        InvalidInput: there is no such name or file, or the file is no such mask.
    """
    if name in MASKS:
        return MASKS[name]
    if not Path(name).is_file():
        raise InvalidInput(f"positions are {name!r}; allowed: {', '.join(MASKS)}, or a mask, an image file")
    return load_mask(name, shape)


def load_mask(name: str, shape: tuple[int, ...]) -> MaskOfFile:
    """The mask in an image file, where people mark the damaged pixels, see `marks`.

    A mark is what is over half way. Edges from a brush or from JPEG are soft: beside a mark all over `SOFT` is one too.

    Args:
        name: the path of a file that data.formats reads.
        shape: of the image to restore, (height, width) or (height, width, channels).

    Raises:
        InvalidInput: the file cannot be read, has another size than the image, or marks nothing or everything.
    """
    try:
        strength = marks(read_picture(Path(name)))
    except InvalidInput as error:
        raise InvalidInput(f"mask {name!r} cannot be read ({error}); allowed: an image of 8 or 16 bits") from None
    if strength.shape != shape[:2]:
        height, width = strength.shape
        raise InvalidInput(f"mask {name!r} has {width} x {height} pixels; allowed: {shape[1]} x {shape[0]}")
    marked = strength > HALF
    if not marked.any():
        raise InvalidInput(
            f"mask {name!r} marks nothing; allowed: a mask that is brighter than half way where pixels are damaged"
        )
    marked |= binary_dilation(marked) & (strength > SOFT)
    if marked.all():
        raise InvalidInput(f"mask {name!r} marks every pixel; allowed: a mask that leaves some")
    return MaskOfFile(np.float32(~marked))


def marks(picture: Picture) -> np.ndarray:
    """How strongly a mask marks every pixel, values in [0, 1], float32, (height, width).

    By its colour, of which the brightest channel counts, so that red on black is a mark; what is transparent is none.
    Where that marks nothing, as with black strokes on nothing, how opaque a pixel is counts alone, if that differs.
    """
    strength = to_image(picture.pixels)
    strength = strength.max(axis=2) if strength.ndim == 3 else strength
    if picture.alpha is None:
        return strength
    opacity = to_image(picture.alpha)
    seen = np.minimum(strength, opacity)
    return seen if (seen > HALF).any() or (opacity > HALF).all() else opacity
