"""Claims about pixels: images, corruption, patches and the dictionary."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest

from data.corruption import CORRUPTIONS, salt_and_pepper
from data.dictionary import load_constraint, load_dictionary
from data.images import TEST_IMAGES, TRAINING_IMAGES, VALIDATION_IMAGES, load_image
from data.patches import PatchGrid, random_patches
from data.synthetic import gaussian_dictionary, sparse_samples


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


def test_image_files_are_read_as_grey_values(tmp_path):
    pixels = np.arange(30, dtype=np.uint8).reshape(5, 6)
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "image.png")
    np.testing.assert_array_equal(load_image(str(tmp_path / "image.png")), pixels.astype(np.float32) / 255)


def test_what_is_no_image_is_refused_by_name(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    Image.fromarray(np.full((20, 20), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    for name in (str(tmp_path / "text.png"), str(tmp_path / "deep.png"), str(tmp_path / "missing.png"), str(tmp_path)):
        with pytest.raises(ValueError, match="cannot be read .*allowed: lena, "):
            load_image(name)


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
    noisy = CORRUPTIONS["random_valued"](clean, rate, seed=3)
    hit = noisy[noisy != clean]
    assert len(hit) / clean.size == pytest.approx(rate, abs=0.005)
    if rate:
        assert kstest(hit[:2000], "uniform").pvalue > 0.001


def test_missing_blocks_are_black_squares_at_their_rate():
    noisy = CORRUPTIONS["missing_blocks"](np.ones((402, 503), dtype=np.float32), 0.1, seed=3)
    assert (noisy == 0).mean() == pytest.approx(0.1, abs=0.02)
    squares = [  # on one grid of squares of 4 pixels, every square is of one value
        noisy[top : top + 396, left : left + 496].reshape(99, 4, 124, 4).swapaxes(1, 2).reshape(-1, 16)
        for top in range(4)
        for left in range(4)
    ]
    assert [(square == square[:, :1]).all() for square in squares].count(True) == 1


def test_gaussian_and_impulses_mixes_both():
    clean = np.full((400, 500), 0.5, dtype=np.float32)
    noisy = CORRUPTIONS["gaussian_and_impulses"](clean, 0.1, seed=3)
    impulses = (noisy == 0) | (noisy == 1)
    assert impulses.mean() == pytest.approx(0.1, abs=0.005)
    assert noisy[~impulses].std() == pytest.approx(0.04, rel=0.02)
    assert noisy[~impulses].mean() == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_is_fixed_by_its_seed_and_stays_in_range(name):
    clean, corrupt = random_image(50, 41).numpy(), CORRUPTIONS[name]
    noisy = corrupt(clean, 0.3, seed=1)
    assert (noisy == corrupt(clean, 0.3, seed=1)).all() and (noisy != corrupt(clean, 0.3, seed=2)).any()
    assert noisy.shape == clean.shape and noisy.dtype == np.float32
    assert noisy.min() >= 0 and noisy.max() <= 1


@pytest.mark.parametrize("shape", [(16, 16), (16, 17), (31, 64), (53, 37), (129, 200)])
@pytest.mark.parametrize("stride", [1, 3, 8, 16])
def test_cutting_and_assembling_are_exact_inverses(shape, stride):
    image = random_image(*shape)
    grid = PatchGrid(shape, 16, stride)
    assert torch.equal(grid.assemble(grid.extract(image)), image)


def test_overlaps_are_averaged():
    grid = PatchGrid((7, 9), 4, 3)
    patches = torch.rand(len(grid.tops) * len(grid.lefts), 16, generator=torch.Generator().manual_seed(0))
    total, count = np.zeros((7, 9)), np.zeros((7, 9))
    corners = [(top, left) for top in grid.tops.tolist() for left in grid.lefts.tolist()]
    for patch, (top, left) in zip(patches.numpy(), corners, strict=True):
        total[top : top + 4, left : left + 4] += patch.reshape(4, 4)
        count[top : top + 4, left : left + 4] += 1
    np.testing.assert_allclose(grid.assemble(patches), total / count, rtol=1e-6)


def test_patches_are_rows_of_pixels_in_reading_order():
    image = random_image(32, 48)
    patches = PatchGrid((32, 48), 16, 16).extract(image)
    assert patches.shape == (6, 256)
    assert torch.equal(patches[1], image[:16, 16:32].reshape(-1))
    assert torch.equal(patches[3], image[16:, :16].reshape(-1))


@pytest.mark.parametrize(("shape", "stride"), [((15, 40), 16), ((40, 40), 0), ((40, 40), 17)])
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


def test_dictionary_has_a_constant_atom_and_unit_atoms_without_mean():
    A = load_dictionary().double().numpy()
    assert A.shape == (256, 512)
    assert np.ptp(A[:, 0]) == 0
    assert A[:, 0] @ A[:, 0] == pytest.approx(np.linalg.norm(A, 2) ** 2, rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(A[:, 1:], axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(A[:, 1:].sum(axis=0), 0, atol=1e-4)


def test_constraint_is_the_identity_or_a_matrix_in_a_file(tmp_path):
    np.savez(tmp_path / "constraint.npz", B=np.arange(6.0).reshape(2, 3))
    assert load_constraint() is None
    np.testing.assert_array_equal(load_constraint(str(tmp_path / "constraint.npz")), np.arange(6.0).reshape(2, 3))
    np.savez(tmp_path / "nan.npz", B=np.full((2, 2), np.nan))
    for name in ("missing.npz", "nan.npz"):
        with pytest.raises(ValueError, match="allowed: identity, or an .npz file"):
            load_constraint(str(tmp_path / name))


def test_what_is_no_dictionary_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("not an array")
    (tmp_path / "empty.npz").write_text("")
    np.save(tmp_path / "plain.npy", np.ones((16, 20), dtype=np.float32))
    np.savez(tmp_path / "other.npz", D=np.ones((4, 4)))
    np.savez(tmp_path / "vector.npz", A=np.ones(16))
    np.savez(tmp_path / "not_square.npz", A=np.ones((15, 20)))
    np.savez(tmp_path / "nan.npz", A=np.full((16, 20), np.nan))
    np.savez(tmp_path / "object.npz", A=np.array([print], dtype=object))
    for path in [tmp_path / "missing.npz", *tmp_path.iterdir()]:
        with pytest.raises(ValueError, match="allowed: an .npz file"):
            load_dictionary(str(path))


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
