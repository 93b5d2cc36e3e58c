"""Claims about inputs of any kind: files that are broken, strange or hostile are refused in a line, others are used."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import main_lena
from data.corruption import CORRUPTIONS
from data.dictionary import load_constraint, load_dictionary
from data.formats import save_pixels
from data.images import load_pixels, to_image, to_pixels
from data.patches import PatchGrid
from models import DLADMM
from utils.running.checkpoints import load_network, save_network

every = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(read, *arguments):
    """The line that a ValueError has."""
    with pytest.raises(ValueError, match="allowed") as error:
        read(*arguments)
    return str(error.value)


def as_file(image, ending, **options):
    buffer = io.BytesIO()
    image.save(buffer, ending, **options)
    return buffer.getvalue()


GREY = Image.fromarray(np.uint8(np.arange(400).reshape(20, 20) % 256))
PNG = as_file(GREY, "PNG")


def png_of(width, height):
    """A PNG that says it is so large, and has next to nothing inside."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def tiff_of(values):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values)
    return buffer.getvalue()


REFUSED_IMAGES = {
    "empty.png": b"",
    "text.png": b"I am no image.\n",
    "truncated.png": PNG[: len(PNG) // 2],
    "header_only.png": PNG[:40],
    "zero_wide.png": png_of(0, 5),
    "huge.png": png_of(100_000, 100_000),
    "cmyk.jpg": as_file(Image.new("CMYK", (20, 20)), "JPEG"),
    "animated.gif": as_file(GREY, "GIF", save_all=True, append_images=[Image.new("L", (20, 20))]),
    "pages.tif": as_file(GREY, "TIFF", save_all=True, append_images=[GREY]),
    "float.tif": tiff_of(np.full((20, 20), 0.5, dtype=np.float32)),
    "nan.tif": tiff_of(np.full((20, 20), np.nan, dtype=np.float32)),
    "signed.tif": tiff_of(np.zeros((20, 20), dtype=np.int16)),
    "five_channels.tif": tiff_of(np.zeros((20, 20, 5), dtype=np.uint8)),
}


@pytest.mark.parametrize("name", REFUSED_IMAGES)
def test_images_that_cannot_be_used_are_refused_in_a_line_before_anything_happens(name, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(REFUSED_IMAGES[name])
    with pytest.raises(SystemExit) as stopped:
        main_lena.main(
            ["--image", str(path), "--results-dir", str(tmp_path / "r"), "--checkpoint-dir", str(tmp_path / "c")]
        )
    output = capsys.readouterr()
    assert stopped.value.code == 2 and output.out == ""
    assert output.err.startswith("error: image") and "allowed" in output.err and output.err.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (15, 16), (1, 1)])
def test_images_smaller_than_a_patch_are_refused(shape, tmp_path, capsys):
    save_pixels(np.zeros(shape, dtype=np.uint8), tmp_path / "small.png")
    with pytest.raises(SystemExit):
        main_lena.main(
            [
                "--image",
                str(tmp_path / "small.png"),
                "--results-dir",
                str(tmp_path / "results"),
                "--checkpoint-dir",
                str(tmp_path / "c"),
            ]
        )
    assert "allowed: at least 16 x 16, one patch" in capsys.readouterr().err


READ_IMAGES = {
    "palette.png": (as_file(Image.new("P", (20, 20)), "PNG"), np.uint8, (20, 20, 3)),
    "black_and_white.png": (as_file(Image.new("1", (20, 20)), "PNG"), np.uint8, (20, 20)),
    "sixteen_bits.png": (as_file(Image.new("I;16", (20, 20)), "PNG"), np.uint16, (20, 20)),
    "sixteen_bits.tif": (tiff_of(np.zeros((20, 20), dtype=np.uint16)), np.uint16, (20, 20)),
    "colour.jpg": (as_file(Image.new("RGB", (20, 20)), "JPEG"), np.uint8, (20, 20, 3)),
}


@pytest.mark.parametrize("name", READ_IMAGES)
def test_other_images_keep_their_bits_and_channels(name, tmp_path):
    content, dtype, shape = READ_IMAGES[name]
    (tmp_path / name).write_bytes(content)
    pixels = load_pixels(str(tmp_path / name))
    assert pixels.dtype == dtype and pixels.shape == shape


@given(st.binary(max_size=200), st.integers(0, len(PNG)), st.sampled_from(["png", "jpg", "tif"]))
@every
def test_no_bytes_make_the_reader_of_images_fail_otherwise(tmp_path, noise, place, ending):
    path = tmp_path / f"any.{ending}"
    path.write_bytes(PNG[:place] + noise + PNG[place + len(noise) :])
    try:
        pixels = load_pixels(str(path))
    except ValueError as error:
        assert "allowed" in str(error) and len(str(error).splitlines()) == 1
    else:
        assert pixels.dtype in (np.uint8, np.uint16) and pixels.ndim in (2, 3)


PIXELS = st.one_of(
    arrays.arrays(dtype, st.one_of(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.just((17, 19, 3))))
    for dtype in (np.uint8, np.uint16)
)


@given(PIXELS, st.sampled_from(["png", "tif"]))
@every
def test_what_is_written_is_read_again(tmp_path, pixels, ending):
    path = tmp_path / f"image.{ending}"
    save_pixels(pixels, path)
    np.testing.assert_array_equal(load_pixels(str(path)), pixels)
    np.testing.assert_array_equal(to_pixels(to_image(pixels), pixels.dtype), pixels)


@given(
    st.integers(1, 9).flatmap(
        lambda patch: st.tuples(
            st.just(patch),
            st.integers(1, patch),
            st.integers(patch, 30),
            st.integers(patch, 30),
            st.sampled_from([0, 1, 3]),
        )
    ),
    st.integers(1, 50),
)
@every
def test_patches_of_any_grid_make_the_image_again(sizes, batch):
    patch, stride, height, width, channels = sizes
    shape = (height, width, channels) if channels else (height, width)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(batch))
    grid = PatchGrid(shape, patch, stride)
    assert torch.equal(grid.assemble(grid.extract(image)), image)
    assert torch.equal(torch.cat(list(grid.process(lambda X: X, image, batch=batch))), image)


@given(
    st.sampled_from([name for name, corrupt in CORRUPTIONS.items() if corrupt]),
    st.floats(0, 1),
    st.integers(0, 2**31),
    st.integers(4, 30),
    st.integers(4, 30),
)
@every
def test_corruptions_of_any_image_at_any_rate_stay_images(name, rate, seed, height, width):
    image = np.random.default_rng(0).random((height, width), dtype=np.float32)
    before = image.copy()
    noisy, again = (CORRUPTIONS[name](image, rate=rate, seed=seed) for _ in range(2))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(noisy, again)
    assert noisy.shape == image.shape and noisy.dtype == np.float32 and noisy.min() >= 0 and noisy.max() <= 1


def with_nan(A):
    return np.where(A[0, 0] == A, np.nan, A)


DICTIONARIES = {
    "wrong shape": np.ones(256, dtype=np.float32),
    "no square patches": np.ones((250, 9), dtype=np.float32),
    "empty": np.ones((256, 0), dtype=np.float32),
    "not a number": with_nan(np.ones((256, 4), dtype=np.float32)),
    "infinite": np.full((256, 4), np.inf),
    "a zero column": np.eye(256)[:, :9] * (np.arange(9) > 0),
    "not numeric": np.full((256, 4), "x"),
    "complex": np.ones((256, 4), dtype=complex),
    "objects": np.full((256, 4), None, dtype=object),
}


@pytest.mark.parametrize("name", DICTIONARIES)
def test_dictionaries_that_cannot_be_used_are_refused(name, tmp_path):
    np.savez(tmp_path / "dictionary.npz", A=DICTIONARIES[name])
    refused(load_dictionary, str(tmp_path / "dictionary.npz"))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"], ids=["empty", "text", "truncated"])
def test_files_that_hold_no_array_are_refused(content, tmp_path):
    (tmp_path / "file.npz").write_bytes(content)
    for read in (load_dictionary, load_constraint):
        refused(read, str(tmp_path / "file.npz"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "network.safetensors"
    save_network(DLADMM(torch.eye(4, 6) + 1, 2, 0.5), path, {})
    return path.read_bytes()


@given(st.data())
@every
def test_broken_checkpoints_are_refused_or_are_networks(checkpoint, tmp_path, data):
    place = data.draw(st.integers(0, len(checkpoint) - 1))
    noise = data.draw(st.binary(max_size=30))
    cut = data.draw(st.booleans())
    path = tmp_path / "network.safetensors"
    path.write_bytes(checkpoint[:place] + noise + (b"" if cut else checkpoint[place + len(noise) :]))
    try:
        assert isinstance(load_network(path), DLADMM)
    except ValueError as error:
        assert "allowed" in str(error) and len(str(error).splitlines()) == 1


@pytest.mark.parametrize("name", ["weights.0.W1", "weights.1.beta"])
def test_checkpoints_whose_weights_have_other_shapes_are_refused(name, checkpoint, tmp_path):
    path = tmp_path / "network.safetensors"
    path.write_bytes(checkpoint)
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors | {name: tensors[name][:-1].clone()}, path, metadata)
    assert "its weights are not those of its depth" in refused(load_network, path)


def test_code_in_a_checkpoint_is_not_run(code, tmp_path):
    torch.save({"A": code}, tmp_path / "network.safetensors")
    assert "PyTorch" not in refused(load_network, tmp_path / "network.safetensors")
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 3},
        {"depth": 0},
        {"depth": "2"},
        {"activation": "tanh"},
        {"f": ["l3", {}]},
        {"g": ["l1", {"radius": 1}]},
        {"restored": None},
    ],
    ids=str,
)
def test_checkpoints_of_something_else_are_refused(change, checkpoint, tmp_path):
    (tmp_path / "whole.safetensors").write_bytes(checkpoint)
    with safe_open(tmp_path / "whole.safetensors", framework="pt") as file:
        text, tensors = file.metadata()["dladmm"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path = tmp_path / "network.safetensors"
    save_file(tensors, path, {"dladmm": json.dumps(json.loads(text) | change)})
    refused(load_network, path)
    for metadata in ({}, {"dladmm": "[]"}, {"dladmm": "no JSON"}):
        save_file(tensors, path, metadata)
        refused(load_network, path)
    for missing in ("A", "weights.0.W1", "scales.0.W1"):
        save_file({name: tensor for name, tensor in tensors.items() if name != missing}, path, {"dladmm": text})
        refused(load_network, path)
