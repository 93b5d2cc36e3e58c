"""Claims about the trained networks in the repository: they restore at once what the tables say."""

import re
from collections import defaultdict

import numpy as np
import pytest
import torch

from data.damage import DAMAGES
from data.images import TEST_IMAGES, clipped, load_image
from data.masks import MASKS, extremes
from tests.helpers import ROOT, cells, psnr_by_image, rows
from utils.evaluation.detection import detect
from utils.evaluation.metrics import psnr
from utils.evaluation.restoration import grid_for, restored_image
from utils.running.checkpoints import load_network, load_settings, save_network
from utils.studies import methods
from utils.studies.comparison import EXPERIMENTS, SALT_AND_PEPPER
from utils.studies.comparison_tables import is_rival
from utils.studies.rivals.classical import inpainted

NETWORKS = sorted((ROOT / "checkpoints").glob("*/dladmm_d15.safetensors"))


@pytest.fixture(autouse=True)
def checkpoints(monkeypatch):
    """Networks are those of the repository, wherever tests run."""
    monkeypatch.setattr(methods, "CHECKPOINTS", ROOT / "checkpoints")


def compared(experiment, seeds=methods.SEEDS):
    """PSNR by noise rate, method and image in results/comparison.csv, the mean over those of these seeds it has."""
    found = defaultdict(dict)
    for (name, rate, method), images in psnr_by_image(rows(ROOT / "results" / "comparison.csv")).items():
        if name == experiment:
            means = {i: np.mean([psnrs[seed] for seed in seeds if seed in psnrs]) for i, psnrs in images.items()}
            found[rate][method] = means
    return found


def test_the_weights_of_rivals_are_not_at_an_end_of_those_that_were_tried():
    """Else a rival may be weaker than it is."""
    _, *sections = (ROOT / "results" / "comparison.md").read_text(encoding="utf-8").split("\n## ")
    chosen = []
    for section, experiment in zip(sections, EXPERIMENTS.values(), strict=True):
        for rival in experiment.compared:
            if weights := getattr(rival, "weights", ()):
                *_, (_, *found) = cells(section, f"{rival.name} ")
                chosen += [(min(weights), float(weight), max(weights)) for weight in found]
    text = (ROOT / "results" / "real_damage.md").read_text(encoding="utf-8")
    (scales,) = re.findall(r"its scale is (\d.*)\.", text)
    chosen += [(methods.SCALES[0], float(scale), methods.SCALES[-1]) for scale in scales.split(", ")]
    assert len(chosen) >= 20 and all(least < weight < most for least, weight, most in chosen)


def trained(name):
    """The network in that folder."""
    return load_network(ROOT / "checkpoints" / name / "dladmm_d15.safetensors")


def blindly(noisy):
    """What the network for all noise rates makes of an image."""
    network = trained("noise_rates")
    return restored_image(network, grid_for(network, noisy.shape), torch.from_numpy(noisy)).numpy()


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_the_network_for_all_noise_rates_finds_the_specks_and_leaves_a_burnt_sky(rate):
    """Of the pixels hit by specks that matter, hardly one is missed; most that are white themselves are kept."""
    clean = np.clip(1.5 * load_image("chelsea"), 0, 1)
    noisy = DAMAGES["salt_and_pepper"].corrupt(clean, rate, 5)
    mask, by_value = detect(noisy, blindly(noisy)).mask, extremes(noisy)
    assert (mask[np.abs(noisy - clean) > 0.1] == 1).mean() < 0.01
    white = (clean == 1) & (noisy == clean)
    assert white.mean() > 0.03 and (mask[white] == 0).mean() < min(0.2, (by_value[white] == 0).mean())


@pytest.mark.parametrize("share", [0, 0.15, 0.3])
def test_detected_positions_help_and_where_black_and_white_are_colours_of_the_photograph_they_do_no_harm(share):
    """Beside the detecting network alone, and beside the network that relies on what it detects."""
    clean = clipped(load_image("chelsea"), share)[60:260, 100:380]
    noisy = DAMAGES["salt_and_pepper"].corrupt(clean, 0.1, 5)
    network, found = trained("positions"), detect(noisy, blindly(noisy))
    planes = map(torch.from_numpy, (noisy, found.mask))
    relying = restored_image(network, grid_for(network, noisy.shape), *planes, "corrupted").numpy()
    mixed, alone, relied = (psnr(image, clean) for image in (found.mixed(relying), found.restored, relying))
    assert mixed > alone + (0.3 if share == 0 else -0.1)
    assert mixed > relied - 0.02
    assert (found.mixed(relying) == noisy)[found.mask == 1].all()


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.parent.name)
def test_in_half_precision_a_network_restores_as_it_did_before(path, tmp_path):
    """Its weights are changed by up to 2⁻¹¹ each, so that they need all bits again, as after training."""
    settings, network, generator = load_settings(path), load_network(path), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 1 + 2**-11 * (2 * torch.rand(parameter.shape, generator=generator) - 1)
    clean = load_image("lena")
    noisy = DAMAGES[settings["corruption"]].corrupt(clean, 0.1, 5)
    find_mask = MASKS[settings["positions"]]
    planes = [torch.from_numpy(plane) for plane in ([noisy] if find_mask is None else [noisy, find_mask(noisy)])]
    save_network(network, tmp_path / "saved.safetensors", settings)
    images = [
        restored_image(restoring, grid_for(restoring, clean.shape, 16), *planes).numpy()
        for restoring in (network, load_network(tmp_path / "saved.safetensors"))
    ]
    before, after = (psnr(image, clean) for image in images)
    assert after == pytest.approx(before, abs=0.02) and before > psnr(noisy, clean) + 8
    assert not np.array_equal(*images)


def test_the_supervised_network_restores_lena_as_well_as_inpainting_that_is_told_the_corrupted_pixels():
    """As biharmonic inpainting of black and white pixels, within 0.1 dB; patches that overlap add 1 dB."""
    clean, supervised = load_image("lena"), methods.Network("", "supervised/dladmm_d15", (16, 4))
    noisy = SALT_AND_PEPPER.corrupt(clean)
    apart, overlapping = (psnr(method.restore(noisy), clean) for method in supervised.methods(SALT_AND_PEPPER))
    inpainting = psnr(inpainted(noisy), clean)
    assert apart > inpainting - 0.1 and overlapping > inpainting + 0.9


def test_networks_of_the_noisy_lena_and_of_known_positions_restore_it_as_well_or_better():
    """Self-supervised as well as supervised, far better than from the objective alone; and better than inpainting."""
    on_lena = {method: psnrs["lena"] for method, psnrs in compared("salt_and_pepper")[0.1].items()}
    apart, overlapping = (on_lena[f"D-LADMM, self-supervised, stride {stride}"] for stride in (16, 4))
    assert apart > 45.0 and overlapping > 46.4
    assert apart > on_lena["D-LADMM, unsupervised, stride 16"] + 7.5
    for stride in (16, 4):
        ours = on_lena[f"D-LADMM, positions, trained at 1 to 50 %, stride {stride}"]
        assert ours > on_lena["biharmonic inpainting"]


@pytest.mark.parametrize("experiment", ["salt_and_pepper", "random_valued", "missing_blocks", "mixed", "clipped_15"])
def test_the_comparison_has_the_figures_of_the_networks_in_the_repository(experiment):
    """Of every file of a network, with the first of its strides, apart from those of networks of the noisy Lena."""
    table, chosen = compared(experiment, methods.SEEDS[:1]), EXPERIMENTS[experiment]
    (case,), clean = chosen.cases, chosen.clean("lena")
    networks = [of for of in chosen.compared if isinstance(of, methods.Network) and "/" in of.file and not of.learns]
    assert networks
    for network in networks:
        method = network.methods(case)[0]
        psnr_now = psnr(method.restore(case.corrupt(clean)), clean)
        assert psnr_now == pytest.approx(table[case.rate][method.name]["lena"], abs=0.01)


def mean_of_test_images(psnrs):
    """Of the PSNR by image, of all images that no network or dictionary was trained on."""
    assert set(psnrs) == set(TEST_IMAGES) and len(TEST_IMAGES) >= 6
    return np.mean(list(psnrs.values()))


def test_missing_blocks_are_filled_better_than_by_biharmonic_inpainting():
    """By a network for single pixels, on Lena and in the mean, where inpainting itself is far above any filter."""
    found = compared("missing_blocks")[0.1]
    ours, inpainting = found["D-LADMM, positions, trained at 1 to 50 %, stride 4"], found["biharmonic inpainting"]
    assert ours["lena"] > inpainting["lena"] > 39
    assert mean_of_test_images(ours) > mean_of_test_images(inpainting) > mean_of_test_images(found["noisy"]) + 15


def test_on_random_valued_impulses_every_image_is_restored_better_than_by_any_rival_and_1_db_better_in_the_mean():
    """2 dB better than by rivals that learn nothing, LADMM with patches that overlap and inpainting among them."""
    found = compared("random_valued")[0.2]
    ours, rivals = found["D-LADMM, trained at 20 %, stride 4"], {name: found[name] for name in filter(is_rival, found)}
    assert {"LADMM to convergence, stride 8", "its detector, biharmonic inpainting"} < set(rivals) and len(rivals) >= 9
    for name, psnrs in rivals.items():
        assert all(ours[image] > psnrs[image] for image in TEST_IMAGES)
        margin = 1 if name.startswith("residual CNN") else 2
        assert mean_of_test_images(ours) >= mean_of_test_images(psnrs) + margin


def test_one_network_for_all_noise_rates_loses_half_a_db_at_most_to_the_one_for_ten_percent():
    """On Lena, and in the mean over the test images; and it beats that one at all rates from 20 % on."""
    found = compared("noise_rates")
    of_all, of_one = (f"D-LADMM, trained at {name}, stride 16" for name in ("1 to 50 %", "10 %"))
    assert found[0.1][of_all]["lena"] >= found[0.1][of_one]["lena"] - 0.5
    for rate, margin in {0.1: -0.5, 0.2: 0, 0.3: 0, 0.4: 0, 0.5: 0}.items():
        assert mean_of_test_images(found[rate][of_all]) > mean_of_test_images(found[rate][of_one]) + margin
