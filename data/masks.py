"""Masks of known pixels, and how the others are filled. A new way to find corrupted pixels is a line in `MASKS`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, uniform_filter
from skimage.restoration import inpaint_biharmonic

from data.errors import InvalidInput
from data.formats import Picture, read_picture
from data.images import Image, to_image

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
    "brighter than half way, white or a colour, where pixels are corrupted, or opaque there and transparent elsewhere"
)
MASKS: dict[str, FindMask | None] = {"unknown": None, "extremes": extremes, "black": black}
HALF = 0.5  # of a mask's range: more is a mark
SOFT = 0.1  # of its range: more beside a mark belongs to it. On camera up to 4 dB better than to grow every mark


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
    """The mask in an image file, where people mark the damaged pixels, see `marks`, for an image of that shape. A mark
    is what is over half way. Edges from a brush or from JPEG are soft: beside a mark all over `SOFT` is one too."""
    try:
        strength = marks(read_picture(Path(name)))
    except InvalidInput as error:
        raise InvalidInput(f"mask {name!r} cannot be read ({error}); allowed: an image of 8 or 16 bits") from None
    if strength.shape != shape[:2]:
        height, width = strength.shape
        raise InvalidInput(f"mask {name!r} has {width} x {height} pixels; allowed: {shape[1]} x {shape[0]}")
    marked = strength > HALF
    if not marked.any():
        allowed = "a mask that is brighter than half way where pixels are damaged"
        raise InvalidInput(f"mask {name!r} marks nothing; allowed: {allowed}")
    marked |= binary_dilation(marked) & (strength > SOFT)
    if marked.all():
        raise InvalidInput(f"mask {name!r} marks every pixel; allowed: a mask that leaves some")
    return MaskOfFile(np.float32(~marked))


def marks(picture: Picture) -> Image:
    """How strongly a mask marks every pixel, (height, width).

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
