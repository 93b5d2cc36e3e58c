"""Claims about pixels: images, corruption, patches and the dictionary."""

import struct
import zlib
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import tifffile
import torch
from imagecodecs import png_encode
from PIL import Image
from scipy.stats import kstest, norm
from sklearn.linear_model import orthogonal_mp

from data import dictionary, images
from data.damage import DAMAGES, grain, rounding
from data.dictionary import learn_dictionary, load_dictionary
from data.drawings import drawn_pages
from data.errors import InvalidInput
from data.formats import FORMATS, Picture, not_kept, quantization, read_picture, save_pixels
from data.images import load_image, load_pixels
from data.masks import black, extended, extremes, inpainted
from data.patches import PatchGrid, random_patches
from tests.helpers import gaussian_and_impulses, missing_blocks, random_valued, salt_and_pepper

CLEAN = np.full((400, 500), 0.5, dtype=np.float32)


def test_each_image_has_one_role_and_can_be_read_and_lena_is_the_classic_one():
    names = images.TEST_IMAGES + images.VALIDATION_IMAGES + images.TRAINING_IMAGES
    assert len(set(names)) == len(names)
    for name in names:
        image = load_image(name)
        assert image.ndim == 2 and image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1
        assert load_image(name, colour=True).shape == (*image.shape, 3)
    lena = load_pixels("lena")
    assert (lena.shape, lena.min(), lena.max(), round(lena.mean(), 2)) == ((512, 512), 25, 245, 124.05)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_back_what_it_holds_also_to_another_reader_and_is_refused_for_the_rest(ending, tmp_path):
    path, generator = tmp_path / f"image{ending}", np.random.default_rng(0)
    for dtype, shape, has_alpha in product((np.uint8, np.uint16), ((1, 1), (20, 31), (17, 19, 3)), (False, True)):
        pixels, alpha = (generator.integers(np.iinfo(dtype).max + 1, size=n, dtype=dtype) for n in (shape, shape[:2]))
        pixels, alpha = np.full_like(pixels, 100) if ending.startswith(".j") else pixels, alpha if has_alpha else None
        np.testing.assert_array_equal(images.to_pixels(images.to_image(pixels), dtype), pixels)
        if has_alpha > FORMATS[ending].alpha or (dtype == np.uint16) > FORMATS[ending].sixteen_bits:
            with pytest.raises(InvalidInput, match="output is .*; allowed for an image of .* bits.*: a name in .png"):
                save_pixels(pixels, path, alpha)
            continue
        save_pixels(pixels, path, alpha)
        again = read_picture(path)
        assert again.pixels.dtype == dtype and (ending == ".webp" or again.pixels.shape == shape)
        np.testing.assert_array_equal(again.alpha, alpha)
        expected = np.broadcast_to(np.atleast_3d(pixels), np.atleast_3d(again.pixels).shape)
        np.testing.assert_allclose(np.atleast_3d(again.pixels), expected, atol=2 if ending.startswith(".j") else 0)
        if dtype == np.uint8 and not has_alpha:
            np.testing.assert_array_equal(skimage.io.imread(path), again.pixels)


def test_screenshots_of_other_programs_are_read(tmp_path):
    """RGBA, grey with alpha, palettes with and without a transparent entry, a transparent colour."""
    rgba = Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 30, 4), dtype=np.uint8))
    rgb = rgba.convert("RGB")
    rgb.convert("P").save(tmp_path / "palette.gif")
    rgba.save(tmp_path / "screenshot.png")
    rgba.convert("LA").save(tmp_path / "grey.png")
    rgb.convert("P").save(tmp_path / "palette.png", transparency=3)
    rgb.save(tmp_path / "colour.png", transparency=tuple(np.asarray(rgba)[0, 0, :3].tolist()))
    for path in tmp_path.iterdir():
        picture, expected = read_picture(path), np.asarray(Image.open(path).convert("RGBA"))
        channels, alpha = np.atleast_3d(picture.pixels), 255 if path.suffix == ".gif" else picture.alpha
        np.testing.assert_array_equal(np.broadcast_to(channels, (20, 30, 3)), expected[..., :3])
        np.testing.assert_array_equal(alpha, expected[..., 3])


def tiff(path, dtype, colours, kinds, planar="contig", **options):
    """Writes a TIFF whose samples beyond the colours are of these kinds; its samples, (20, 31, n)."""
    shape = (20, 31, colours + len(kinds))
    samples = np.random.default_rng(0).integers(np.iinfo(dtype).max + 1, size=shape, dtype=dtype)
    layers = np.moveaxis(samples, -1, 0) if planar == "separate" else samples
    options["photometric"] = "minisblack" if colours == 1 else "rgb"
    tifffile.imwrite(path, layers, extrasamples=kinds, planarconfig=planar, metadata=None, **options)
    return samples


INFRARED, ALPHA = "unspecified", "unassalpha"
TIFFS = [(3, []), (1, [INFRARED]), (3, [INFRARED, INFRARED]), (1, [ALPHA]), (3, [ALPHA]), (3, [ALPHA, INFRARED])]


@pytest.mark.parametrize(("dtype", "planar"), [*product((np.uint8, np.uint16), ("contig", "separate"))])
@pytest.mark.parametrize(("colours", "kinds"), TIFFS)
def test_every_sample_of_a_tiff_is_read_and_written_for_what_it_is(colours, kinds, dtype, planar, tmp_path):
    compression = "lzw" if planar == "separate" else None
    samples = tiff(tmp_path / "scan.tif", dtype, colours, kinds, planar, compression=compression)
    picture = read_picture(tmp_path / "scan.tif")
    np.testing.assert_array_equal(np.atleast_3d(picture.pixels), samples[..., :colours])
    assert (picture.alpha is not None) == (ALPHA in kinds) and not_kept(Path("a.tif"), picture) == ()
    save_pixels(picture.pixels, tmp_path / "again.TIF", alpha=picture.alpha, extra=picture.extra)
    with tifffile.TiffFile(tmp_path / "again.TIF") as file:
        np.testing.assert_array_equal(np.atleast_3d(file.asarray()), samples)
        assert [kind.name.lower() for kind in file.pages[0].extrasamples] == kinds


def test_transparency_of_a_tiff_is_where_its_tag_says(tmp_path):
    """Behind infrared, multiplied into the colours, or nowhere; Pillow reads the second one, too."""
    path = tmp_path / "scan.tif"
    samples, picture = tiff(path, np.uint16, 3, [INFRARED, ALPHA]), read_picture(path)
    np.testing.assert_array_equal(picture.alpha, samples[..., 4])
    np.testing.assert_array_equal(picture.extra, samples[..., 3:4])
    tiff(path, np.uint8, 3, ["assocalpha"])
    picture, expected = read_picture(path), np.asarray(Image.open(path)).astype(int)
    np.testing.assert_array_equal(picture.alpha, expected[..., 3])
    assert np.abs(picture.pixels - expected[..., :3])[picture.alpha > 0].max() <= 1
    samples = tiff(path, np.uint8, 3, [ALPHA])
    path.write_bytes(path.read_bytes().replace(struct.pack("<HH", 338, 3), struct.pack("<HH", 65000, 3)))
    picture = read_picture(path)
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.extra, samples[..., 3:])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright_as_another_reader_turns_them(orientation, tmp_path):
    """Which is Pillow: it turns TIFFs itself, and cuts colours of 16 bits to their higher 8."""
    samples = tiff(tmp_path / "scan.tif", np.uint8, 3, [], "separate", extratags=[(274, 3, 1, orientation, True)])
    turned, exif = np.asarray(Image.open(tmp_path / "scan.tif")), Image.Exif()
    exif[274], wide = orientation, 256 * samples.astype(np.uint16) + 7
    Image.fromarray(samples).save(tmp_path / "photograph.jpg", exif=exif, quality=100, subsampling=0)
    Image.fromarray(wide[..., 0]).save(tmp_path / "grey.png", exif=exif)
    content, chunk = png_encode(wide), b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "scan.png").write_bytes(content[:33] + chunk + content[33:])  # behind the header
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "scan.png")), samples)
    read = {path.name: load_pixels(str(path)) for path in tmp_path.iterdir()}
    np.testing.assert_array_equal(read["scan.tif"], turned)
    np.testing.assert_array_equal(read["scan.png"], 256 * turned.astype(np.uint16) + 7)
    np.testing.assert_array_equal(read["grey.png"], 256 * turned[..., 0].astype(np.uint16) + 7)
    np.testing.assert_allclose(read["photograph.jpg"].astype(int), turned, atol=5)


def test_what_is_transparent_is_not_seen_and_becomes_the_nearest_pixel_that_is():
    pixels = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8)
    alpha = np.uint8(np.ones((20, 1)) * (np.arange(30) < 10))
    seen = images.opaque(Picture(pixels, alpha))
    np.testing.assert_array_equal(seen, alpha > 0)
    assert images.opaque(Picture(pixels)) is None and images.opaque(Picture(pixels, alpha + 1)) is None
    nearest = np.minimum(np.arange(30), 9)
    np.testing.assert_array_equal(extended(images.to_image(pixels), seen), images.to_image(pixels[:, nearest]))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_impulses_hit_at_their_rate_and_have_their_values(rate):
    noisy = salt_and_pepper(CLEAN, rate, seed=3)
    shares = [(noisy == value).mean() for value in (0, 1, 0.5)]
    assert shares == pytest.approx([rate / 2, rate / 2, 1 - rate], abs=0.005) and sum(shares) == pytest.approx(1)
    noisy = random_valued(CLEAN, rate, seed=3)
    hit = noisy[noisy != CLEAN]
    assert len(hit) / CLEAN.size == pytest.approx(rate, abs=0.005)
    assert rate == 0 or kstest(hit[:2000], "uniform").pvalue > 0.001


def test_missing_blocks_are_black_squares_at_their_rate():
    noisy = missing_blocks(np.ones((402, 503), dtype=np.float32), 0.1, seed=3)
    assert (noisy == 0).mean() == pytest.approx(0.1, abs=0.02)
    pieces = [noisy[top : top + 396, left : left + 496] for top in range(4) for left in range(4)]
    squares = [piece.reshape(99, 4, 124, 4).swapaxes(1, 2).reshape(-1, 16) for piece in pieces]
    assert [(square == square[:, :1]).all() for square in squares].count(True) == 1  # on one grid each is of one value


def test_gaussian_and_impulses_mixes_both():
    """With one seed for both, small values would be hit more often, at least in the first rows."""
    noisy = gaussian_and_impulses(CLEAN, 0.1, seed=3)
    kept = noisy[(noisy > 0) & (noisy < 1)]
    assert kept.size / noisy.size == pytest.approx(0.9, abs=0.005)
    assert kept.std() == pytest.approx(0.04, rel=0.02) and kept.mean() == pytest.approx(0.5, abs=0.001)
    small = np.stack([gaussian_and_impulses(CLEAN[:6, :6], 1 / 16, seed=seed) for seed in range(5000)])
    assert small[(small > 0) & (small < 1)].std() == pytest.approx(0.04, rel=0.008)


def test_random_rates_have_a_uniform_square_root_and_are_fixed_by_the_seed():
    clean = CLEAN[:100, :100]
    corrupt = partial(DAMAGES["salt_and_pepper"].corrupt_at_random_rate, low=0.02, high=0.5)
    rates = np.array([(corrupt(clean, seed=seed) != clean).mean() for seed in range(200)])
    assert rates.min() > 0.015 and rates.max() < 0.53
    assert kstest(np.sqrt(rates), "uniform", args=(0.02**0.5, 0.5**0.5 - 0.02**0.5)).pvalue > 0.001
    assert np.array_equal(corrupt(clean, seed=3), corrupt(clean, seed=3))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_extremes_find_noise_and_keep_burnt_skies_and_black_borders(rate):
    clean = np.random.default_rng(0).uniform(0.1, 0.9, (120, 160)).astype(np.float32)
    clean[:50], clean[:, :30] = 1, 0
    noisy = salt_and_pepper(clean, rate, seed=1)
    mask, hit = extremes(noisy), noisy != clean
    for area in (np.s_[:46, 34:], np.s_[54:, :26]):  # 4 pixels and more from its edge
        assert mask[area][~hit[area]].mean() > 0.95 and (mask[area][hit[area]] == 0).all()
    elsewhere = np.s_[54:, 34:]
    assert mask[elsewhere][hit[elsewhere]].mean() < 0.01 and (mask[elsewhere][~hit[elsewhere]] == 1).all()
    np.testing.assert_array_equal(extremes(np.dstack([noisy, clean, noisy]))[..., 2], mask)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_black_finds_missing_blocks_also_side_by_side_and_keeps_black_borders(rate):
    clean = np.random.default_rng(0).uniform(0.1, 0.9, (160, 200)).astype(np.float32)
    clean[:, :60] = 0
    noisy = missing_blocks(clean, rate, seed=1)
    mask = black(noisy)
    assert (mask[:, 76:][noisy[:, 76:] == 0] == 0).all() and (mask[noisy > 0] == 1).all()
    assert (mask[16:144, :44] == 1).all()


def test_overlaps_are_averaged_with_gaussian_weights():
    grid = PatchGrid((7, 9), 4, 3)
    patches = torch.rand(len(grid), 16, generator=torch.Generator().manual_seed(0))
    places, weights = grid.extract(torch.arange(63.0).reshape(7, 9)).long(), norm.pdf(np.arange(4), loc=1.5, scale=1)
    weights = np.outer(weights, weights).flatten()
    total, count = (np.bincount(places.flatten(), (weights * X).flatten()) for X in (patches.numpy(), np.ones((6, 16))))
    np.testing.assert_allclose(grid.assemble(patches).flatten(), total / count, rtol=1e-6)


def test_patches_are_rows_of_pixels_in_reading_order_channel_after_channel():
    image = torch.rand(32, 48, 3, generator=torch.Generator().manual_seed(0))
    patches = PatchGrid((32, 48, 3), 16, 16).extract(image)
    assert patches.shape == (18, 256)
    assert torch.equal(patches[1], image[:16, 16:32, 0].reshape(-1))
    assert torch.equal(patches[3], image[16:, :16, 0].reshape(-1))
    assert torch.equal(patches[6:12], PatchGrid((32, 48), 16, 16).extract(image[..., 1]))
    for shape, stride in (((15, 16), 16), ((40, 1), 16), ((1, 1), 16), ((40, 40), 0), ((40, 40), 17)):
        with pytest.raises(InvalidInput, match="allowed: "):  # they do not cover the image
            PatchGrid(shape, 16, stride)


def test_random_patches_come_from_everywhere_in_the_image():
    image = torch.arange(20 * 19.0).reshape(20, 19)
    patches = random_patches(image, 16, 1000, torch.Generator().manual_seed(0)).reshape(-1, 16, 16)
    corners = patches[:, 0, 0]
    assert set(corners.tolist()) == set(image[:5, :4].flatten().tolist())
    assert torch.equal(patches - corners[:, None, None], (image[:16, :16] - image[0, 0]).expand(1000, 16, 16))


def check_dictionary(A, shape):
    """The mean of a patch in the first atom alone, which is as long as all others together; those of length 1."""
    A = A.double().numpy()
    assert A.shape == shape and np.ptp(A[:, 0]) == 0
    assert np.linalg.norm(A[:, 0]) == pytest.approx(np.linalg.norm(A[:, 1:], 2), rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(A[:, 1:], axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(A[:, 1:].sum(axis=0), 0, atol=1e-4)


def test_the_shipped_dictionary_has_a_constant_atom_and_unit_atoms_without_mean():
    shipped, unit = load_dictionary("shipped"), load_dictionary("unit_atoms")
    check_dictionary(shipped, (256, 512))
    torch.testing.assert_close(unit[:, 1:], shipped[:, 1:])
    torch.testing.assert_close(unit[:, 0], torch.full((256,), 1 / 16))
    assert shipped[0, 0] > 5 * unit[0, 0]


def test_an_image_is_reduced_to_means_of_blocks_and_to_the_grey_of_pillow():
    pixels = np.random.default_rng(0).integers(256, size=(7, 10, 3), dtype=np.uint8)
    grey = images.to_grey(images.to_image(pixels))
    assert np.abs(255 * grey - np.asarray(Image.fromarray(pixels).convert("L"))).max() <= 0.51
    expected = [[grey[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(5)] for i in range(3)]
    np.testing.assert_allclose(images.reduced(grey, 2), expected, rtol=1e-6)


@pytest.mark.parametrize("share", [0, 0.05, 0.3])
def test_a_clipped_image_has_that_share_of_black_and_white_pixels_half_of_each(share):
    places = np.random.default_rng(0).permutation(20_001).reshape(3, -1)
    image = (0.2 + 0.5 * places / 20_000).astype(np.float32)
    line = image if share == 0 else ((places / 20_000 - share / 2) / (1 - share)).clip(0, 1)
    np.testing.assert_allclose(images.clipped(image, share), line, atol=1e-4)


def test_a_dictionary_is_learned_from_all_images_of_a_folder_with_patches_of_any_side(tmp_path, capsys):
    (folder := tmp_path / "photographs").mkdir()
    for name in ("notes.txt", "._b_colour.jpg"):
        (folder / name).write_text("no image")
    for name, shape in {"a_wide.png": (40, 3100), "b_colour.jpg": (30, 50, 3)}.items():
        save_pixels(np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8), folder / name)
    save_pixels(np.random.default_rng(0).integers(65536, size=(9, 12), dtype=np.uint16), folder / "c_small.tif")
    words = ["--training-images", str(folder), "--patch-side", "6", "--atoms", "20", "--patches", "600"]
    dictionary.main([*words, "--output", str(tmp_path / "mine.npz")])
    check_dictionary(load_dictionary(str(tmp_path / "mine.npz")), (36, 20))
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npz", "photographs"}
    loaded = images.load_training_images(str(folder), patch=8)
    assert [image.shape for image in loaded] == [(13, 1033), (30, 50), (9, 12)]
    assert all(image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1 for image in loaded)
    (folder / "d_broken.png").write_text("not an image")
    with pytest.raises(ValueError, match="d_broken.png' cannot be read"):
        images.load_training_images(str(folder))


def test_a_learned_dictionary_represents_patches_it_has_not_seen_better_than_a_random_one():
    photograph = load_image("camera")
    A = learn_dictionary([photograph[:256]], patch=6, atoms=72, patches=1500).astype(float)
    random = np.column_stack([np.ones(36), np.random.default_rng(0).normal(size=(36, 71))])
    patches = PatchGrid((128, 256), 6, 6).extract(torch.from_numpy(photograph[256:384, :256])).double().numpy().T
    units = [D / np.linalg.norm(D, axis=0) for D in (A, random)]
    errors = [np.linalg.norm(patches - D @ orthogonal_mp(D, patches, n_nonzero_coefs=4)) for D in units]
    assert errors[0] < 0.7 * errors[1], errors


def test_random_contrast_is_none_or_a_straight_line_that_is_cut():
    image, generator = np.linspace(0, 1, 101, dtype=np.float32)[None], torch.Generator().manual_seed(0)
    drawn = [images.with_random_contrast(image, generator) for _ in range(200)]
    for changed in drawn:
        assert changed.dtype == np.float32 and 0 <= changed.min() < 0.2 + 1e-6 and 0.8 - 1e-6 < changed.max() <= 1
        assert np.abs(np.diff(changed[(changed > 0) & (changed < 1)], 2)).max() < 1e-6
    assert 70 < sum(np.array_equal(changed, image) for changed in drawn) < 130
    assert 25 < sum((changed == 1).mean() > 0.02 for changed in drawn) < 75


@pytest.mark.parametrize("form", ["grey", "colours", "each channel its own"])
def test_a_hole_is_inpainted_from_its_surroundings_channel_by_channel(form):
    slopes = [np.linspace(low, 0.9, 80, dtype=np.float32) * np.ones((60, 1), np.float32) for low in (0.2, 0.5, 0.8)]
    image, known = slopes[0] if form == "grey" else np.dstack(slopes), np.ones((60, 80), dtype=bool)
    known[20:45, 20:50] = False
    known = np.dstack([known, known[:, ::-1], known[::-1]]) if form == "each channel its own" else known
    whole = inpainted(np.where(known if known.ndim == image.ndim else known[..., None], image, 0), known)
    assert np.array_equal(whole[known], image[known]) and np.abs(whole - image).max() < 1e-3
    with pytest.raises(InvalidInput, match="marks every pixel"):
        inpainted(image, np.zeros_like(known))


def test_specks_of_all_kinds_keep_most_of_the_image_and_some_are_jpegs():
    clean = load_image("camera")[100:300, 100:300]
    changed = [(np.abs(DAMAGES["specks"].corrupt(clean, 0.05, seed) - clean) > 0).mean() for seed in range(60)]
    exact = [share for share in changed if share < 0.1]
    assert min(changed) > 0.01 and np.median(exact) == pytest.approx(0.045, abs=0.015)
    assert 10 < sum(share > 0.3 for share in changed) < 30  # a third


def test_drawn_pages_have_ink_on_paper_are_fixed_by_the_seed_and_some_have_two_values_or_dark_paper():
    pages = drawn_pages(8, seed=3)
    assert np.array_equal(pages[:2], drawn_pages(2, seed=3)) and not np.array_equal(pages[0], drawn_pages(1, seed=4)[0])
    assert [bool(np.median(page) < 0.5) for page in pages] == [False, False, False, True] * 2  # paper
    values = [len(np.unique(page)) for page in pages]
    assert values.count(2) >= 3 and sum(count > 20 for count in values) >= 3
    for page in pages:
        ink = np.abs(page - np.median(page)) > 0.3
        assert 0.003 < ink.mean() < 0.4 and page.min() <= 0.3 and page.max() >= 0.8


def test_grain_is_measured_where_the_picture_is_smooth():
    clean = load_image("chelsea")
    for deviation in (0.0, 0.02, 0.06):
        noisy = clean + np.random.default_rng(0).normal(scale=deviation, size=clean.shape).astype(np.float32)
        assert grain(noisy, np.ones_like(noisy)) == pytest.approx(deviation, abs=0.007)


@pytest.mark.parametrize("quality", [70, 95])
def test_the_rounding_of_a_jpeg_is_what_it_does_to_noise(quality, tmp_path):
    """Of white noise no coefficient is small, so the noise of rounding is that of a uniform error of each."""
    noise = np.random.default_rng(0).integers(40, 216, (256, 256)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.jpg", quality=quality)
    difference = images.to_image(noise) - load_image(str(tmp_path / "noise.jpg"))
    assert rounding(quantization(str(tmp_path / "noise.jpg"))) == pytest.approx(difference.std(), rel=0.1)
    assert rounding(None) == 0
