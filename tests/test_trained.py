"""Claims about the trained networks in the repository: they restore at once what the tables say."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import main_lena
from data.corruption import CORRUPTIONS
from data.images import TEST_IMAGES, clipped, load_image
from data.masks import extremes
from tests.helpers import psnr_by_image, rows
from utils import comparison, methods
from utils.evaluation.detection import detect
from utils.evaluation.metrics import psnr
from utils.evaluation.restoration import grid_for, restored_image
from utils.reporting.comparison import is_rival
from utils.rivals.classical import inpainted
from utils.running.checkpoints import load_network, load_settings

ROOT = Path(main_lena.__file__).parent


def compared(experiment, seeds=methods.SEEDS):
    """PSNR by method, noise rate and image in results/comparison.csv, the mean over those of these seeds it has."""
    return {
        (method, rate): {
            image: np.mean([by_seed[s] for s in seeds if s in by_seed]) for image, by_seed in found.items()
        }
        for (name, rate, method), found in psnr_by_image(rows(ROOT / "results" / "comparison.csv")).items()
        if name == experiment
    }


def restored(checkpoint, stride, settings):
    """PSNR in dB of the image that the settings say, corrupted as they say."""
    clean = load_image(settings["image"])
    noisy = CORRUPTIONS[settings["corruption"]](clean, settings["noise_rate"], settings["seed"])
    network = load_network(checkpoint)
    grid = grid_for(network, clean.shape, stride or 16)
    return psnr(restored_image(network, grid, torch.from_numpy(noisy)).numpy(), clean)


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_the_network_for_all_noise_rates_finds_the_specks_and_leaves_a_burnt_sky(rate):
    """Of the pixels hit by specks that matter, hardly one is missed; most that are white themselves are kept."""
    clean = np.clip(1.5 * load_image("chelsea"), 0, 1)
    noisy = CORRUPTIONS["salt_and_pepper"](clean, rate, 5)
    detector = load_network(ROOT / "checkpoints" / "noise_rates" / "dladmm_d15.safetensors")
    mask, by_value = detect(detector, noisy).mask, extremes(noisy)
    assert (mask[np.abs(noisy - clean) > 0.1] == 1).mean() < 0.01
    white = (clean == 1) & (noisy == clean)
    assert white.mean() > 0.03 and (mask[white] == 0).mean() < min(0.2, (by_value[white] == 0).mean())


@pytest.mark.parametrize("share", [0, 0.15, 0.3])
def test_detected_positions_help_and_where_black_and_white_are_colours_of_the_photograph_they_do_no_harm(share):
    """Beside the detecting network alone, and beside the network that relies on what it detects."""
    clean = clipped(load_image("chelsea"), share)[60:260, 100:380]
    noisy = CORRUPTIONS["salt_and_pepper"](clean, 0.1, 5)
    detector, network = (
        load_network(ROOT / "checkpoints" / name / "dladmm_d15.safetensors") for name in ("noise_rates", "positions")
    )
    found = detect(detector, noisy)
    planes = map(torch.from_numpy, (noisy, found.mask))
    relying = restored_image(network, grid_for(network, noisy.shape), *planes, "corrupted").numpy()
    mixed, alone, relied = (psnr(image, clean) for image in (found.mixed(relying), found.restored, relying))
    assert mixed > alone + (0.3 if share == 0 else -0.1)
    assert mixed > relied - 0.02
    assert (found.mixed(relying) == noisy)[found.mask == 1].all()


def as_read(saved):
    """The settings as they are read from a file, where a tuple is a list."""
    return json.loads(json.dumps(saved))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "checkpoints").glob("dladmm_d*.safetensors")), ids=lambda path: path.stem
)
def test_in_half_precision_a_network_restores_as_it_did_after_training(path):
    saved = load_settings(path)
    network = saved["training"], str(len(load_network(path).layers))
    table = {(row["training"], row["depth"]): row for row in rows(ROOT / "results" / "results.csv")}
    own = ("_dir", "depths", "training")
    default = {name: value for name, value in asdict(main_lena.Settings()).items() if not name.endswith(own)}
    if not saved.items() >= as_read(default).items() or network not in table:
        pytest.skip("networks or tables are not those of the default run")
    expected = float(table[network]["psnr"])
    assert restored(path, saved["stride"], saved) == pytest.approx(expected, abs=0.02)


def test_the_supervised_network_restores_lena_as_well_as_inpainting_that_is_told_the_corrupted_pixels():
    """As biharmonic inpainting of black and white pixels, within 0.1 dB; patches that overlap add 1 dB."""
    path, settings = ROOT / "checkpoints" / "supervised" / "dladmm_d15.safetensors", asdict(main_lena.Settings())
    clean = load_image("lena")
    inpainting = psnr(inpainted(extremes, methods.Case("salt_and_pepper", 0.1).corrupt(clean)), clean)
    assert restored(path, 16, settings) > inpainting - 0.1
    assert restored(path, 4, settings) > inpainting + 0.9


def test_the_self_supervised_network_restores_lena_as_well_from_the_noisy_image_alone():
    """And more than seven decibels better than the one that was trained on the objective, from the same image."""
    path, settings = ROOT / "checkpoints" / "dladmm_d15_self_supervised.safetensors", asdict(main_lena.Settings())
    assert restored(path, 16, settings) > 45.0
    assert restored(path, 4, settings) > 46.4
    found = {row["training"]: float(row["psnr"]) for row in rows(ROOT / "results" / "results.csv") if row["training"]}
    assert found["self_supervised"] > found["unsupervised"] + 7.5


@pytest.mark.parametrize(
    ("experiment", "networks"),
    [
        ("salt_and_pepper", methods.salt_and_pepper_networks),
        ("random_valued", methods.random_valued_networks),
    ],
)
def test_the_comparison_has_the_figures_of_the_networks_in_the_repository(experiment, networks):
    table, clean = compared(experiment, methods.SEEDS[:1]), load_image("lena")
    case = methods.Case(comparison.EXPERIMENTS[experiment].corruption, *comparison.EXPERIMENTS[experiment].rates)
    compared_here = [method for method in networks() if method.name.endswith("stride 16")]
    assert compared_here
    for method in compared_here:
        found = psnr(method.restore(case.corrupt(clean)), clean)
        assert found == pytest.approx(table[method.name, case.rate]["lena"], abs=0.01)


def mean_of_test_images(psnrs):
    """Of the PSNR by image, of all images that no network or dictionary was trained on."""
    assert set(psnrs) == set(TEST_IMAGES) and len(TEST_IMAGES) >= 6
    return np.mean(list(psnrs.values()))


def test_missing_blocks_are_filled_better_than_by_biharmonic_inpainting():
    """By a network for single pixels, on Lena and in the mean, where inpainting itself is far above any filter."""
    found = {method: psnrs for (method, _), psnrs in compared("missing_blocks").items()}
    ours, inpainting = found["D-LADMM, positions, trained at 1 to 50 %, stride 4"], found["biharmonic inpainting"]
    assert ours["lena"] > inpainting["lena"] > 39
    assert mean_of_test_images(ours) > mean_of_test_images(inpainting) > mean_of_test_images(found["noisy"]) + 15


def test_on_random_valued_impulses_every_image_is_restored_better_than_by_any_rival_and_1_db_better_in_the_mean():
    """2 dB better than by rivals that learn nothing, LADMM with patches that overlap and inpainting among them."""
    found = {method: psnrs for (method, _), psnrs in compared("random_valued").items()}
    ours, rivals = found["D-LADMM, supervised, stride 4"], {name: found[name] for name in filter(is_rival, found)}
    assert {"LADMM to convergence, stride 8", "its detector, biharmonic inpainting"} < set(rivals) and len(rivals) >= 9
    for name, psnrs in rivals.items():
        assert all(ours[image] > psnrs[image] for image in TEST_IMAGES)
        margin = 1 if name.startswith("residual CNN") else 2
        assert mean_of_test_images(ours) >= mean_of_test_images(psnrs) + margin


def test_one_network_for_all_noise_rates_loses_half_a_db_at_most_to_the_one_for_ten_percent():
    """On Lena, and in the mean over the test images; and it beats that one at all rates from 20 % on."""
    found = compared("noise_rates")
    of_all, of_one = (f"D-LADMM, trained at {name}, stride 16" for name in ("1 to 50 %", "10 %"))
    assert found[of_all, 0.1]["lena"] >= found[of_one, 0.1]["lena"] - 0.5
    assert mean_of_test_images(found[of_all, 0.1]) >= mean_of_test_images(found[of_one, 0.1]) - 0.5
    for rate in (0.2, 0.3, 0.4, 0.5):
        assert mean_of_test_images(found[of_all, rate]) > mean_of_test_images(found[of_one, rate])


def test_with_known_positions_lena_is_restored_better_than_by_biharmonic_inpainting_of_the_same_pixels():
    found = {method: psnrs["lena"] for (method, _), psnrs in compared("salt_and_pepper").items()}
    for stride in (16, 4):
        ours = found[f"D-LADMM, positions, trained at 1 to 50 %, stride {stride}"]
        assert ours > found["biharmonic inpainting"]
