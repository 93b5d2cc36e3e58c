"""Claims about the methods to compare with: they are what their papers say, and as good as is known."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.ndimage import correlate, median_filter
from scipy.optimize import linprog, minimize
from skimage.restoration import denoise_nl_means

from data.corruption import gaussian_and_impulses, random_valued, salt_and_pepper
from data.images import load_image
from data.masks import black, extremes
from tests.helpers import ROOT
from utils.evaluation.metrics import psnr
from utils.methods import by_channel, inpainted_impulses, inpainting
from utils.rivals import cnn
from utils.rivals.classical import converged_ladmm, inpainted, inpainted_and_smoothed, total_variation
from utils.rivals.medians import centre_weighted_median, impulse_mask, is_impulse, median, switching_median
from utils.running.errors import UserError

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("corrupt", "rate", "restore", "known"),
    [
        (salt_and_pepper, 0.1, lambda noisy: median_filter(noisy, 3), 33.7),
        (salt_and_pepper, 0.1, inpainting().restore, 45.4),
        (salt_and_pepper, 0.1, lambda noisy: total_variation(1.8, noisy), 35.4),
        (random_valued, 0.2, lambda noisy: total_variation(1.5, noisy), 33.0),
    ],
)
def test_they_are_as_good_on_lena_as_is_known(corrupt, rate, restore, known):
    clean = load_image("lena")
    assert psnr(restore(corrupt(clean, rate, 1126)), clean) == pytest.approx(known, abs=0.2)


def test_methods_that_look_for_the_impulses_are_better_than_those_that_do_not():
    clean = load_image("camera")[60:260, 100:300]
    hit, valued = salt_and_pepper(clean, 0.3, 5), random_valued(clean, 0.2, 5)
    assert psnr(switching_median(hit), clean) > psnr(median(5, hit), clean) + 3
    detected = [psnr(restore(0.5, valued), clean) for restore in (centre_weighted_median, inpainted_impulses)]
    assert min(detected) > psnr(median(3, valued), clean) + 1


def test_non_local_means_after_inpainting_is_better_than_inpainting_and_than_itself():
    clean = load_image("camera")[60:160, 100:200]
    noisy = gaussian_and_impulses(clean, 0.1, 5)
    alone = denoise_nl_means(noisy, 5, 6, h=0.028, sigma=0.04)
    reached = psnr(inpainted_and_smoothed(0.7, noisy), clean)
    assert reached > psnr(inpainted(extremes, noisy), clean) + 2 and reached > psnr(alone, clean) + 2


def test_overlapping_patches_help_converged_ladmm():
    clean = load_image("camera")[60:140, 100:180]
    noisy = salt_and_pepper(clean, 0.1, 5)
    for find_mask in (None, extremes):
        apart, overlapping = (converged_ladmm(0.5, noisy, stride, find_mask) for stride in (16, 8))
        assert psnr(overlapping, clean) > psnr(apart, clean) + 0.3


def test_methods_that_know_the_positions_leave_the_other_pixels_alone():
    noisy = salt_and_pepper(load_image("camera")[100:200, 100:200], 0.1, 1126)
    untouched = (noisy > 0) & (noisy < 1)
    for restore in (switching_median, inpainting().restore, lambda x: converged_ladmm(0.4, x, 8, extremes)):
        np.testing.assert_array_equal(restore(noisy)[untouched], noisy[untouched])


def test_filters_of_a_colour_image_are_those_of_its_channels():
    noisy = salt_and_pepper(RANDOM.random((20, 30, 3), dtype=np.float32), 0.3, 5)
    grey = inpainting().restore
    for restore, by_itself in (
        (lambda image: median(3, image), lambda image: median(3, image)),
        (switching_median, switching_median),
        (by_channel(grey), grey),
    ):
        channels = [by_itself(noisy[..., channel]) for channel in range(3)]
        np.testing.assert_array_equal(restore(noisy), np.stack(channels, axis=2))


def test_the_switching_median_is_that_of_the_good_pixels_in_the_smallest_square_with_one():
    noisy = salt_and_pepper(load_image("camera")[100:130, 90:130], 0.8, 3)
    noisy[10:15, 10:15] = RANDOM.integers(2, size=(5, 5))  # with no good pixel in 5 x 5 around the middle
    good, restored = extremes(noisy) == 1, switching_median(noisy)
    values, known = (np.pad(plane, 3, mode="symmetric") for plane in (noisy, good))
    sizes = set()
    for row, column in np.argwhere(~good):
        for size in (3, 5, 7):
            square = np.s_[row + 3 - size // 2 : row + 4 + size // 2, column + 3 - size // 2 : column + 4 + size // 2]
            if known[square].any():
                assert restored[row, column] == pytest.approx(np.median(values[square][known[square]]))
                sizes.add(size)
                break
    assert sizes == {3, 5, 7}


def test_the_switching_median_fills_a_hole_of_any_size_from_its_border():
    noisy = np.full((30, 30), 0.5, dtype=np.float32)
    noisy[:, 15:], noisy[5:25, 5:25] = 0.6, 0
    restored = switching_median(noisy, black)
    assert (restored != 0).all() and 0.5 <= restored.min() <= restored.max() <= np.float32(0.6)
    nothing = np.zeros((9, 9), dtype=np.float32)
    np.testing.assert_array_equal(switching_median(nothing, lambda image: np.zeros_like(image)), nothing)


def test_an_impulse_is_what_the_adaptive_centre_weighted_median_says():
    noisy = random_valued(load_image("camera")[100:116, 90:110], 0.2, 3)
    padded, found = np.pad(noisy, 1, mode="symmetric"), is_impulse(0.3, noisy)
    assert 0.1 < found.mean() < 0.4
    for (row, column), x in np.ndenumerate(noisy):
        around = padded[row : row + 3, column : column + 3].ravel().tolist()
        deviation = np.median(np.abs(np.array(around) - np.median(around)))
        differences = [abs(np.median(around + 2 * k * [x]) - x) for k in range(4)]
        limits = [0.3 * deviation + tolerance / 255 for tolerance in (40, 25, 10, 5)]
        assert found[row, column] == any(d > limit for d, limit in zip(differences, limits, strict=True))


def test_the_mask_of_impulses_is_of_the_pixels_that_the_filter_replaces():
    noisy = random_valued(load_image("camera")[100:180, 90:170], 0.2, 3)
    changed, masked = centre_weighted_median(0.3, noisy) != noisy, impulse_mask(0.3, noisy) == 0
    assert masked[changed].all() and changed.mean() > 0.1
    assert (masked & ~changed).mean() < 0.01  # a median can be the pixel itself


def test_total_variation_of_a_line_is_the_optimum_of_a_linear_program():
    """min Σ |u_{i+1} − u_i| + w Σ |u_i − x_i| over u, with a bound for every absolute value."""
    x, weight = RANDOM.random(24), 0.7
    differences = np.diff(np.eye(24), axis=0)
    rows = np.vstack([differences, np.eye(24)])
    offsets = np.concatenate([np.zeros(23), x])
    costs = np.concatenate([np.zeros(24), np.ones(23), weight * np.ones(24)])
    bounds = np.block([[rows, -np.eye(47)], [-rows, -np.eye(47)]])
    solved = linprog(costs, bounds, np.concatenate([offsets, -offsets]), bounds=[(None, None)] * 24 + [(0, None)] * 47)
    for image in (x[None], x[:, None]):
        u = total_variation(weight, image, iterations=5000).ravel()
        objective = np.abs(np.diff(u)).sum() + weight * np.abs(u - x).sum()
        assert objective == pytest.approx(solved.fun, rel=1e-4)


def test_total_variation_of_an_image_is_as_low_as_scipy_finds():
    """SciPy minimises Σ (|∇u|² + ε²)^½ + w Σ ((u − x)² + ε²)^½, which is above the objective, for small ε."""
    x, weight = RANDOM.random((9, 12)), 1.5

    def objective(values, epsilon=0.0):
        u = values.reshape(x.shape)
        down, right = np.diff(u, axis=0, append=u[-1:]), np.diff(u, axis=1, append=u[:, -1:])
        return np.sqrt(down**2 + right**2 + epsilon**2).sum() + weight * np.sqrt((u - x) ** 2 + epsilon**2).sum()

    found = x.ravel()
    for epsilon in (0.1, 0.01, 0.001, 1e-4):
        found = minimize(objective, found, epsilon, method="L-BFGS-B", options={"maxfun": 60_000}).x
    ours = objective(total_variation(weight, x).ravel())
    assert ours < 0.9 * min(objective(x.ravel()), objective(median_filter(x, 3).ravel()))
    assert ours == pytest.approx(objective(found), rel=5e-3)


def test_total_variation_is_the_same_for_an_image_on_its_side():
    noisy = salt_and_pepper(load_image("camera")[100:140, 90:130], 0.1, 3)
    np.testing.assert_allclose(total_variation(1.5, noisy.T).T, total_variation(1.5, noisy), atol=1e-6)


def test_the_residual_network_subtracts_what_its_convolutions_find():
    torch.manual_seed(0)
    network, noisy = cnn.ResidualCNN(layers=2, channels=3), RANDOM.random((9, 12), dtype=np.float32)
    first, last = (layer for layer in network.noise if isinstance(layer, torch.nn.Conv2d))
    kernels, biases = (part.detach().numpy() for part in (first.weight, first.bias))
    found = last.bias.item()
    for number in range(3):
        hidden = correlate(noisy, kernels[number, 0], mode="constant") + biases[number]
        found = found + correlate(np.maximum(hidden, 0), last.weight[0, number].detach().numpy(), mode="constant")
    np.testing.assert_allclose(network.restore(noisy), np.clip(noisy - found, 0, 1), atol=1e-5)


WORDS = ["--layers", "3", "--channels", "4", "--side", "12", "--epochs", "3", "--patches-per-epoch", "64"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small network."""
    folder = tmp_path_factory.mktemp("cnn")
    cnn.main([*WORDS, "--checkpoint-dir", str(folder)])
    return folder


def test_an_interrupted_training_of_the_network_ends_as_an_undisturbed_one(trained, tmp_path, monkeypatch):
    finish = cnn.TrainingProgress.finish_epoch

    def finish_and_stop(progress, record):
        finish(progress, record)
        raise KeyboardInterrupt

    monkeypatch.setattr(cnn.TrainingProgress, "finish_epoch", finish_and_stop)
    with pytest.raises(SystemExit):
        cnn.main([*WORDS, "--checkpoint-dir", str(tmp_path)])
    monkeypatch.undo()
    cnn.main([*WORDS, "--checkpoint-dir", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["cnn.safetensors"]
    assert (tmp_path / "cnn.safetensors").read_bytes() == (trained / "cnn.safetensors").read_bytes()


def test_the_network_comes_back_from_its_file_and_restores_a_pixel_by_its_surroundings_alone(trained):
    """Three convolutions see three pixels around, in an image of any size: no statistics of the image take part."""
    network = cnn.load_cnn(trained / "cnn.safetensors")
    for name, tensor in load_file(trained / "cnn.safetensors").items():
        assert torch.equal(network.state_dict()[name], tensor)
    noisy = salt_and_pepper(load_image("camera")[100:140, 90:120], 0.1, 3)
    whole, part = network.restore(noisy), network.restore(noisy[5:, :20])
    np.testing.assert_allclose(part[3:, :17], whole[8:, :17], atol=1e-6)


def test_the_network_learns_to_restore(tmp_path):
    longer = ["--channels", "8", "--epochs", "12", "--patches-per-epoch", "1280", "--noise-rate", "0.3"]
    cnn.main([*WORDS, *longer, "--checkpoint-dir", str(tmp_path)])
    clean = load_image("camera")[60:260, 100:300]
    noisy = salt_and_pepper(clean, 0.3, 5)
    restored = cnn.load_cnn(tmp_path / "cnn.safetensors").restore(noisy)
    assert psnr(restored, clean) > psnr(noisy, clean) + 10


def test_a_file_without_such_a_network_is_refused(trained, capsys):
    with pytest.raises(UserError, match="holds no residual network"):
        cnn.load_cnn(ROOT / "checkpoints" / "dladmm_d05.safetensors")


def test_what_the_network_cannot_learn_from_is_refused_before_any_work(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cnn.main(["--training-images", str(tmp_path), "--checkpoint-dir", str(tmp_path / "new")])
    assert ended.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "new").exists()
