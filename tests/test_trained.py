"""Claims about the trained networks in the repository: they restore at once what the tables say."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from data.damage import DAMAGES
from data.images import TEST_IMAGES, clipped, load_image
from data.masks import MASKS, extremes
from tests.helpers import ROOT, salt_and_pepper
from utils.evaluation.metrics import psnr
from utils.restore.remedies import Networks, by_network
from utils.running.checkpoints import load_network, load_settings, save_network
from utils.studies.comparison import EXPERIMENTS, METHODS, restored
from utils.studies.comparison_page import is_rival
from utils.studies.rivals import SEEDS

TAKES_LONG = {"ladmm", "learned"}  # parts of keys
SHIPPED = Networks(torch.device("cpu"))
NETWORKS = sorted((ROOT / "checkpoints").glob("*/dladmm_d15.safetensors"))


@cache
def measured(name="comparison"):
    return pd.read_csv(ROOT / "results" / f"{name}.csv")


def compared(experiment, rate=0.1):
    """PSNR by method and image in results/comparison.csv, the mean over the noise seeds that it has."""
    rows = measured().query("experiment == @experiment and noise_rate == @rate")
    return rows.pivot_table("psnr", "image", "method")


def test_the_weights_of_rivals_are_not_at_an_end_of_those_that_were_tried():
    chosen = measured("comparison_weights")
    tried = chosen["method"].map({method.title: method.weights for method in METHODS.values()})
    assert len(chosen) >= 20 and chosen["weight"].between(tried.map(min), tried.map(max), inclusive="neither").all()


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_the_network_for_all_noise_rates_finds_the_specks_and_leaves_a_burnt_sky(rate):
    clean = np.clip(1.5 * load_image("chelsea"), 0, 1)
    noisy = salt_and_pepper(clean, rate, 5)
    mask, by_value = SHIPPED.detection(noisy).mask, extremes(noisy)
    assert (mask[np.abs(noisy - clean) > 0.1] == 1).mean() < 0.01
    white = (clean == 1) & (noisy == clean)
    assert white.mean() > 0.03 and (mask[white] == 0).mean() < min(0.2, (by_value[white] == 0).mean())


@pytest.mark.parametrize("share", [0, 0.15, 0.3])
def test_detected_positions_help_and_where_black_and_white_are_colours_of_the_photograph_they_do_no_harm(share):
    clean = clipped(load_image("chelsea"), share)[60:260, 100:380]
    noisy = salt_and_pepper(clean, 0.1, 5)
    found = SHIPPED.detection(noisy)
    relying = SHIPPED.restored("positions", noisy, found.mask == 1, stride=8)
    mixed, alone, relied = (psnr(image, clean) for image in (found.mixed(relying), found.restored, relying))
    assert mixed > alone + (0.3 if share == 0 else -0.1) and mixed > relied - 0.02
    assert (found.mixed(relying) == noisy)[found.mask == 1].all()


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.parent.name)
def test_in_half_precision_a_network_restores_as_it_did_before(path, tmp_path):
    """Its weights are changed by up to 2⁻¹¹ each, so that they need all bits again, as after training."""
    settings, network, generator = load_settings(path), load_network(path), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 1 + 2**-11 * (2 * torch.rand(parameter.shape, generator=generator) - 1)
    clean = load_image("chelsea")[60:260, 100:380]
    noisy = DAMAGES[settings["corruption"]].corrupt(clean, 0.1, 5)
    known = MASKS[settings["positions"]](noisy) if settings["positions"] != "unknown" else None
    save_network(network, tmp_path / "saved.safetensors", settings)
    rounded = load_network(tmp_path / "saved.safetensors")
    images = [by_network(restoring, noisy, known, stride=16) for restoring in (network, rounded)]
    before, after = (psnr(image, clean) for image in images)
    assert after == pytest.approx(before, abs=0.02) and before > psnr(noisy, clean) + 8
    assert not np.array_equal(*images)


def test_networks_restore_lena_as_well_as_inpainting_that_is_told_the_corrupted_pixels():
    on_lena = compared("salt_and_pepper").loc["lena"]
    for ours in ("trained at 10 %", "self-supervised"):
        apart, overlapping = (on_lena[f"D-LADMM, {ours}, stride {stride}"] for stride in (16, 4))
        assert apart > on_lena["biharmonic inpainting"] - 0.2 and overlapping > on_lena["biharmonic inpainting"] + 0.9
        assert apart > on_lena["D-LADMM, unsupervised, stride 16"] + 7.5
    for stride in (16, 4):
        ours = on_lena[f"D-LADMM, positions, trained at 1 to 50 %, stride {stride}"]
        assert ours > on_lena["biharmonic inpainting"]


@pytest.mark.parametrize("name", ["salt_and_pepper", "random_valued", "missing_blocks", "mixed", "clipped_15"])
def test_the_comparison_has_the_figures_of_the_methods_in_the_repository(name):
    experiment, tried = EXPERIMENTS[name], {METHODS["plain"].networks}
    rows = measured().query("experiment == @name and image == 'coins' and seed == @SEEDS[0]").set_index("method")
    weights = measured("comparison_weights").query("experiment == @name").set_index("method")["weight"]
    there = {of.title: of for of in METHODS.values() if of.is_for(name, experiment.damage)}
    for title, row in rows.iterrows():
        method = there[title]
        if method.networks in tried or TAKES_LONG & set(method.key.split("_")):
            continue
        tried |= {method.networks} - {()}
        case = name, experiment.damage, *experiment.rates, SEEDS[0], "coins", method.key
        figures = restored(*case, weights.get(title))
        assert [figures["psnr"], figures["ssim"]] == pytest.approx([row["psnr"], row["ssim"]], abs=0.01)
        for file in method.networks[:1]:
            assert load_settings(ROOT / "checkpoints" / file)["corruption"] == row["noise_model"]


def test_missing_blocks_are_filled_better_than_by_biharmonic_inpainting():
    found = compared("missing_blocks")
    ours, inpainting = found["D-LADMM, positions, trained at 1 to 50 %, stride 4"], found["biharmonic inpainting"]
    assert ours["lena"] > inpainting["lena"] > 39
    assert ours.mean() > inpainting.mean() > found["noisy"].mean() + 15 and set(found.index) == set(TEST_IMAGES)


def test_on_random_valued_impulses_every_image_is_restored_better_than_by_any_rival_and_1_db_better_in_the_mean():
    found = compared("random_valued", 0.2)
    ours, names = found["D-LADMM, trained at 20 %, stride 4"], list(filter(is_rival, found))
    assert {"LADMM to convergence, stride 8", "its detector, biharmonic inpainting"} < set(names) and len(names) >= 9
    for name in names:
        assert (ours > found[name]).all()
        assert ours.mean() >= found[name].mean() + (1 if name.startswith("residual CNN") else 2)


def test_one_network_for_all_noise_rates_loses_half_a_db_at_most_to_the_one_for_ten_percent():
    of_all, of_one = (f"D-LADMM, trained at {name}, stride 16" for name in ("1 to 50 %", "10 %"))
    for rate, margin in {0.1: -0.5, 0.2: 0, 0.3: 0, 0.4: 0, 0.5: 0}.items():
        found = compared("noise_rates", rate)
        assert found[of_all].mean() > found[of_one].mean() + margin
        assert rate > 0.1 or found[of_all]["lena"] >= found[of_one]["lena"] - 0.5
