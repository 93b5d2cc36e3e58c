"""Claims about pixels: images, corruption, patches and the dictionary."""

import io
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from imagecodecs import png_encode
from PIL import Image
from scipy.stats import kstest, norm
from sklearn.linear_model import orthogonal_mp

from data import dictionary
from data.damage import DAMAGES, grain, rounding
from data.dictionary import learn_dictionary, load_constraint, load_dictionary
from data.drawings import drawn_pages
from data.errors import InvalidInput
from data.formats import FORMATS, Picture, check_writable, not_kept, read_picture, save_pixels
from data.images import (
    TEST_IMAGES,
    TRAINING_IMAGES,
    VALIDATION_IMAGES,
    clipped,
    load_image,
    load_pixels,
    load_training_images,
    opaque,
    reduced,
    to_grey,
    to_image,
    with_random_contrast,
)
from data.masks import extended, inpainted, mask_finder
from data.patches import PatchGrid, random_patches
from data.synthetic import gaussian_dictionary, sparse_samples
from tests.helpers import missing_blocks, png_of, refusal, salt_and_pepper


def random_image(height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((height, width), dtype=np.float32))


def test_lena_is_the_classic_one():
    grey = np.rint(load_image("lena") * 255)
    assert grey.shape == (512, 512)
    assert (grey.min(), grey.max(), round(grey.mean(), 2)) == (25, 245, 124.05)


def test_each_image_has_one_role_and_can_be_read():
    names = TEST_IMAGES + VALIDATION_IMAGES + TRAINING_IMAGES
    assert len(set(names)) == len(names)
    for name in names:
        image = load_image(name)
        assert image.ndim == 2 and image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1
        assert load_image(name, colour=True).shape == (*image.shape, 3)


def test_sixteen_bits_are_those_of_another_reader(tmp_path):
    """Files that others wrote: Pillow for grey, and by hand for colour."""
    grey = np.random.default_rng(0).integers(65536, size=(5, 6), dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(load_pixels(str(tmp_path / "grey.png")), grey)
    colour = np.random.default_rng(1).integers(65536, size=(5, 6, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    (tmp_path / "colour.png").write_bytes(png_of(6, 5, rows, bits=16, colour=2))
    np.testing.assert_array_equal(load_pixels(str(tmp_path / "colour.png")), colour)


@pytest.mark.parametrize(("name", "shape", "dtype"), [("a.jpg", (16, 32, 3), np.uint8), ("a.png", (16, 32), np.uint16)])
def test_photographs_are_turned_upright(name, shape, dtype, tmp_path):
    pixels = np.zeros(shape, dtype=dtype)
    pixels[:8, 16:] = np.iinfo(dtype).max  # on the right above
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / name, exif=exif)
    upright = load_pixels(str(tmp_path / name))
    assert upright.dtype == dtype
    np.testing.assert_allclose(upright / np.iinfo(dtype).max, np.rot90(pixels, -1) > 0, atol=0.1)


def test_jpeg_is_written_for_8_bits_and_refused_for_16(tmp_path):
    pixels = np.full((20, 20, 3), 100, dtype=np.uint8)
    save_pixels(pixels, tmp_path / "image.jpg")
    assert np.abs(load_pixels(str(tmp_path / "image.jpg")).astype(int) - 100).max() <= 2
    for dtype, name in ((np.uint16, "image.jpg"), (np.uint8, "image.gif"), (np.uint8, "image")):
        with pytest.raises(InvalidInput, match="output is .*; allowed for an image of (8|16) bits: a name in .png"):
            check_writable(tmp_path / name, Picture(pixels.astype(dtype)))
    for ending in ("jpg", "bmp"):
        with pytest.raises(InvalidInput, match="for an image of 8 bits with transparency: a name in .png, .tif"):
            check_writable(tmp_path / f"image.{ending}", Picture(pixels, pixels[..., 0]))
    check_writable(tmp_path / "wide.bmp", Picture(np.zeros((1, 17_000), dtype=np.uint8)))
    with pytest.raises(InvalidInput, match="allowed"):
        check_writable(tmp_path / "wide.webp", Picture(np.zeros((1, 17_000), dtype=np.uint8)))


TRANSPARENT = [(ending, np.uint8) for ending, form in FORMATS.items() if form.alpha]
TRANSPARENT += [(ending, np.uint16) for ending, form in FORMATS.items() if form.alpha and form.sixteen_bits]


@pytest.mark.parametrize("shape", [(20, 31), (20, 31, 3)])
@pytest.mark.parametrize(("ending", "dtype"), TRANSPARENT)
def test_transparency_is_kept_in_every_format_that_has_it(ending, dtype, shape, tmp_path):
    pixels = np.random.default_rng(0).integers(np.iinfo(dtype).max + 1, size=shape, dtype=dtype)
    alpha = np.random.default_rng(1).integers(1, np.iinfo(dtype).max + 1, size=shape[:2], dtype=dtype)
    save_pixels(pixels, tmp_path / f"image{ending}", alpha=alpha)
    again = read_picture(tmp_path / f"image{ending}")
    np.testing.assert_array_equal(again.alpha, alpha)
    grey = ending == ".webp" and len(shape) == 2  # WebP has colours alone
    np.testing.assert_array_equal(again.pixels, np.repeat(pixels[..., None], 3, axis=2) if grey else pixels)


def test_screenshots_of_other_programs_are_read(tmp_path):
    """RGBA, grey with alpha, palettes with and without a transparent entry, a transparent colour, black and white."""
    rgba = Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 30, 4), dtype=np.uint8))
    rgba.save(tmp_path / "screenshot.png")
    rgba.convert("LA").save(tmp_path / "grey.png")
    rgba.convert("RGB").convert("P").save(tmp_path / "palette.png", transparency=3)
    rgba.convert("RGB").save(tmp_path / "colour.png", transparency=tuple(np.asarray(rgba)[0, 0, :3].tolist()))
    for name in ("screenshot", "grey", "palette", "colour"):
        picture = read_picture(tmp_path / f"{name}.png")
        expected = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGBA"))
        np.testing.assert_array_equal(picture.alpha, expected[..., 3])
        pixels = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[..., None], 3, axis=2)
        np.testing.assert_array_equal(pixels, expected[..., :3])
    for ending, mode, read in (("bmp", "RGB", "RGB"), ("webp", "RGB", "RGB"), ("gif", "P", "RGB"), ("png", "1", "L")):
        image = rgba.convert("RGB").convert(mode)
        image.save(tmp_path / f"image.{ending}", lossless=True)
        expected = np.asarray(image.convert(read))
        np.testing.assert_array_equal(load_pixels(str(tmp_path / f"image.{ending}")), expected)


def test_what_will_not_be_kept_is_known(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.new("RGB", (20, 20)).save(tmp_path / "photograph.jpg", exif=exif, icc_profile=b"profile")
    assert read_picture(tmp_path / "photograph.jpg").not_kept == ("colour profile", "EXIF data")


def tiff(path, dtype, colours, kinds, planar="contig", **options):
    """Writes a TIFF whose samples beyond the colours are of these kinds; its samples, (20, 31, n)."""
    samples = np.random.default_rng(0).integers(
        np.iinfo(dtype).max + 1, size=(20, 31, colours + len(kinds)), dtype=dtype
    )
    layers = np.moveaxis(samples, -1, 0) if planar == "separate" else samples
    options["photometric"] = "minisblack" if colours == 1 else "rgb"
    tifffile.imwrite(path, layers, extrasamples=kinds, planarconfig=planar, metadata=None, **options)
    return samples


TIFFS = [(3, []), (1, ["unspecified"]), (3, ["unspecified"]), (3, ["unspecified", "unspecified"])]
TIFFS += [(1, ["unassalpha"]), (3, ["unassalpha"]), (3, ["unassalpha", "unspecified"])]


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("colours", "kinds"), TIFFS)
def test_every_sample_of_a_tiff_is_read_and_written_for_what_it_is(
    colours, kinds, dtype, planar, compression, tmp_path
):
    """Infrared is no transparency, and stays as it is."""
    samples = tiff(tmp_path / "scan.tif", dtype, colours, kinds, planar, compression=compression)
    picture = read_picture(tmp_path / "scan.tif")
    np.testing.assert_array_equal(np.atleast_3d(picture.pixels), samples[..., :colours])
    assert (picture.alpha is not None) == ("unassalpha" in kinds) and not_kept(Path("a.tif"), picture) == ()
    save_pixels(picture.pixels, tmp_path / "again.TIF", alpha=picture.alpha, extra=picture.extra)
    with tifffile.TiffFile(tmp_path / "again.TIF") as file:
        np.testing.assert_array_equal(np.atleast_3d(file.asarray()), samples)
        assert [kind.name.lower() for kind in file.pages[0].extrasamples] == kinds


def test_samples_that_only_a_tiff_holds_are_named_for_another_format(tmp_path):
    samples = tiff(tmp_path / "scan.tif", np.uint16, 3, ["unspecified"], iccprofile=b"profile")
    picture = read_picture(tmp_path / "scan.tif")
    assert not_kept(Path("a.tif"), picture) == ("colour profile",)
    assert "such as infrared (a .tif keeps them)" in not_kept(Path("a.png"), picture)[1]
    save_pixels(picture.pixels, tmp_path / "scan.png", extra=picture.extra)
    again = read_picture(tmp_path / "scan.png")
    np.testing.assert_array_equal(again.pixels, samples[..., :3])
    assert again.alpha is None


def test_transparency_of_a_tiff_is_where_its_tag_says(tmp_path):
    """Behind infrared, multiplied into the colours, or nowhere; Pillow reads the second one, too."""
    path = tmp_path / "scan.tif"
    samples = tiff(path, np.uint16, 3, ["unspecified", "unassalpha"])
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.alpha, samples[..., 4])
    np.testing.assert_array_equal(picture.extra, samples[..., 3:4])
    tiff(path, np.uint8, 3, ["assocalpha"])
    picture = read_picture(path)
    with Image.open(path) as image:
        expected = np.asarray(image).astype(int)
    seen = expected[..., 3] > 0
    np.testing.assert_array_equal(picture.alpha, expected[..., 3])
    assert np.abs(picture.pixels - expected[..., :3])[seen].max() <= 1
    samples = tiff(path, np.uint8, 3, ["unassalpha"])
    path.write_bytes(path.read_bytes().replace(struct.pack("<HH", 338, 3), struct.pack("<HH", 65000, 3)))
    picture = read_picture(path)
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.extra, samples[..., 3:])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colours_of_a_tiff_and_of_sixteen_bits_are_turned_as_another_reader_turns_them(orientation, tmp_path):
    """Which is Pillow: it turns TIFFs itself, and cuts 16 bits to 8."""
    samples = tiff(tmp_path / "scan.tif", np.uint8, 3, [], "separate", extratags=[(274, 3, 1, orientation, True)])
    with Image.open(tmp_path / "scan.tif") as image:
        turned = np.asarray(image)
    np.testing.assert_array_equal(load_pixels(str(tmp_path / "scan.tif")), turned)
    exif = Image.Exif()
    exif[274] = orientation
    content, chunk = png_encode(samples.astype(np.uint16) * 257), b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "scan.png").write_bytes(content[:33] + chunk + content[33:])  # behind the header
    np.testing.assert_array_equal(load_pixels(str(tmp_path / "scan.png")), turned.astype(np.uint16) * 257)


def test_pixels_that_are_seen_are_those_that_are_not_quite_transparent():
    pixels = np.zeros((2, 3), dtype=np.uint8)
    alpha = np.uint8([[0, 1, 255], [255, 255, 0]])
    np.testing.assert_array_equal(opaque(Picture(pixels, alpha)), [[False, True, True], [True, True, False]])
    assert opaque(Picture(pixels)) is None and opaque(Picture(pixels, np.maximum(alpha, 1))) is None


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_salt_and_pepper_corrupts_its_rate_half_white_half_black(rate):
    clean = np.full((400, 500), 0.5, dtype=np.float32)
    noisy = salt_and_pepper(clean, rate, seed=3)
    for value in (0, 1):
        assert (noisy == value).mean() == pytest.approx(rate / 2, abs=0.005)
    assert ((noisy == 0) | (noisy == 1) | (noisy == clean)).all()


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_random_valued_impulses_are_uniform_where_they_hit(rate):
    clean = np.full((400, 500), 0.5, dtype=np.float32)
    noisy = DAMAGES["random_valued"].corrupt(clean, rate, seed=3)
    hit = noisy[noisy != clean]
    assert len(hit) / clean.size == pytest.approx(rate, abs=0.005)
    if rate:
        assert kstest(hit[:2000], "uniform").pvalue > 0.001


def test_missing_blocks_are_black_squares_at_their_rate():
    noisy = DAMAGES["missing_blocks"].corrupt(np.ones((402, 503), dtype=np.float32), 0.1, seed=3)
    assert (noisy == 0).mean() == pytest.approx(0.1, abs=0.02)
    squares = [  # on one grid of squares of 4 pixels, every square is of one value
        noisy[top : top + 396, left : left + 496].reshape(99, 4, 124, 4).swapaxes(1, 2).reshape(-1, 16)
        for top in range(4)
        for left in range(4)
    ]
    assert [(square == square[:, :1]).all() for square in squares].count(True) == 1


def test_gaussian_and_impulses_mixes_both():
    clean = np.full((400, 500), 0.5, dtype=np.float32)
    noisy = DAMAGES["gaussian_and_impulses"].corrupt(clean, 0.1, seed=3)
    impulses = (noisy == 0) | (noisy == 1)
    assert impulses.mean() == pytest.approx(0.1, abs=0.005)
    assert noisy[~impulses].std() == pytest.approx(0.04, rel=0.02)
    assert noisy[~impulses].mean() == pytest.approx(0.5, abs=0.001)


def test_gaussian_noise_does_not_know_where_impulses_hit():
    """With one seed for both, small values would be hit more often, at least in the first rows."""
    clean = np.full((6, 6), 0.5, dtype=np.float32)
    noisy = np.stack([DAMAGES["gaussian_and_impulses"].corrupt(clean, 1 / 16, seed=seed) for seed in range(5000)])
    assert noisy[(noisy > 0) & (noisy < 1)].std() == pytest.approx(0.04, rel=0.008)


def test_random_rates_have_a_uniform_square_root_and_are_fixed_by_the_seed():
    clean = np.full((100, 100), 0.5, dtype=np.float32)
    corrupt = partial(DAMAGES["salt_and_pepper"].corrupt_at_random_rate, low=0.02, high=0.5)
    rates = np.array([(corrupt(clean, seed=seed) != clean).mean() for seed in range(200)])
    assert rates.min() > 0.015 and rates.max() < 0.53
    assert kstest(np.sqrt(rates), "uniform", args=(0.02**0.5, 0.5**0.5 - 0.02**0.5)).pvalue > 0.001
    assert np.array_equal(corrupt(clean, seed=3), corrupt(clean, seed=3))


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_extremes_find_noise_and_keep_burnt_skies_and_black_borders(rate):
    clean = np.float32(0.1 + 0.8 * random_image(120, 160).numpy())
    clean[:50], clean[:, :30] = 1, 0
    noisy = salt_and_pepper(clean, rate, seed=1)
    mask = mask_finder("extremes", clean.shape)(noisy)
    inside = np.zeros(clean.shape, dtype=bool)  # of an area, 4 pixels and more from its edge
    inside[:46, 34:], inside[54:, :26] = True, True
    assert mask[inside & (noisy == clean)].mean() > 0.95
    elsewhere = np.zeros(clean.shape, dtype=bool)
    elsewhere[54:, 34:] = True
    assert mask[elsewhere & (noisy != clean)].mean() < 0.01 and (mask[elsewhere & (noisy == clean)] == 1).all()
    assert (mask[inside & (noisy != clean)] == 0).all()
    colours = mask_finder("extremes", (120, 160, 3))(np.dstack([noisy, clean, noisy]))
    np.testing.assert_array_equal(colours[..., 2], mask)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_black_finds_missing_blocks_also_side_by_side_and_keeps_black_borders(rate):
    clean = np.float32(0.1 + 0.8 * random_image(160, 200).numpy())
    clean[:, :60] = 0
    noisy = missing_blocks(clean, rate, seed=1)
    mask = mask_finder("black", clean.shape)(noisy)
    assert (mask[:, 76:][noisy[:, 76:] == 0] == 0).all() and (mask[noisy > 0] == 1).all()
    assert (mask[16:144, :44] == 1).all()


def test_overlaps_are_averaged_with_gaussian_weights():
    grid = PatchGrid((7, 9), 4, 3)
    patches = torch.rand(len(grid.tops) * len(grid.lefts), 16, generator=torch.Generator().manual_seed(0))
    total, count = np.zeros((7, 9)), np.zeros((7, 9))
    weights = norm.pdf(np.arange(4), loc=1.5, scale=1)
    weights = np.outer(weights, weights)
    corners = [(top, left) for top in grid.tops.tolist() for left in grid.lefts.tolist()]
    for patch, (top, left) in zip(patches.numpy(), corners, strict=True):
        total[top : top + 4, left : left + 4] += weights * patch.reshape(4, 4)
        count[top : top + 4, left : left + 4] += weights
    np.testing.assert_allclose(grid.assemble(patches), total / count, rtol=1e-6)


def test_patches_are_rows_of_pixels_in_reading_order_channel_after_channel():
    image = torch.rand(32, 48, 3, generator=torch.Generator().manual_seed(0))
    patches = PatchGrid((32, 48, 3), 16, 16).extract(image)
    assert patches.shape == (18, 256)
    assert torch.equal(patches[1], image[:16, 16:32, 0].reshape(-1))
    assert torch.equal(patches[3], image[16:, :16, 0].reshape(-1))
    assert torch.equal(patches[6:12], PatchGrid((32, 48), 16, 16).extract(image[..., 1]))


@pytest.mark.parametrize(
    ("shape", "stride"), [((15, 16), 16), ((40, 1), 16), ((1, 1), 16), ((40, 40), 0), ((40, 40), 17)]
)
def test_grids_that_cannot_cover_the_image_are_refused(shape, stride):
    with pytest.raises(ValueError, match="allowed: "):
        PatchGrid(shape, 16, stride)


def test_random_patches_come_from_everywhere_in_the_image():
    image = torch.arange(20 * 19.0).reshape(20, 19)
    patches = random_patches(image, 16, 1000, torch.Generator().manual_seed(0)).reshape(-1, 16, 16)
    corners = patches[:, 0, 0]
    expected = {float(image[top, left]) for top in range(5) for left in range(4)}
    assert set(corners.tolist()) == expected
    assert torch.equal(patches - corners[:, None, None], (image[:16, :16] - image[0, 0]).expand(1000, 16, 16))


def check_dictionary(A, shape):
    """The mean of a patch in the first atom alone, which is as long as all others together; those of length 1."""
    A = A.double().numpy()
    assert A.shape == shape and np.ptp(A[:, 0]) == 0
    assert np.linalg.norm(A[:, 0]) == pytest.approx(np.linalg.norm(A[:, 1:], 2), rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(A[:, 1:], axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(A[:, 1:].sum(axis=0), 0, atol=1e-4)


def test_the_shipped_dictionary_has_a_constant_atom_and_unit_atoms_without_mean():
    check_dictionary(load_dictionary(), (256, 512))


def test_unit_atoms_are_the_shipped_ones_of_length_1_so_only_the_constant_one_differs():
    shipped, unit = load_dictionary("shipped"), load_dictionary("unit_atoms")
    torch.testing.assert_close(torch.linalg.vector_norm(unit, dim=0), torch.ones(512))
    torch.testing.assert_close(unit[:, 1:], shipped[:, 1:])
    torch.testing.assert_close(unit[:, 0], torch.full((256,), 1 / 16))
    assert shipped[0, 0] > 5 * unit[0, 0]


def test_constraint_is_the_identity_or_a_matrix_in_a_file(tmp_path):
    np.savez(tmp_path / "constraint.npz", B=np.arange(6.0).reshape(2, 3))
    assert load_constraint() is None
    np.testing.assert_array_equal(load_constraint(str(tmp_path / "constraint.npz")), np.arange(6.0).reshape(2, 3))


def test_synthetic_samples_are_what_the_paper_draws():
    generator = torch.Generator().manual_seed(0)
    A = gaussian_dictionary(250, 500, generator)
    X, Z, E = sparse_samples(A, 2000, generator)
    np.testing.assert_allclose(np.linalg.norm(A.numpy(), axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(X.numpy(), Z.numpy() @ A.numpy().T + E.numpy(), atol=1e-4)
    for sparse in (Z, E):
        kept = sparse[sparse != 0]
        assert len(kept) / sparse.numel() == pytest.approx(0.1, rel=0.02)
        assert kept.mean().item() == pytest.approx(0, abs=0.02) and kept.std().item() == pytest.approx(1, rel=0.02)


def test_half_the_size_has_the_means_of_four_pixels():
    image = np.random.default_rng(0).random((7, 10), dtype=np.float32)
    expected = [[image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(5)] for i in range(3)]
    np.testing.assert_allclose(reduced(image, 2), expected, rtol=1e-6)


def test_colours_become_the_grey_of_pillow():
    pixels = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    assert np.abs(255 * to_grey(to_image(pixels)) - grey).max() <= 0.51


@pytest.mark.parametrize("share", [0, 0.05, 0.3])
def test_a_clipped_image_has_that_share_of_black_and_white_pixels_half_of_each(share):
    """The darkest and the brightest; between them it is a straight line of the image."""
    image = 0.2 + 0.5 * np.random.default_rng(0).permutation(20_001).reshape(3, -1).astype(np.float32) / 20_000
    changed = clipped(image, share)
    darkest, brightest = image < 0.2 + share / 4, image > 0.7 - share / 4
    assert (changed == 0).mean() == pytest.approx(share / 2, abs=1e-3) == (changed == 1).mean()
    assert (changed[darkest] < 1e-3).all() and (changed[brightest] > 1 - 1e-3).all()
    between = ~(darkest | brightest)
    np.testing.assert_allclose(np.polyfit(image[between], changed[between], 1, full=True)[1], 0, atol=1e-3)


def folder_of_photographs(folder):
    """A wide one, a colourful one and a small one, and a file that is none."""
    generator = np.random.default_rng(0)
    save_pixels(generator.integers(256, size=(40, 3100), dtype=np.uint8), folder / "a_wide.png")
    save_pixels(generator.integers(256, size=(30, 50, 3), dtype=np.uint8), folder / "b_colour.jpg")
    save_pixels(generator.integers(65536, size=(9, 12), dtype=np.uint16), folder / "c_small.tif")
    (folder / "notes.txt").write_text("no image")
    return str(folder)


def test_all_images_of_a_folder_are_learned_from(tmp_path):
    images = load_training_images(folder_of_photographs(tmp_path), patch=8)
    assert [image.shape for image in images] == [(13, 1033), (30, 50), (9, 12)]
    assert all(image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1 for image in images)
    with pytest.raises(ValueError, match="c_small.tif' has 12 x 9 pixels; allowed: at least 10 x 10"):
        load_training_images(str(tmp_path), patch=10)
    (tmp_path / "d_broken.png").write_text("not an image")
    with pytest.raises(ValueError, match="d_broken.png' cannot be read"):
        load_training_images(str(tmp_path))
    for name in ("missing", "notes.txt"):
        with pytest.raises(ValueError, match="allowed: shipped, shipped_and_drawn, or a folder with images"):
            load_training_images(str(tmp_path / name))


def test_a_dictionary_is_learned_from_a_folder_with_patches_of_any_side(tmp_path, capsys):
    (tmp_path / "photographs").mkdir()
    words = ["--training-images", folder_of_photographs(tmp_path / "photographs"), "--patch-side", "6"]
    dictionary.main([*words, "--atoms", "20", "--patches", "600", "--output", str(tmp_path / "mine.npz")])
    check_dictionary(load_dictionary(str(tmp_path / "mine.npz")), (36, 20))
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npz", "photographs"}


def test_a_learned_dictionary_represents_patches_it_has_not_seen_better_than_a_random_one():
    """With four atoms for each patch, found by orthogonal matching pursuit."""
    photograph = load_image("camera")
    A = learn_dictionary([photograph[:256]], patch=6, atoms=72, patches=1500).astype(float)
    random = np.random.default_rng(0).normal(size=A.shape)
    random[:, 0] = 1
    unseen = torch.from_numpy(photograph[256:384, :256])
    patches = PatchGrid(unseen.shape, 6, 6).extract(unseen).double().numpy().T
    errors = []
    for D in (A, random):
        D = D / np.linalg.norm(D, axis=0)
        errors.append(np.linalg.norm(patches - D @ orthogonal_mp(D, patches, n_nonzero_coefs=4)))
    assert errors[0] < 0.7 * errors[1], errors


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--atoms", "1"], "--atoms is 1; allowed: 2 or more"),
        (["--output", "dictionary.txt"], "--output is 'dictionary.txt'; allowed: a name in .npz"),
        (["--output", "nowhere/d.npz"], "--output is 'nowhere/d.npz'; allowed: a name in .npz, in a folder that may"),
        (
            ["--training-images", "nowhere"],
            "'nowhere'; allowed: shipped, shipped_and_drawn, or a folder with images",
        ),
        (["--patches", "3"], "--patches is 3; allowed: 10 or more, one of each image"),
    ],
)
def test_bad_input_of_the_dictionary_is_one_line_and_exit_code_2(arguments, expected, capsys):
    assert expected in refusal(capsys, dictionary.main, arguments)


def test_random_contrast_is_none_or_a_straight_line_that_is_cut():
    image, generator = np.linspace(0, 1, 101, dtype=np.float32)[None], torch.Generator().manual_seed(0)
    unchanged, cut = 0, 0
    for _ in range(200):
        changed = with_random_contrast(image, generator)
        assert changed.dtype == np.float32 and 0 <= changed.min() < 0.2 + 1e-6 and 0.8 - 1e-6 < changed.max() <= 1
        inside = changed[(changed > 0) & (changed < 1)]
        assert np.abs(np.diff(inside, 2)).max() < 1e-6
        unchanged += np.array_equal(changed, image)
        cut += (changed == 1).mean() > 0.02
    assert 70 < unchanged < 130 and 25 < cut < 75


@pytest.mark.parametrize("channels", [0, 3])
def test_a_hole_is_inpainted_from_its_surroundings_channel_by_channel(channels):
    """A slope goes on across it, in every channel its own; known pixels stay."""
    slopes = [np.linspace(low, 0.9, 120, dtype=np.float32) * np.ones((90, 1), np.float32) for low in (0.2, 0.5, 0.8)]
    image = np.stack(slopes, axis=2) if channels else slopes[0]
    known = np.ones((90, 120), dtype=bool)
    known[20:70, 30:80] = False
    whole = inpainted(np.where(known if not channels else known[..., None], image, 0), known)
    assert np.array_equal(whole[known], image[known])
    assert np.abs(whole - image).max() < 1e-3
    with pytest.raises(InvalidInput, match="marks every pixel"):
        inpainted(image, np.zeros_like(known))


def test_each_channel_may_have_holes_of_its_own():
    slopes = [np.linspace(0.1, high, 60, dtype=np.float32) * np.ones((50, 1), np.float32) for high in (0.9, 0.5)]
    image, known = np.stack([*slopes, slopes[0][:, ::-1]], axis=2), np.ones((50, 60, 3), dtype=bool)
    for channel, (top, left) in enumerate(((10, 10), (12, 12), (30, 40))):
        known[top : top + 8, left : left + 9, channel] = False
    whole = inpainted(np.where(known, image, 0), known)
    assert np.array_equal(whole[known], image[known]) and np.abs(whole - image).max() < 1e-3


def test_what_is_not_seen_becomes_the_nearest_pixel_that_is():
    image = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)
    seen = np.zeros((20, 30), dtype=bool)
    seen[:, :10] = True
    whole = extended(image, seen)
    np.testing.assert_array_equal(whole, np.concatenate([image[:, :10], np.repeat(image[:, 9:10], 20, axis=1)], axis=1))


def test_specks_of_all_kinds_keep_most_of_the_image_and_some_are_jpegs():
    clean = load_image("camera")[100:300, 100:300]
    changed = [(np.abs(DAMAGES["specks"].corrupt(clean, 0.05, seed) - clean) > 0).mean() for seed in range(60)]
    exact = [share for share in changed if share < 0.1]
    assert min(changed) > 0.01 and np.median(exact) == pytest.approx(0.045, abs=0.015)
    assert 10 < sum(share > 0.3 for share in changed) < 30  # a third


def test_drawn_pages_have_ink_on_paper_are_fixed_by_the_seed_and_some_have_two_values_or_dark_paper():
    pages = drawn_pages(10, seed=3)
    assert all(np.array_equal(one, other) for one, other in zip(pages, drawn_pages(10, seed=3), strict=True))
    assert not np.array_equal(pages[0], drawn_pages(1, seed=4)[0])
    dark = [bool(np.median(page) < 0.5) for page in pages]  # paper
    assert dark == [False, False, False, True] * 2 + [False] * 2
    values = [len(np.unique(page)) for page in pages]
    assert values.count(2) >= 3 and sum(count > 20 for count in values) >= 3
    for page in pages:
        ink = np.abs(page - np.median(page)) > 0.3
        assert 0.003 < ink.mean() < 0.4 and page.min() <= 0.3 and page.max() >= 0.8


@pytest.mark.parametrize("deviation", [0.0, 0.02, 0.06])
def test_grain_is_measured_where_the_picture_is_smooth(deviation):
    clean = load_image("chelsea")
    noisy = clean + np.random.default_rng(0).normal(scale=deviation, size=clean.shape).astype(np.float32)
    assert grain(noisy, np.ones_like(noisy)) == pytest.approx(deviation, abs=0.007)


@pytest.mark.parametrize("quality", [70, 85, 95])
def test_the_rounding_of_a_jpeg_is_what_it_does_to_noise(quality):
    """Of white noise no coefficient is small, so the noise of rounding is that of a uniform error of each."""
    noise = np.random.default_rng(0).integers(40, 216, (256, 256)).astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(noise).save(stored, "JPEG", quality=quality)
    shown = Image.open(stored)
    difference = (np.asarray(shown, float) - noise) / 255
    assert rounding(shown.quantization) == pytest.approx(difference.std(), rel=0.1)
    assert rounding(None) == 0
