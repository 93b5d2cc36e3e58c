"""Image files: how pixels and transparency are read from them and written to them, in 8 or 16 bits."""

import math
import operator
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from data.errors import InvalidInput

GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B")  # the modes of Pillow that are read
COLOUR = ("P", "PA", "RGB", "RGBA")
EXIF_ORIENTATION, TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_DESCRIPTION = 274, 258, 262, 270  # numbers of tags


class Picture(NamedTuple):
    """An image as it is stored."""

    pixels: np.ndarray  # uint8 or uint16, (height, width) or (height, width, 3)
    alpha: np.ndarray | None = None  # transparency, of the same type, (height, width)
    not_kept: tuple[str, ...] = ()  # what a restored image will not have


class Format(NamedTuple):
    """What a format can hold."""

    sixteen_bits: bool
    alpha: bool
    longest_side: float = math.inf  # pixels


FORMATS = {
    ".png": Format(True, True),
    ".tif": Format(True, True),
    ".tiff": Format(True, True),
    ".webp": Format(False, True, 16383),
    ".jpg": Format(False, False, 65500),
    ".jpeg": Format(False, False, 65500),
    ".bmp": Format(False, False),
}
UNREADABLE = (OSError, SyntaxError, RuntimeError, ValueError, Image.DecompressionBombError)  # Pillow has no common name


def read_picture(path: Path) -> Picture:
    """The image in a file that Pillow reads, turned upright as its EXIF data say. A palette becomes colours.

    Raises:
        InvalidInput: the file is missing or broken, or holds no single grey or colour image of 8 or 16 bits.
    """
    try:
        with Image.open(path) as image:
            return _read(image, path)
    except UNREADABLE as error:
        raise InvalidInput(str(error)) from None


def check_writable(path: Path, picture: Picture) -> None:
    """Refuses a file name whose format cannot hold the picture.

    Raises:
        InvalidInput: its ending is not known, or the format has no such bits, transparency or size.
    """
    pixels, alpha, _ = picture
    needed = pixels.dtype == np.uint16, alpha is not None, max(pixels.shape[:2])
    fitting = [ending for ending, held in FORMATS.items() if all(map(operator.ge, held, needed))]
    if path.suffix.lower() not in fitting:
        depth = f"{8 * pixels.dtype.itemsize} bits{'' if alpha is None else ' with transparency'}"
        raise InvalidInput(f"output is {str(path)!r}; allowed for an image of {depth}: a name in {', '.join(fitting)}")


def save_pixels(pixels: np.ndarray, path: Path, description: str = "", alpha: np.ndarray | None = None) -> None:
    """Writes an image in the format of the file's ending.

    Args:
        pixels: uint8 or uint16, (height, width) or (height, width, 3).
        path: the file, see `check_writable`.
        description: of where the image is from; BMP, WebP and a PNG of 16 bits have no place for it.
        alpha: transparency, see Picture.
    """
    check_writable(path, Picture(pixels, alpha))
    ending = path.suffix.lower()
    layers = pixels if alpha is None else np.dstack([pixels, alpha])
    if ending in (".tif", ".tiff"):
        tags = {"photometric": "minisblack" if pixels.ndim == 2 else "rgb", "compression": "zlib"}
        if alpha is not None:
            tags["extrasamples"] = ["unassalpha"]
        tifffile.imwrite(path, layers, description=description or None, metadata=None, **tags)
    elif pixels.dtype == np.uint16:  # Pillow has no colour of 16 bits
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(layers)))
    else:
        text = PngInfo()
        if description:
            text.add_text("Description", description)
        options = {".png": {"pnginfo": text}, ".webp": {"lossless": True}, ".bmp": {}}
        jpeg = {"quality": 95, "comment": description}
        Image.fromarray(layers).save(path, **options.get(ending, jpeg))


def read_description(path: Path) -> str:
    """The description that `save_pixels` gave a file; empty if it has none, or is no image."""
    try:
        with Image.open(path) as image:
            text = image.info.get("Description") or image.info.get("comment")
            if image.format == "TIFF":
                text = image.tag_v2.get(TIFF_DESCRIPTION)
    except UNREADABLE:
        return ""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text or "")


def _read(image: Image.Image, path: Path) -> Picture:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a JPEG whose further frames are previews
        raise InvalidInput(f"it has {image.n_frames} frames")
    if image.mode not in GREY + COLOUR:
        raise InvalidInput(f"it has mode {image.mode}; read are {', '.join(GREY + COLOUR)}")
    not_kept = [name for name, key in (("colour profile", "icc_profile"), ("EXIF data", "exif")) if key in image.info]
    if _has_wide_samples(image):
        layers = _read_wide(image, path)
    elif image.mode.startswith("I;16"):
        if (image.format == "TIFF" and image.tag_v2.get(TIFF_PHOTOMETRIC) == 0) or "transparency" in image.info:
            raise InvalidInput("it has 16 bits, and zero is white or a grey value is transparent")
        layers = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
    else:
        transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        mode = "L" if image.mode in GREY else "RGB"
        layers = np.asarray(ImageOps.exif_transpose(image).convert(mode + "A" if transparent else mode))
    if layers.ndim == 2 or layers.shape[2] == 3:
        return Picture(layers, None, tuple(not_kept))
    pixels = layers[..., 0] if layers.shape[2] == 2 else layers[..., :3]
    return Picture(*map(np.ascontiguousarray, (pixels, layers[..., -1])), tuple(not_kept))


def _has_wide_samples(image: Image.Image) -> bool:
    """Whether the file has samples of 16 bits that Pillow would cut to 8."""
    if image.mode not in ("LA", "RGB", "RGBA"):
        return False
    if image.format == "PNG":
        return "16" in str(image.tile[0].args)
    return image.format == "TIFF" and 16 in image.tag_v2.get(TIFF_BITS, ())


def _read_wide(image: Image.Image, path: Path) -> np.ndarray:
    layers = imagecodecs.png_decode(path.read_bytes()) if image.format == "PNG" else tifffile.imread(path)
    upright = image.getexif().get(EXIF_ORIENTATION, 1) == 1
    if layers.shape[:2] != (image.height, image.width) or layers.shape[2:] not in ((2,), (3,), (4,)) or not upright:
        raise InvalidInput(f"it has 16 bits and shape {layers.shape}, or is turned; read are upright images")
    return layers
