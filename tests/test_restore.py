"""Claims about restoring with a trained network: what it makes of an image of any format, and nothing half done."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from data.damage import DAMAGES
from data.dictionary import load_dictionary
from data.formats import save_pixels
from data.images import load_image, load_pixels, to_image, to_pixels
from data.patches import PatchGrid
from models import DLADMM
from tests.helpers import ROOT, refusal, salt_and_pepper
from utils.evaluation import restoration, solvers
from utils.evaluation.metrics import psnr
from utils.evaluation.restoration import restored_bands
from utils.restore import __main__ as restore
from utils.restore import chosen, networks
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
@pytest.mark.parametrize(("dtype", "ending"), [(np.uint8, "png"), (np.uint16, "tif")])
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
    monkeypatch.setitem(restoration.BAND, "cpu", 20)
    monkeypatch.setitem(solvers.BATCH, "cpu", 7)
    pixels = to_pixels(load_image("camera")[:100, :61], np.uint8)
    save_pixels(pixels, tmp_path / "image.png")
    run(checkpoint, tmp_path / "image.png", tmp_path / "restored.png", "--stride", 5)
    assert np.abs(load_pixels(str(tmp_path / "restored.png")) - expected(checkpoint, pixels, 5)).max() <= 1


def test_a_test_corrupts_first_and_says_what_the_restoration_is_worth(checkpoint, tmp_path, capsys):
    clean = to_pixels(load_image("camera")[200:300, 200:300], np.uint8)
    save_pixels(clean, tmp_path / "image.png")
    words = "--corruption", "salt_and_pepper", "--noise-rate", "0.12", "--seed", "7"
    run(checkpoint, tmp_path / "image.png", tmp_path / "out.png", *words)
    restored, noisy = (
        float(line.split("PSNR ")[1].split(" dB")[0]) for line in capsys.readouterr().out.splitlines()[2:]
    )
    assert noisy < 17 and restored > noisy + 8
    expected = to_pixels(salt_and_pepper(to_image(clean), 0.12, seed=7), np.uint8)
    np.testing.assert_array_equal(load_pixels(str(tmp_path / "out_noisy.png")), expected)


def said_quality(capsys):
    """PSNR and SSIM that a test says of the restored and of the corrupted picture."""
    found = re.findall(r"PSNR (.*) dB, SSIM (.*)", capsys.readouterr().out)
    return np.array(found, dtype=float)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_test_says_the_same_of_a_picture_however_many_bits_it_has(checkpoint, bits, tmp_path, capsys):
    image, said = load_image("camera")[200:264, 200:264], []
    for dtype, white in ((np.uint8, 255), (np.uint16, 2**bits - 1)):
        save_pixels(np.rint(image / image.max() * white).astype(dtype), tmp_path / "image.png")
        run(checkpoint, tmp_path / "image.png", tmp_path / "out.png", "--corruption", "salt_and_pepper")
        said.append(said_quality(capsys))
    np.testing.assert_allclose(said[1], said[0], atol=0.05)


def test_what_is_corrupted_for_a_test_is_no_jpeg_though_the_clean_picture_was_one(tmp_path, capsys):
    said = []
    Image.fromarray(to_pixels(load_image("camera")[150:246, 200:296], np.uint8)).save(tmp_path / "a.jpg", quality=50)
    save_pixels(load_pixels(str(tmp_path / "a.jpg")), tmp_path / "a.png")
    for name in ("a.jpg", "a.png"):
        words = ["--image", tmp_path / name, "--output", tmp_path / "out.png", "--corruption", "random_valued"]
        restore.main([str(word) for word in words])
        said.append(said_quality(capsys))
    np.testing.assert_array_equal(*said)


def test_without_a_stride_it_is_the_one_that_help_names(checkpoint, tmp_path, monkeypatch):
    save_pixels(to_pixels(load_image("camera")[200:250, 200:260], np.uint8), tmp_path / "image.png")
    save_network(DLADMM(torch.eye(16), 1, 0.6), tmp_path / "small.pt", {})

    def restored(network, *words):
        run(network, tmp_path / "image.png", tmp_path / "out.png", *words)
        return load_pixels(str(tmp_path / "out.png"))

    four, eight = (restored(checkpoint, "--stride", stride) for stride in (4, 8))
    assert (four != eight).any()
    np.testing.assert_array_equal(restored(checkpoint), four)
    monkeypatch.setattr(networks, "SMALL", 1000)
    np.testing.assert_array_equal(restored(checkpoint), eight)
    restored(tmp_path / "small.pt")  # patches of 4 x 4, of which 8 would leave gaps


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
    monkeypatch.setitem(restoration.BAND, "cpu", 20)
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


def test_detected_positions_are_better_than_the_detecting_network_alone(tmp_path, capsys):
    save_pixels(to_pixels(load_image("chelsea")[100:200, 150:250], np.uint8), tmp_path / "image.png")
    found = {}
    for name, options in (("noise_rates", ()), ("positions", ("--positions", "detected", "--replace", "corrupted"))):
        path = ROOT / "checkpoints" / name / "dladmm_d15.safetensors"
        run(path, tmp_path / "image.png", tmp_path / "out.png", "--corruption", "salt_and_pepper", *options)
        found[name] = float(re.search(r"out.png: PSNR (.*) dB", capsys.readouterr().out)[1])
    assert found["positions"] > found["noise_rates"] + 0.3


@pytest.fixture
def short(monkeypatch):
    """Epochs of learning that take a moment."""
    monkeypatch.setattr("utils.restore.learning.PATCHES_PER_EPOCH", 1000)
    monkeypatch.setattr("utils.restore.learning.BATCH_SIZE", 50)


def test_learning_on_the_image_itself_restores_it_better_and_the_network_can_be_kept(
    checkpoint, short, tmp_path, capsys
):
    clean = to_pixels(load_image("camera")[100:228, 200:328], np.uint8)
    noisy = to_pixels(salt_and_pepper(to_image(clean), 0.1, seed=3), np.uint8)
    save_pixels(noisy, tmp_path / "image.png")
    learning = ("--learn", "salt_and_pepper", "--epochs", "4", "--save", tmp_path / "mine.safetensors")
    before = checkpoint.read_bytes()
    run(checkpoint, tmp_path / "image.png", tmp_path / "plain.png")
    run(checkpoint, tmp_path / "image.png", tmp_path / "learned.png", *learning)
    said = capsys.readouterr().err
    assert "4/4" in said  # epochs
    said = re.search("estimated noise rate: (.*)%", said)
    assert float(said[1]) == pytest.approx(100 * (noisy != clean).mean(), abs=0.2)
    quality = {
        name: psnr(*map(to_image, (load_pixels(str(tmp_path / f"{name}.png")), clean))) for name in ("plain", "learned")
    }
    assert quality["learned"] > quality["plain"] + 3
    assert checkpoint.read_bytes() == before
    run(tmp_path / "mine.safetensors", tmp_path / "image.png", tmp_path / "again.png")
    again, learned = (load_pixels(str(tmp_path / f"{name}.png")).astype(int) for name in ("again", "learned"))
    assert np.abs(again - learned).max() <= 2  # weights are kept in half precision


def test_a_hole_wider_than_a_patch_is_filled_from_its_surroundings(tmp_path):
    """With a network for known positions; it would stay black where no pixel of a patch is known."""
    clean = load_image("chelsea")[100:196, 150:246]
    hole = np.zeros(clean.shape, dtype=np.uint8)
    hole[20:70, 25:75] = 255
    save_pixels(to_pixels(np.where(hole > 0, 0, clean), np.uint8), tmp_path / "image.png")
    save_pixels(hole, tmp_path / "mask.png")
    network = ROOT / "checkpoints" / "positions" / "dladmm_d15.safetensors"
    known = ("--positions", tmp_path / "mask.png", "--replace", "corrupted")
    run(network, tmp_path / "image.png", tmp_path / "out.png", *known)
    restored = to_image(load_pixels(str(tmp_path / "out.png")))
    around = clean[hole == 0]
    assert restored[hole > 0].min() > around.min() - 0.05
    assert np.abs(restored - clean)[hole > 0].mean() < np.abs(np.median(around) - clean)[hole > 0].mean()


def test_learning_can_start_from_an_untrained_network(short, tmp_path):
    clean = load_image("camera")[100:164, 200:264]
    noisy = to_pixels(salt_and_pepper(clean, 0.1, seed=3), np.uint8)
    save_pixels(noisy, tmp_path / "image.png")
    run("untrained", tmp_path / "image.png", tmp_path / "out.png", "--learn", "salt_and_pepper", "--epochs", "3")
    assert psnr(to_image(load_pixels(str(tmp_path / "out.png"))), clean) > psnr(to_image(noisy), clean) + 15


@pytest.mark.parametrize("helps", [True, False])
def test_learning_is_used_and_saved_if_it_helps_and_neither_if_not(helps, tmp_path, monkeypatch, capsys):
    """To remove the grain as well helps, though the noisy picture itself has it."""

    class Replaced(chosen.Learning):
        def __iter__(self):
            learned = load_network(networks.shipped("gaussian_and_impulses"))
            self.network = learned if helps else DLADMM(load_dictionary(), 1, 0.6)
            return iter(())

    monkeypatch.setattr(chosen, "Learning", Replaced)
    clean, mine = load_image("camera")[150:246, 200:296], tmp_path / "mine.safetensors"
    noisy = DAMAGES["gaussian_and_impulses"].corrupt(clean, rate=0.1, seed=1)
    save_pixels(to_pixels(noisy, np.uint8), tmp_path / "image.png")
    words = ("--learn", "gaussian_and_impulses", "--save", mine, "--stride", "8")
    run("noise_rates", tmp_path / "image.png", tmp_path / "out.png", *words)
    said, quality = capsys.readouterr().out, psnr(to_image(load_pixels(str(tmp_path / "out.png"))), clean)
    assert mine.exists() == helps
    assert ("learned on the picture" if helps else "did not help, and is neither used nor saved") in said
    assert quality > (31 if helps else 27)


def test_learning_that_is_interrupted_leaves_nothing(checkpoint, short, tmp_path, monkeypatch):
    noisy = salt_and_pepper(load_image("camera")[100:150, 200:250], 0.1, seed=3)
    save_pixels(to_pixels(noisy, np.uint8), tmp_path / "image.png")

    def interrupted(training, losses, gradients):
        raise KeyboardInterrupt

    monkeypatch.setattr("models.training.Training._check", interrupted)
    with pytest.raises(SystemExit) as stopped:
        run(checkpoint, tmp_path / "image.png", tmp_path / "out.png", "--learn", "salt_and_pepper",
            "--save", tmp_path / "mine.safetensors")  # fmt: skip
    assert stopped.value.code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--replace", "corrupted"], "replace is corrupted, and no positions are known; allowed: with --positions"),
        (["--epochs", "3"], "epochs are 3, and nothing is learned; allowed: with --learn"),
        (["--epochs", "3", "--checkpoint", "specks"], "epochs are 3, and nothing is learned; allowed: with --learn"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(options, message, tmp_path, capsys):
    words = ["--image", "camera", "--output", str(tmp_path / "out.png"), *options]
    assert message in refusal(capsys, restore.main, words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "missing.safetensors"], "checkpoint 'missing.safetensors' cannot be read"),
        (["--checkpoint", "SMALL"], "cannot be read"),
        (["--checkpoint", "NO_PATCHES"], "patches have 250 values; allowed: a square number"),
        (["--checkpoint", "OTHER_PROBLEM", "--positions", "extremes"], "positions are known, which is for g = l1"),
        (["--image", "SMALL"], "image is 40 x 15 pixels; allowed: at least 16 x 16, one patch"),
        (["--output", "out.gif"], "output is 'out.gif'; allowed for an image of 8 bits: a name in .png"),
        (["--checkpoint", "BLIND", "--positions", "extremes"], "but in training they were 'unknown'; allowed: unknown"),
        (["--checkpoint", "SIGHTED"], "positions are 'unknown', but in training they were 'extremes'; allowed: known"),
        (["--output", "SMALL", "--image", "SMALL"], "a folder or a file that is read; allowed: another name"),
        (["--stride", "17"], "stride is 17; allowed: 1 to 16"),
        (["--checkpoint", "untrained"], "checkpoint is untrained, and nothing is learned; allowed: with --learn"),
        (["--checkpoint", "BLIND", "--positions", "extremes"], "or --checkpoint positions or missing_blocks"),
        (["--checkpoint", "SIGHTED"], "or --checkpoint noise_rates or specks"),
        (["--save", "mine.safetensors"], "save is 'mine.safetensors', and nothing is learned; allowed: with --learn"),
        (["--learn", "missing_blocks", "--save", "BLIND"], "a name in .safetensors of a file that is not read"),
        (["--learn", "salt_and_pepper"], "estimated from the image; allowed: 0.002 to 1"),
        (["--learn", "rain"], "--learn is rain; allowed: salt_and_pepper"),
        (["--replace", "corrupted"], "replace is corrupted, and positions are unknown; allowed here: all"),
    ],
)
def test_what_does_not_fit_is_one_line_exit_code_2_and_no_file(checkpoint, arguments, message, tmp_path, capsys):
    save_pixels(np.zeros((15, 40), dtype=np.uint8), tmp_path / "small.png")
    for name, positions in (("blind", "unknown"), ("sighted", "extremes")):
        save_network(load_network(checkpoint), tmp_path / f"{name}.pt", {"positions": positions})
    save_network(DLADMM(load_dictionary(), 1, 0.6, B=torch.ones(256, 2)), tmp_path / "other_problem.pt", {})
    save_network(DLADMM(torch.ones(250, 9), 1, 0.6), tmp_path / "no_patches.pt", {})
    before = sorted(tmp_path.iterdir())
    places = {path.stem.upper(): path for path in before}
    words = (places.get(word, word) for word in arguments)
    assert message in refusal(capsys, run, checkpoint, "camera", tmp_path / "out.png", *words)
    assert sorted(tmp_path.iterdir()) == before
