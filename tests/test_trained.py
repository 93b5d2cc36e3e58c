"""Claims about the trained networks in the repository: they restore at once what the tables say."""

import csv
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import main_lena
from data.corruption import CORRUPTIONS
from data.images import load_image
from data.patches import PatchGrid
from utils.checkpoints import load_network
from utils.observation import psnr
from utils.restore import restored_bands

ROOT = Path(main_lena.__file__).parent


def restored(checkpoint, stride, settings):
    """PSNR in dB of the image that the settings say, corrupted as they say."""
    clean = load_image(settings["image"])
    noisy = CORRUPTIONS[settings["corruption"]](clean, settings["noise_rate"], settings["seed"])
    bands = restored_bands(load_network(checkpoint), PatchGrid(clean.shape, 16, stride), torch.from_numpy(noisy), None)
    return psnr(torch.cat(list(bands)).numpy(), clean)


@pytest.mark.parametrize("path", sorted((ROOT / "checkpoints").glob("dladmm_d*.pt")), ids=lambda path: path.stem)
def test_in_half_precision_a_network_restores_as_it_did_after_training(path):
    saved = torch.load(path, weights_only=True)
    with (ROOT / "results" / "results.csv").open() as file:
        table = {row["depth"]: row for row in csv.DictReader(file) if row["method"] == "dladmm"}
    default = {
        name: value for name, value in asdict(main_lena.Settings()).items() if not name.endswith(("_dir", "depths"))
    }
    if not saved["settings"].items() >= default.items() or str(saved["depth"]) not in table:
        pytest.skip("networks or tables are not those of the default run")
    expected = float(table[str(saved["depth"])]["psnr"])
    assert restored(path, saved["settings"]["stride"], saved["settings"]) == pytest.approx(expected, abs=0.02)


def test_the_supervised_network_restores_lena_better_than_any_filter_that_knows_the_noise():
    """The 3 x 3 median where a pixel is black or white has 41.0 dB, biharmonic inpainting there 45.4 dB."""
    path, settings = ROOT / "checkpoints" / "supervised" / "dladmm_d15.pt", asdict(main_lena.Settings())
    assert restored(path, 16, settings) > 41.5
    assert restored(path, 4, settings) > 45.4
