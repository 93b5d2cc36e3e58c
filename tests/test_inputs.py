"""Claims about inputs of any kind: files that are broken, strange or hostile are refused in a line, others are used."""

import io
import json
from contextlib import suppress

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

import main_lena
from data.damage import DAMAGES
from data.dictionary import load_constraint, load_dictionary
from data.errors import InvalidInput
from data.images import load_pixels
from data.patches import PatchGrid
from models import DLADMM
from tests.helpers import png_of, refusal, stored
from utils.running.checkpoints import load_network, save_network

SIZES = st.tuples(st.integers(4, 30), st.integers(4, 30))
every = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(read, *arguments):
    with pytest.raises(ValueError, match="allowed") as error:
        read(*arguments)
    return str(error.value)


def as_file(image, ending, **options):
    buffer = io.BytesIO()
    image.save(buffer, ending, **options)
    return buffer.getvalue()


def tiff_of(values, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **({"photometric": "minisblack"} | options))
    return buffer.getvalue()


GREY, BLACK = Image.fromarray(np.uint8(np.arange(400).reshape(20, 20) % 256)), Image.new("L", (20, 20))
PNG = as_file(GREY, "PNG")
TIFF = tiff_of(np.zeros((9, 9, 4), dtype=np.uint8), photometric="rgb", compression="zlib")
REFUSED_IMAGES = {
    "empty.png": b"",
    "text.png": b"I am no image.\n",
    "truncated.png": PNG[: len(PNG) // 2],
    "truncated_sixteen_bits.png": png_of(20, 20, bytes(2000), bits=16, colour=2),
    "zero_wide.png": png_of(0, 5),
    "huge.png": png_of(100_000, 100_000),
    "cmyk.jpg": as_file(Image.new("CMYK", (20, 20)), "JPEG"),
    "animated.gif": as_file(GREY, "GIF", save_all=True, append_images=[BLACK]),
    "pages.tif": as_file(GREY, "TIFF", save_all=True, append_images=[GREY]),
    "float.tif": tiff_of(np.full((20, 20), 0.5, dtype=np.float32)),
    "signed.tif": tiff_of(np.zeros((20, 20), dtype=np.int16)),
    "five_frames.tif": tiff_of(np.zeros((5, 20, 20), dtype=np.uint8)),
}


@pytest.mark.parametrize("name", REFUSED_IMAGES)
def test_images_that_cannot_be_used_are_refused_in_a_line_before_anything_happens(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(REFUSED_IMAGES[name])
    words = ("--image", tmp_path / name, "--results-dir", tmp_path / "r", "--checkpoint-dir", tmp_path / "c")
    said = refusal(capsys, main_lena.main, [str(word) for word in words])
    assert said.startswith("error: image") and "allowed: lena, " in said
    assert [each.name for each in tmp_path.iterdir()] == [name]


@given(st.binary(max_size=200), st.integers(0, 1000), st.sampled_from([PNG, TIFF]), st.sampled_from(["png", "tif"]))
@every
def test_no_bytes_make_the_reader_of_images_fail_otherwise(tmp_path, noise, place, content, ending):
    path, place = tmp_path / f"any.{ending}", place % len(content)
    path.write_bytes(content[:place] + noise + content[place + len(noise) :])
    with suppress(InvalidInput):
        assert load_pixels(str(path)).dtype in (np.uint8, np.uint16)


@given(st.data(), st.integers(1, 9), st.sampled_from([(), (1,), (3,)]), st.one_of(st.integers(1, 50), st.just(10_000)))
@every
def test_patches_of_any_grid_make_the_image_again_at_once_and_in_bands(data, patch, channels, batch):
    shape = tuple(data.draw(st.integers(patch, 24)) for _ in range(2)) + channels
    grid = PatchGrid(shape, patch, data.draw(st.integers(1, patch)))
    image, mask = torch.rand(2, *shape, generator=torch.Generator().manual_seed(batch))
    assert torch.equal(grid.assemble(grid.extract(image)), image)

    def solve(X, known):
        return X.square() + known * X.mean(dim=1, keepdim=True)

    bands = list(grid.process(solve, image, mask, batch=batch))
    assert len(bands) > 1 or len(grid) <= batch or len(grid.tops) == 1
    torch.testing.assert_close(torch.cat(bands), grid.assemble(solve(grid.extract(image), grid.extract(mask))))


@given(st.sampled_from([*DAMAGES]), st.floats(0, 1), st.integers(0, 2**31), SIZES, st.sampled_from([(), (3,)]))
@every
def test_corruptions_of_any_image_at_any_rate_stay_images_and_are_fixed_by_the_seed(name, rate, seed, size, channels):
    corrupt, image = DAMAGES[name].corrupt, np.random.default_rng(0).random(size + channels, dtype=np.float32)
    before = image.copy()
    noisy, again = (corrupt(image, rate=rate, seed=seed) for _ in range(2))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(noisy, again)
    assert noisy.shape == image.shape and noisy.dtype == np.float32 and noisy.min() >= 0 and noisy.max() <= 1
    large = np.full((50, 41) + channels, 0.5, dtype=np.float32)
    assert (corrupt(large, 0.3, seed) != corrupt(large, 0.3, seed + 1)).any()


MATRICES = {
    "a vector": np.ones(256, dtype=np.float32),
    "no square patches": np.ones((250, 9), dtype=np.float32),
    "empty": np.ones((256, 0), dtype=np.float32),
    "not a number": np.full((256, 4), np.nan),
    "a zero column": np.ones((256, 9)) * (np.arange(9) > 0),
    "complex": np.ones((256, 4), dtype=complex),
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrices_that_cannot_be_used_are_refused(name, tmp_path):
    np.savez(tmp_path / "file.npz", A=MATRICES[name], B=MATRICES[name])
    assert "allowed: shipped, unit_atoms, or an .npz file" in refused(load_dictionary, str(tmp_path / "file.npz"))
    if name != "no square patches":
        assert "allowed: identity, or an .npz file" in refused(load_constraint, str(tmp_path / "file.npz"))
    matrix = np.ones((16, 3)) * (np.arange(16) > 0)[:, None]  # no atom reaches the first pixel: that is allowed
    np.savez(tmp_path / "file.npz", A=matrix, B=matrix)
    for read in (load_dictionary, load_constraint):
        np.testing.assert_array_equal(read(str(tmp_path / "file.npz")), matrix)


def test_files_that_hold_no_such_array_are_refused_without_advice_to_load_them_unsafely(tmp_path):
    for name, content in {"empty.npz": b"", "text.npz": b"Some notes.\n", "truncated.npz": b"PK\x03\x04"}.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "an_array.npy", np.eye(4))
    np.savez(tmp_path / "another_name.npz", D=np.ones((4, 4)))
    np.savez(tmp_path / "objects.npz", A=np.full((4, 4), None), B=np.full((4, 4), None))
    for path in map(str, (tmp_path / "missing.npz", *tmp_path.iterdir())):
        for role, read in {"dictionary": load_dictionary, "constraint": load_constraint}.items():
            said = refused(read, path)
            assert said.startswith(f"{role} {path!r} cannot be read (") and "pickle" not in said


def test_code_in_a_checkpoint_or_a_dictionary_is_not_run(code, tmp_path):
    torch.save({"A": code}, tmp_path / "network.safetensors")
    assert "PyTorch" not in refused(load_network, tmp_path / "network.safetensors")
    np.savez(tmp_path / "dictionary.npz", A=np.array([[code]]))
    refused(load_dictionary, str(tmp_path / "dictionary.npz"))
    assert not (tmp_path / "was here").exists()


CHANGES = [
    {"depth": 3}, {"depth": 1}, {"depth": 0}, {"depth": "2"}, {"activation": "tanh"}, {"f": ["l3", {}]},
    {"g": ["l1", {"radius": 1}]}, {"restored": None},
]  # fmt: skip


def test_checkpoints_of_something_else_are_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    save_network(DLADMM(torch.eye(4, 6) + 1, 2, 0.5), path, {})
    text, tensors = stored(path)
    path.write_bytes(path.read_bytes()[:-9])
    refused(load_network, path)

    def check(tensors, description=text):
        save_file(tensors, path, {} if description is None else {"dladmm": description})
        refused(load_network, path)

    for description in (*(json.dumps(json.loads(text) | change) for change in CHANGES), "[]", "no JSON", None):
        check(tensors, description)
    for name in ("A", "weights.0.W1", "scales.0.W1"):
        check({other: tensor for other, tensor in tensors.items() if other != name})
    for name in ("weights.0.W1", "weights.1.beta"):
        check(tensors | {name: tensors[name][:-1].clone()})
