"""Claims about restoring with a trained network: what it makes of an image of any format, and nothing half done."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from data.dictionary import load_dictionary
from data.formats import save_pixels
from data.images import load_image, load_pixels, to_image, to_pixels
from data.patches import PatchGrid
from models import DLADMM
from utils import restore
from utils.evaluation.restoration import restored_bands
from utils.running.checkpoints import load_network, save_network


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "network.safetensors"
    network = DLADMM(
        load_dictionary(), 3, 0.6, beta=8.0, initialization="pseudo_inverse", activation="piecewise_linear"
    )
    save_network(network, path, {})
    return path


def run(checkpoint, image, output, *arguments):
    words = ("--checkpoint", checkpoint, "--image", image, "--output", output, *arguments)
    restore.main([str(word) for word in words])


def expected(checkpoint, pixels, stride):
    """The restored grey image: all patches at once."""
    grid = PatchGrid(pixels.shape, 16, stride)
    with torch.no_grad():
        patches = load_network(checkpoint)(grid.extract(torch.from_numpy(to_image(pixels))))[-1].AZ
    return to_pixels(grid.assemble(patches).clamp(0, 1).numpy(), pixels.dtype).astype(int)


@pytest.mark.parametrize("stride", [4, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_every_channel_is_restored_in_the_depth_it_has(checkpoint, stride, dtype, ending, tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(np.iinfo(dtype).max + 1, size=(45, 39, 3), dtype=dtype)
    save_pixels(pixels, tmp_path / f"image.{ending}")
    run(checkpoint, tmp_path / f"image.{ending}", tmp_path / f"restored.{ending}", "--stride", stride)
    restored = load_pixels(str(tmp_path / f"restored.{ending}"))
    assert restored.dtype == dtype and restored.shape == pixels.shape
    for channel in range(3):
        difference = restored[..., channel] - expected(checkpoint, pixels[..., channel], stride)
        assert np.abs(difference).max() <= 1
    assert "no clean image to compare with, so no PSNR" in capsys.readouterr().out


def test_bands_do_not_show(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.evaluation.restoration.BAND", 20)
    monkeypatch.setattr("utils.evaluation.restoration.BATCH", 7)
    pixels = to_pixels(load_image("camera")[:100, :61], np.uint8)
    save_pixels(pixels, tmp_path / "image.png")
    run(checkpoint, tmp_path / "image.png", tmp_path / "restored.png", "--stride", 5)
    assert np.abs(load_pixels(str(tmp_path / "restored.png")) - expected(checkpoint, pixels, 5)).max() <= 1


def test_a_test_corrupts_first_and_says_what_the_restoration_is_worth(checkpoint, tmp_path, capsys):
    save_pixels(to_pixels(load_image("camera")[200:300, 200:300], np.uint8), tmp_path / "image.png")
    run(checkpoint, tmp_path / "image.png", tmp_path / "out.png", "--corruption", "salt_and_pepper")
    restored, noisy = (
        float(line.split("PSNR ")[1].split(" dB")[0]) for line in capsys.readouterr().out.splitlines()[1:]
    )
    assert noisy < 17 and restored > noisy + 8
    assert (tmp_path / "out_noisy.png").exists()


def test_pixels_outside_a_mask_are_kept_if_asked_for(checkpoint, tmp_path):
    pixels = to_pixels(load_image("camera")[200:260, 200:260], np.uint8)
    mask = np.zeros_like(pixels)
    mask[20:24, 5:50] = 255
    save_pixels(np.where(mask, np.uint8(255), pixels), tmp_path / "scratched.png")
    save_pixels(mask, tmp_path / "mask.png")
    run(checkpoint, tmp_path / "scratched.png", tmp_path / "out.png", "--positions", tmp_path / "mask.png",
        "--replace", "corrupted")  # fmt: skip
    restored = load_pixels(str(tmp_path / "out.png"))
    np.testing.assert_array_equal(restored[mask == 0], pixels[mask == 0])
    assert np.abs(restored[mask > 0].astype(int) - pixels[mask > 0]).mean() < 40


def test_bands_replace_the_corrupted_pixels_of_their_own_rows(checkpoint, noisy, monkeypatch):
    monkeypatch.setattr("utils.evaluation.restoration.BAND", 20)
    network, mask = load_network(checkpoint), ((noisy > 0) & (noisy < 1)).float()
    grid = PatchGrid(noisy.shape, 16, 8)
    everywhere, corrupted = (list(restored_bands(network, grid, noisy, mask, what)) for what in ("all", "corrupted"))
    assert len(corrupted) > 5
    assert torch.equal(torch.cat(corrupted), torch.where(mask == 0, torch.cat(everywhere), noisy))


def test_a_white_sky_that_is_taken_for_salt_stays_white(checkpoint, tmp_path):
    pixels = to_pixels(load_image("camera")[200:280, 200:280], np.uint8)
    pixels[:48, :48] = 255
    save_pixels(pixels, tmp_path / "image.png")
    run(checkpoint, tmp_path / "image.png", tmp_path / "out.png", "--positions", "extremes", "--stride", "16")
    assert load_pixels(str(tmp_path / "out.png"))[:48, :48].mean() > 230


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "missing.safetensors"], "checkpoint 'missing.safetensors' cannot be read"),
        (["--checkpoint", "TRUNCATED"], "cannot be read"),
        (["--checkpoint", "FOREIGN"], "cannot be read"),
        (["--checkpoint", "TEXT"], "cannot be read"),
        (["--checkpoint", "OTHER_DEPTH"], "cannot be read"),
        (["--checkpoint", "NO_PATCHES"], "patches have 250 values; allowed: a square number"),
        (["--checkpoint", "OTHER_PROBLEM", "--positions", "extremes"], "positions are known, which is for g = l1"),
        (["--image", "SMALL"], "image is 40 x 15 pixels; allowed: at least 16 x 16, one patch"),
        (["--output", "out.gif"], "output is 'out.gif'; allowed for an image of 8 bits: a name in .png"),
        (["--checkpoint", "BLIND", "--positions", "extremes"], "but in training they were 'unknown'; allowed: unknown"),
        (["--checkpoint", "SIGHTED"], "positions are 'unknown', but in training they were 'extremes'; allowed: known"),
        (["--output", "SMALL", "--image", "SMALL"], "a folder or a file that is read; allowed: another name"),
        (["--checkpoint", "TENSOR"], "cannot be read"),
        (["--stride", "17"], "stride is 17; allowed: 1 to 16"),
        (["--replace", "corrupted"], "replace is corrupted, and positions are unknown; allowed here: all"),
    ],
)
def test_what_does_not_fit_is_one_line_exit_code_2_and_no_file(checkpoint, arguments, message, tmp_path, capsys):
    save_pixels(np.zeros((15, 40), dtype=np.uint8), tmp_path / "small.png")
    (tmp_path / "truncated.pt").write_bytes(checkpoint.read_bytes()[:-1000])
    save_file({"weights": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    for name, positions in (("blind", "unknown"), ("sighted", "extremes")):
        save_network(load_network(checkpoint), tmp_path / f"{name}.pt", {"positions": positions})
    (tmp_path / "text.pt").write_text("no network")
    with safe_open(checkpoint, framework="pt") as file:
        text, tensors = file.metadata()["dladmm"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = json.dumps(json.loads(text) | {"depth": 2})
    save_file(tensors, tmp_path / "other_depth.safetensors", {"dladmm": text})
    other = DLADMM(load_dictionary(), 1, 0.6, B=torch.ones(256, 2))
    save_network(other, tmp_path / "other_problem.pt", {})
    save_network(DLADMM(torch.ones(250, 9), 1, 0.6), tmp_path / "no_patches.pt", {})
    before = sorted(tmp_path.iterdir())
    places = {path.stem.upper(): path for path in before}
    with pytest.raises(SystemExit) as stopped:
        run(checkpoint, "camera", tmp_path / "out.png", *(places.get(word, word) for word in arguments))
    output = capsys.readouterr()
    assert stopped.value.code == 2
    assert message in output.err and output.err.count("\n") == 1 and output.out == ""
    assert sorted(tmp_path.iterdir()) == before
