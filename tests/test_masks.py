"""Claims about masks in files: in whatever way people mark the damaged pixels, just those are marked."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from data.errors import InvalidInput
from data.images import load_image, to_pixels
from data.masks import load_mask, mask_finder, rim_looks_damaged

SHAPE = (60, 90)


def strokes(scale=1, width=2):
    """Strokes of a brush that is hard, or, in a larger image that is then reduced, soft: values in [0, 1]."""
    image = Image.new("L", (SHAPE[1] * scale, SHAPE[0] * scale))
    draw = ImageDraw.Draw(image)
    for line in ((5, 5, 80, 20), (10, 50, 40, 12), (60, 30, 62, 55)):
        draw.line([scale * value for value in line], fill=255, width=scale * width)
    return np.asarray(image.reduce(scale)) / 255


MARKED = strokes() > 0
ON = np.uint8(MARKED * 255)
OFF, FULL = np.zeros_like(ON), np.full_like(ON, 255)
LABELS = np.uint8(MARKED * np.where(np.arange(SHAPE[1]) < 45, 8, 1))  # classes


def picture(*channels):
    return Image.fromarray(np.stack(channels, axis=2) if len(channels) > 1 else channels[0])


def palette(*colours):
    """The mark is the palette's second colour; of three colours it is of classes, the second and the third."""
    image = Image.fromarray(np.uint8(MARKED if len(colours) == 2 else np.minimum(LABELS, 2))).convert("P")
    image.putpalette([value for colour in colours for value in colour])
    return image


FORMS = {
    **dict.fromkeys(("grey.png", "grey.bmp"), picture(ON)),
    **dict.fromkeys(("colours.png", "lossless.webp"), picture(ON, ON, ON)),
    "red on black.png": picture(ON, OFF, OFF),
    "blue on opaque black.png": picture(OFF, OFF, ON, FULL),
    "red on nothing.png": picture(ON, OFF, OFF, ON),
    "red on transparent white.png": picture(FULL, 255 - ON, 255 - ON, ON),
    "black on transparent white.png": picture(255 - ON, 255 - ON, 255 - ON, ON),
    "black on nothing.png": picture(OFF, ON),
    "white on nothing.png": picture(FULL, ON),
    "opaque.png": picture(ON, FULL),
    "palette.png": palette((0, 0, 0), (255, 255, 255)),
    "palette.gif": palette((10, 10, 10), (128, 0, 0)),  # as labels of segmentation are kept
    **dict.fromkeys(("one bit.png", "one bit.tif"), picture(ON).convert("1")),
    **dict.fromkeys(("sixteen bits.png", "sixteen bits.tif"), Image.fromarray(ON.astype(np.uint16) * 257)),
    **dict.fromkeys(("zeros and ones.png", "zeros and ones.npy"), picture(np.uint8(MARKED))),
    **{"half way.png": picture(ON // 2), "half opaque.png": picture(OFF, ON // 2), "bool.npy": MARKED},
    **dict.fromkeys(("float.tif", "float.npy"), np.float32(MARKED)),
    **dict.fromkeys(("classes.png", "classes.npy", "classes.tif"), picture(LABELS)),
    **{
        "signed classes.tif": LABELS - np.int32(1),
        "classes and a void.png": picture(np.where(LABELS == 8, 255, LABELS)),
    },
    "palette of classes.png": palette((0, 0, 0), (128, 0, 0), (64, 0, 0)),
}


def save(mask, path, **options):
    if path.suffix == ".npy":
        np.save(path, mask)
    elif isinstance(mask, np.ndarray):
        tifffile.imwrite(path, mask)
    else:
        mask.save(path, **options)


def read(path):
    return load_mask(str(path), SHAPE).known == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_mask_is_read_in_the_form_that_it_is_kept_in(form, tmp_path):
    options = {"one bit.tif": {"compression": "group4"}, "lossless.webp": {"lossless": True}}
    save(FORMS[form], tmp_path / form, **options.get(form, {}))
    np.testing.assert_array_equal(read(tmp_path / form), MARKED)


@pytest.mark.parametrize(("quality", "few"), [(40, 0.05), (75, 0.02), (95, 0)])
def test_a_jpeg_of_a_mask_misses_no_pixel_and_its_ringing_marks_few(quality, few, tmp_path):
    picture(ON).save(tmp_path / "mask.jpg", quality=quality)
    found = read(tmp_path / "mask.jpg")
    assert found[MARKED].all() and (found & ~MARKED).sum() <= few * MARKED.sum()


@pytest.mark.parametrize(("most", "name"), [(1, "grey.png"), (0.3, "dark.png"), (1, "grey.jpg"), (1, "black.png")])
@pytest.mark.parametrize("feathered", [0, 1, 3])
def test_soft_edges_are_marked_too_however_wide_also_of_thin_strokes_and_in_a_mask_that_is_dark(
    feathered, most, name, tmp_path
):
    """Beside strokes of a brush there is a broad one, so that thin ones are far below the mask's range if feathered."""
    covered = strokes(scale=8, width=3)
    covered[40:56, 4:20] = 1
    covered = gaussian_filter(covered, feathered) / gaussian_filter(covered, feathered).max()
    on = np.uint8(covered * most * 255)
    picture(*((255 - on, on) if name == "black.png" else (on,))).save(tmp_path / name, quality=75)
    found = read(tmp_path / name)
    assert found[covered > 0.15].all() and found[covered < 0.08].mean() <= (0.03 if name == "grey.jpg" else 0)


@pytest.mark.parametrize("name", ["camera", "chelsea"])
@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_that_is_too_small_is_noticed_and_one_that_is_not_is_not(name, value, tmp_path):
    hit, clean = np.kron(MARKED, np.ones((2, 2))) > 0, to_pixels(load_image(name, colour=True), np.uint8)
    damaged = np.where(hit[..., None], np.uint8(value), clean[60:180, 100:280])
    Image.fromarray(damaged).save(tmp_path / "a.jpg", quality=90)
    around = np.ones((3, 3))
    for pixels in (damaged, np.asarray(Image.open(tmp_path / "a.jpg"))):
        assert not rim_looks_damaged(pixels, ~hit) and not rim_looks_damaged(pixels, ~binary_dilation(hit, around))
        assert rim_looks_damaged(pixels, ~binary_erosion(hit, around))
    assert not rim_looks_damaged(damaged, np.random.default_rng(0).random(hit.shape) > 0.5)


def test_a_mask_says_how_much_it_marks_and_is_one_for_all_channels(tmp_path):
    picture(255 - ON).save(tmp_path / "inverted.png")
    find_mask = mask_finder(str(tmp_path / "inverted.png"), (*SHAPE, 3))
    assert find_mask.share == pytest.approx(1 - MARKED.mean())
    found = find_mask(np.zeros((*SHAPE, 3), dtype=np.float32))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.dstack([MARKED] * 3))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (picture(OFF), "marks nothing; allowed: a mask that is brighter where pixels are damaged"),
        (picture(OFF, FULL), "marks nothing"),
        (np.full(SHAPE, np.nan, np.float32), "cannot be read (it is no array of numbers)"),
        (picture(FULL, 255 - ON, 255 - ON), "marks every pixel; allowed"),  # red on white
        (Image.new("CMYK", SHAPE[::-1]), "cannot be read (it has mode CMYK"),
        (np.zeros((2, *SHAPE), np.uint8), "cannot be read (it has 2 frames"),
    ],
)
def test_a_mask_that_says_nothing_is_refused_in_a_line(mask, said, tmp_path):
    name = str(tmp_path / "mask.tif")
    save(mask, tmp_path / "mask.tif")
    with pytest.raises(InvalidInput, match=re.escape(f"mask {name!r} {said}")):
        mask_finder(name, SHAPE)
