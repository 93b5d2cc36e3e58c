"""Image files: how pixels, transparency and a TIFF's extra samples are read and written, in 8 or 16 bits."""

import logging
import math
import operator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from data.errors import InvalidInput

GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B")  # the modes of Pillow that are read
COLOUR = ("P", "PA", "RGB", "RGBA")
ORIENTATION, TIFF_PHOTOMETRIC, TIFF_PROFILE = 274, 262, 34675  # numbers of tags
TIFF_COLOURS = {tifffile.PHOTOMETRIC.MINISBLACK: 1, tifffile.PHOTOMETRIC.RGB: 3}  # other TIFFs are left to Pillow
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are of large files
TIFF_LARGEST = 8 * Image.MAX_IMAGE_PIXELS  # values: four for every pixel of the largest image that Pillow reads
ALPHA, PREMULTIPLIED = tifffile.EXTRASAMPLE.UNASSALPHA, tifffile.EXTRASAMPLE.ASSOCALPHA
# What turns an image upright, by its orientation in EXIF: whether to mirror it, then quarter turns to the left.
TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is said in one line
TYPES = (np.uint8, np.uint16)
Layers = np.ndarray  # of an image as it is stored: uint8 or uint16, (height, width) or (height, width, n)


class Picture(NamedTuple):
    """An image as it is stored."""

    pixels: Layers  # (height, width) or (height, width, 3)
    alpha: Layers | None = None  # transparency, of the same type, (height, width)
    not_kept: tuple[str, ...] = ()  # what a restored image will not have
    extra: Layers | None = None  # further samples of a TIFF, such as infrared, likewise, (height, width, n)


class Format(NamedTuple):
    """What a format can hold."""

    sixteen_bits: bool
    alpha: bool
    longest_side: float = math.inf  # pixels
    extra: bool = False  # samples
    pages: float = 1


FORMATS = {
    ".png": Format(True, True),
    ".tif": Format(True, True, extra=True, pages=math.inf),
    ".tiff": Format(True, True, extra=True, pages=math.inf),
    ".webp": Format(False, True, 16383),
    ".jpg": Format(False, False, 65500),
    ".jpeg": Format(False, False, 65500),
    ".bmp": Format(False, False),
}
READ = (*FORMATS, ".gif", ".avif", ".jp2")  # the endings of files that a folder is searched for


def pictures_in(folder: str) -> list[str]:
    """The files of a folder with an ending in `READ`, in the order of their names; not those of folders below it, nor
    hidden ones."""
    return sorted(str(path) for path in Path(folder).glob("[!.]*") if path.suffix.lower() in READ)


def read_picture(path: Path, types: tuple = TYPES) -> Picture:
    """The single image in a file; see `read_pages`. It may be of other types, of TIFFs, which masks have."""
    return read_pages(path, 1, types)[0]


def read_pages(path: Path, most: float = math.inf, types: tuple = TYPES) -> list[Picture]:
    """The grey or colour image in a file, upright as its EXIF data say; a palette becomes colours. A TIFF may hold more
    of a kind, at most so many. Of its further samples the first that its ExtraSamples call alpha is the transparency,
    the others are `extra`."""
    try:
        with path.open("rb") as file:
            is_tiff = file.read(4) in TIFF_STARTS
        return (is_tiff and _read_tiff(path, most, types)) or [_read(path)]
    except Exception as error:  # of a broken file Pillow and tifffile raise nearly any
        raise InvalidInput(str(error)) from None


def check_writable(path: Path, picture: Picture, pages: int = 1) -> None:
    """Refuses a file name whose ending is not known, or whose format has no such bits, transparency, size or pages."""
    pixels, alpha = picture[:2]
    needed = pixels.dtype == np.uint16, alpha is not None, max(pixels.shape[:2]), False, pages
    fitting = [ending for ending, held in FORMATS.items() if all(map(operator.ge, held, needed))]
    if path.suffix.lower() not in fitting:
        depth = f"{8 * pixels.dtype.itemsize} bits{'' if alpha is None else ' with transparency'}"
        depth += f" and {pages} pages" * (pages > 1)
        raise InvalidInput(f"output is {str(path)!r}; allowed for an image of {depth}: a name in {', '.join(fitting)}")


def not_kept(path: Path, picture: Picture) -> tuple[str, ...]:
    """The names of what a restored image in a file of that name, see `check_writable`, will not have."""
    if picture.extra is None or FORMATS[path.suffix.lower()].extra:
        return picture.not_kept
    return *picture.not_kept, "samples beyond the colours, such as infrared (a .tif keeps them)"


def save_pixels(
    pixels: Layers, path: Path, alpha: Layers | None = None, extra: Layers | None = None, append: bool = False
) -> None:
    """Writes an image, see Picture, in the format of the file's ending, see `check_writable` and `not_kept`. To a TIFF
    that is there already it may be appended, as a page."""
    check_writable(path, Picture(pixels, alpha))
    ending = path.suffix.lower()
    extra = extra if FORMATS[ending].extra else None
    beyond = ["unassalpha"] * (alpha is not None) + ["unspecified"] * (0 if extra is None else extra.shape[2])
    layers = np.dstack([samples for samples in (pixels, alpha, extra) if samples is not None]) if beyond else pixels
    if ending in (".tif", ".tiff"):
        kind, plan = "minisblack" if pixels.ndim == 2 else "rgb", "contig" if beyond else None
        tags = {"photometric": kind, "planarconfig": plan, "extrasamples": beyond, "compression": "zlib"}
        tifffile.imwrite(path, layers, metadata=None, append=append, **tags)
    elif pixels.dtype == np.uint16:  # Pillow has no colour of 16 bits
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(layers)))
    else:
        options = {"lossless": True, "exact": True} if ending == ".webp" else {"quality": 95}
        Image.fromarray(layers).save(path, **options)


def quantization(name: str) -> dict[int, list[int]] | None:
    """The tables by which a JPEG was quantized; None for what is none."""
    with suppress(Exception), Image.open(name) as image:
        return getattr(image, "quantization", None) or None
    return None


def _read(path: Path) -> Picture:
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a JPEG whose further frames are previews
            raise InvalidInput(f"it has {image.n_frames} frames")
        if image.mode not in GREY + COLOUR:
            raise InvalidInput(f"it has mode {image.mode}; read are {', '.join(GREY + COLOUR)}")
        names = {"icc_profile": "colour profile", "exif": "EXIF data"}
        not_kept = tuple(name for key, name in names.items() if key in image.info)
        if image.format == "PNG" and image.mode in ("LA", "RGB", "RGBA") and "16" in str(image.tile[0].args):
            layers = imagecodecs.png_decode(path.read_bytes())  # Pillow would cut the samples to 8 bits
        elif image.mode.startswith("I;16"):
            if (image.format == "TIFF" and image.tag_v2.get(TIFF_PHOTOMETRIC) == 0) or "transparency" in image.info:
                raise InvalidInput("it has 16 bits, and zero is white or a grey value is transparent")
            layers = np.asarray(image).astype(np.uint16)
        else:
            transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
            mode = "L" if image.mode in GREY else "RGB"
            layers = np.asarray(image.convert(mode + "A" if transparent else mode))
        layers = _upright(layers, image.getexif().get(ORIENTATION, 1))
    if layers.ndim == 2 or layers.shape[2] == 3:
        return Picture(layers, None, not_kept)
    pixels = layers[..., 0] if layers.shape[2] == 2 else layers[..., :3]
    return Picture(*map(np.ascontiguousarray, (pixels, layers[..., -1])), not_kept)


def _read_tiff(path: Path, most: float, types: tuple) -> list[Picture] | None:
    """A TIFF of grey values or colours in whole bytes, as planes or not. None for others, which are left to Pillow."""
    with tifffile.TiffFile(path) as file:
        page, count, colours = file.pages[0], len(file.pages), TIFF_COLOURS.get(file.pages[0].photometric)
        if colours is None or page.dtype not in types or page.bitspersample != 8 * page.dtype.itemsize:
            return None
        if count > most:
            raise InvalidInput(f"it has {count} frames")
        if len({(page.photometric, page.extrasamples, page.dtype, page.shape) for page in file.pages}) > 1:
            raise InvalidInput(f"its {count} pages are not alike in shape and type")
        if page.axes not in ("YX", "YXS", "SYX") or page.samplesperpixel < colours or page.size * count > TIFF_LARGEST:
            raise InvalidInput(f"it has {page.samplesperpixel} samples per pixel, and {count} x {page.shape} in all")
        return [_read_page(page, colours) for page in file.pages]


def _read_page(page: tifffile.TiffPage, colours: int) -> Picture:
    """The image on a page of a TIFF."""
    layers = np.moveaxis(page.asarray(), 0, -1) if page.axes == "SYX" else np.atleast_3d(page.asarray())
    layers = _upright(layers, page.tags.valueof(ORIENTATION, default=1))
    not_kept, further = ("colour profile",) if TIFF_PROFILE in page.tags else (), page.extrasamples
    pixels, beyond, alpha = layers[..., :colours], layers[..., colours:], None
    places = [place for place, kind in enumerate(further[: beyond.shape[2]]) if kind in (ALPHA, PREMULTIPLIED)]
    if places:
        alpha, beyond = beyond[..., places[0]], np.delete(beyond, places[0], axis=2)
        if further[places[0]] == PREMULTIPLIED:
            shares = np.minimum(pixels / np.maximum(alpha, 1)[..., None], 1)
            pixels = np.rint(shares * np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    if colours == 1 and beyond.shape[2] > 1:  # as bands of a satellite, of which grey is one
        raise InvalidInput(f"it has {page.samplesperpixel} samples per pixel, and they are no colours")
    pixels = np.ascontiguousarray(pixels[..., 0] if colours == 1 else pixels)
    return Picture(pixels, alpha, not_kept, beyond if beyond.size else None)


def _upright(layers: Layers, orientation: int) -> Layers:
    """The layers, turned as an orientation of EXIF asks for."""
    mirrored, quarters = TURNS.get(orientation, (False, 0))
    return np.ascontiguousarray(np.rot90(layers[:, ::-1] if mirrored else layers, quarters))
