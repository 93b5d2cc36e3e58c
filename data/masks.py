"""Masks of known pixels, and how the others are filled. A new way to find corrupted pixels is a line in `MASKS`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_propagation, distance_transform_edt, maximum_filter, uniform_filter
from skimage.restoration import inpaint_biharmonic

from data.errors import InvalidInput
from data.formats import TYPES, Picture, read_picture
from data.images import Image

Mask = np.ndarray  # float32, of the shape of an Image: 1 where the pixel is good, 0 where it is corrupted
FindMask = Callable[[Image], Mask]


def extremes(noisy: Image) -> Mask:
    """Finds salt and pepper: black and white pixels are taken for corrupted, unless at least half of the 7 x 7 around,
    in their channel, have their value: an area. So a burnt sky is kept, and of its edge all but the corners."""
    return not_isolated(noisy, 0) * not_isolated(noisy, 1)


def black(noisy: Image) -> Mask:
    """Finds missing blocks: black pixels are taken for corrupted, unless half of the 31 x 31 around are black. Blocks
    of 4 x 4 pixels lie side by side, so `extremes` would take them for areas."""
    return not_isolated(noisy, 0, side=31)


def not_isolated(noisy: Image, value: float, side: int = 7) -> Mask:
    """Pixels of that value are taken for corrupted, unless half of the side x side around have it: see `extremes`."""
    same = noisy == value
    return np.float32(~same | (uniform_filter(np.float32(same), side, axes=(0, 1)) >= 0.5))


POSITIONS = (
    "corrupted pixels: unknown, extremes (black and white specks), black (blocks), or a mask, an image file that is "
    "brighter, white or a colour, where pixels are corrupted, or opaque there and transparent elsewhere; or a .npy"
)
MASKS: dict[str, FindMask | None] = {"unknown": None, "extremes": extremes, "black": black}
NUMBERS = (*TYPES, np.int8, np.int16, np.int32, np.uint32, np.float16, np.float32, np.float64)  # of a mask in a TIFF
STROKE = 0.25  # of a mask's range: drawn lines of 2 pixels, feathered by 3, have 0.27; in JPEGs, quality 75, rings 0.15
SOFT = 0.1  # of its range: more beside a mark belongs to it. On camera up to 4 dB better than to grow every mark
SEEN = 0.02  # of a picture's range; on validation and training images and drawn pages no exact mask is too small
CLASSES = 32  # values of a picture of classes at most; those of PASCAL VOC have 22


@dataclass(frozen=True)
class MaskOfFile:
    """The mask of one image, read from a file, as a function like those in `MASKS`."""

    known: Mask  # (height, width)

    def __call__(self, noisy: Image) -> Mask:
        """The mask of the image, or of each of its channels the same."""
        return self.known if noisy.ndim == 2 else np.repeat(self.known[..., None], noisy.shape[2], axis=2)

    @property
    def share(self) -> float:
        """The share of the pixels that are marked, above 0 and below 1; over a half, the mask may be inverted."""
        return float((self.known == 0).mean())


def mask_finder(name: str, shape: tuple[int, ...]) -> FindMask | None:
    """The function in `MASKS`, or the mask in a file for an image of that shape; None for unknown positions."""
    if name not in MASKS and not Path(name).is_file():
        raise InvalidInput(f"positions are {name!r}; allowed: {', '.join(MASKS)}, or a mask, an image file")
    return MASKS[name] if name in MASKS else load_mask(name, shape)


def load_mask(name: str, shape: tuple[int, ...]) -> MaskOfFile:
    """The mask in a file, where people mark the damaged pixels, for an image of that shape; see `marks`, `marked`."""
    try:
        strength = np.load(name) if name.lower().endswith(".npy") else marks(read_picture(Path(name), NUMBERS))
        strength = np.asarray_chkfinite(strength, dtype=np.float64)
    except (ValueError, TypeError, OSError, EOFError) as error:  # the others are of NumPy
        reason = error if isinstance(error, InvalidInput | OSError) else "it is no array of numbers"
        raise InvalidInput(f"mask {name!r} cannot be read ({reason}); allowed: an image file, or an array") from None
    if strength.shape != shape[:2]:
        size = " x ".join(map(str, strength.shape[::-1]))
        raise InvalidInput(f"mask {name!r} has {size} pixels; allowed: {shape[1]} x {shape[0]}")
    if np.ptp(strength) == 0:
        found = "every pixel" if strength.any() else "nothing"
        raise InvalidInput(f"mask {name!r} marks {found}; allowed: a mask that is brighter where pixels are damaged")
    return MaskOfFile(np.float32(~marked((strength - strength.min()) / np.ptp(strength))))


def marked(strength: np.ndarray) -> np.ndarray:
    """Where a mask with values from 0 to 1 marks, bool: its strokes, or of classes all but the most frequent.

    What is connected is a stroke if some of it is over `STROKE`. Its rim may be soft: it goes down to `SOFT`, or to the
    strongest of what no stroke reaches, as a JPEG rings. Classes have few values, of which most lie in areas and not on
    slopes: few of their pixels touch a larger one.
    """
    values, counts = np.unique(strength, return_counts=True)
    if 2 < len(values) <= CLASSES:
        on_slope = maximum_filter(strength, 3) > strength
        if np.median([on_slope[strength == value].mean() for value in values[1:-1]]) < 0.5:
            return strength != values[counts.argmax()]
    strokes = strength > STROKE
    stray = strength[~binary_propagation(strokes, mask=strength > SOFT)].max()
    return binary_propagation(strokes, mask=strength > max(SOFT, stray))


def marks(picture: Picture) -> np.ndarray:
    """How strongly a mask marks every pixel, (height, width).

    By its colour, of which the brightest channel counts, so that red on black is a mark; what is transparent is none.
    Where that marks little, as with black strokes on nothing, how opaque a pixel is counts alone, if that differs.
    """
    strength, opacity = np.atleast_3d(picture.pixels).max(axis=2), picture.alpha
    if opacity is None:
        return strength
    seen = np.minimum(strength, opacity)
    return opacity if np.ptp(opacity) > 0 and seen.max() <= opacity.max() / 2 else seen


def rim_looks_damaged(pixels: np.ndarray, known: Mask | np.ndarray) -> bool:
    """Whether damage seems to go on beside a mask: at a distance of 1, 2 or 3 known pixels differ twice as much from
    the mean of those one farther as they do at 4 to 6. What is filled in is no sign: it continues a white rim."""
    image, away = np.atleast_3d(np.float32(pixels)), np.rint(distance_transform_edt(known))
    if away.max() <= 6:
        return False
    steps = []
    for distance in range(1, 7):
        farther = np.float32(away == distance + 1)[..., None]
        total, share = (uniform_filter(array, 3, axes=(0, 1)) for array in (image * farther, farther))
        here = (away == distance) & (share[..., 0] > 0.1)  # one pixel of nine, or more
        steps.append(np.abs(image[here] - total[here] / share[here]).mean() if here.any() else 0)
    return bool(max(steps[:3]) > 2 * np.mean(steps[3:]) + SEEN * np.ptp(image))


def inpainted(image: Image, known: Mask | np.ndarray) -> Image:
    """scikit-image's biharmonic inpainting (Damelin & Hoang 2018) of what is not known. Known pixels are 1 or True.
    They are of the image's shape, or (height, width) for all channels alike."""
    if not known.any():
        raise InvalidInput("the mask marks every pixel as corrupted; allowed: one that leaves some")
    if image.ndim == 3:
        masks = np.broadcast_to(known if known.ndim == 3 else known[..., None], image.shape)
        return np.dstack([inpainted(image[..., channel], masks[..., channel]) for channel in range(image.shape[2])])
    return inpaint_biharmonic(image, known == 0, split_into_regions=True).clip(0, 1).astype(np.float32)


def extended(image: Image, seen: np.ndarray) -> Image:
    """What is not seen, (height, width), becomes the nearest pixel that is: nothing there counts as a photograph."""
    if not seen.any():
        return image
    rows, columns = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return image[rows, columns]
