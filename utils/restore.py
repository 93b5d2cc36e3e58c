"""Restores an image of any size with a network that is trained already.

`python -m utils.restore --image my.png` writes restored.png. The restored image is grey or colour and has 8 or 16 bits
like the image, and its transparency; each channel is restored by itself. With --corruption the image is taken for a
clean one and corrupted first. The PSNR of the restored image is then known, and the corrupted one is written as
restored_noisy.png.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.corruption import CORRUPTIONS
from data.formats import FORMATS, Picture, check_writable, read_description, save_pixels
from data.images import load_picture, to_image, to_pixels
from data.masks import POSITIONS, mask_finder
from data.patches import PatchGrid
from models import DLADMM
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.evaluation.observation import REPLACE, check_replace
from utils.evaluation.restoration import grid_for, restored_bands
from utils.running.checkpoints import load_network, load_settings
from utils.running.devices import DEVICES, pick_device
from utils.running.errors import UserError, script
from utils.running.files import all_or_nothing, check_folder, is_same_file
from utils.running.settings import at_least, between, one_of, parse_settings, setting

NOISY = "corrupted by utils.restore"  # the description of such an image


@dataclass(frozen=True)
class Settings:
    """What to restore, and with which network."""

    image: str = setting("lena", "the path of an image file, or a name in data/images.py")
    output: str = setting("restored.png", f"the restored image: a name in {', '.join(FORMATS)}")
    checkpoint: str = setting("checkpoints/supervised/dladmm_d15.safetensors", "the trained network")
    stride: int = setting(
        0, "pixels from one patch to the next, which are averaged; 0: half a patch's side", at_least(0)
    )
    positions: str = setting("unknown", POSITIONS)
    replace: str = setting("all", "pixels to replace by restored ones; corrupted: if known", one_of(REPLACE))
    corruption: str = setting("none", "how to corrupt the image first, for a test", one_of(CORRUPTIONS))
    noise_rate: float = setting(0.1, "probability that a pixel, or a block of them, is then corrupted", between(0, 1))
    seed: int = setting(1126, "seed of that corruption", at_least(0))
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))


class Task(NamedTuple):
    """An image to restore and the network for it."""

    stored: Picture  # the image as it is in its file
    noisy: np.ndarray  # values in [0, 1]; the image itself, or corrupted for a test
    mask: Tensor | None
    network: DLADMM
    grid: PatchGrid


def main(argv: Sequence[str] | None = None) -> None:
    """Restores the image, and prints how long it took and, if a clean one is known, its PSNR."""
    settings = parse_settings(Settings, __doc__, argv)
    with script():
        task = prepare(settings)
        watch = Stopwatch()
        image = restore(task, settings.replace)
        write(task, image, settings, watch.seconds())


def prepare(settings: Settings) -> Task:
    """Reads and checks everything, before any work.

    Raises:
        UserError, InvalidInput, InvalidArgument: something cannot be used.
    """
    output, checkpoint = Path(settings.output), Path(settings.checkpoint)
    device = pick_device(settings.device)
    stored = load_picture(settings.image)
    check_writable(output, stored)
    check_folder(str(output.parent))
    check_outputs(settings)
    network = load_network(checkpoint).to(device)
    check_positions(settings.positions, load_settings(checkpoint))
    grid = grid_for(network, stored.pixels.shape, settings.stride)
    find_mask = mask_finder(settings.positions, stored.pixels.shape)
    check_replace(settings.replace, find_mask)
    corrupt, noisy = CORRUPTIONS[settings.corruption], to_image(stored.pixels)
    if corrupt is not None:
        noisy = corrupt(noisy, rate=settings.noise_rate, seed=settings.seed)
    mask = None if find_mask is None else torch.from_numpy(find_mask(noisy)).to(device)
    network.problem.check_mask(mask)
    if stored.not_kept:
        print(f"{settings.image}: {' and '.join(stored.not_kept)} will not be in {output}", file=sys.stderr)
    return Task(stored, noisy, mask, network, grid)


def noisy_output(output: Path) -> Path:
    """The name of the corrupted image of a test, beside the restored one."""
    return output.with_name(f"{output.stem}_noisy{output.suffix}")


def check_outputs(settings: Settings) -> None:
    """Refuses to write over a file that is read, and over a file that this command has not made, unless it is named.

    Raises:
        UserError: see above.
    """
    output, inputs = Path(settings.output), (settings.image, settings.positions, settings.checkpoint)
    named = [name for name in inputs if Path(name).is_file()]
    if output.is_dir() or any(is_same_file(output, name) for name in named):
        raise UserError(f"output is {settings.output!r}, a folder or a file that is read; allowed: another name")
    noisy = noisy_output(output)
    if CORRUPTIONS[settings.corruption] is None or not os.path.lexists(noisy):
        return
    if any(is_same_file(noisy, name) for name in named) or read_description(noisy) != NOISY:
        raise UserError(
            f"{str(noisy)!r} is there, where the corrupted image would go, and this command did not make it; "
            "allowed: another output"
        )


def check_positions(positions: str, training: dict) -> None:
    """Refuses known positions for a network that was trained with unknown ones, and the other way round.

    Args:
        positions: the setting here.
        training: the settings of the training. Without an entry for the positions everything is allowed.

    Raises:
        UserError: see above.
    """
    trained = training.get("positions", positions)
    if (trained == "unknown") != (positions == "unknown"):
        allowed = "unknown" if trained == "unknown" else "known positions"
        raise UserError(f"positions are {positions!r}, but in training they were {trained!r}; allowed: {allowed}")


def restore(task: Task, replace: str) -> np.ndarray:
    """The restored image with the pixel type of the stored one."""
    image, start = np.empty_like(task.stored.pixels), 0
    noisy = torch.from_numpy(task.noisy).to(task.network.problem.A.device)
    with tqdm(total=len(image), desc="restoring", unit="row") as bar:
        for band in restored_bands(task.network, task.grid, noisy, task.mask, replace):
            image[start : start + len(band)] = to_pixels(band.cpu().numpy(), image.dtype)
            start += len(band)
            bar.update(len(band))
    return image


def write(task: Task, image: np.ndarray, settings: Settings, seconds: float) -> None:
    """Writes the restored image and, in a test, the corrupted one, and prints their PSNR."""
    output, (clean, alpha, _) = Path(settings.output), task.stored
    pictures = {output: (image, "restored by utils.restore")}
    tested = CORRUPTIONS[settings.corruption] is not None
    if tested:
        pictures[noisy_output(output)] = (to_pixels(task.noisy, image.dtype), NOISY)
    with all_or_nothing(output.parent) as (unfinished,):
        for path, (pixels, description) in pictures.items():
            save_pixels(pixels, unfinished / path.name, description, alpha)
    print(f"{output}: {' x '.join(map(str, image.shape[1::-1]))} pixels in {seconds:.1f} seconds")
    if not tested:
        print("There is no clean image to compare with, so no PSNR.")
        return
    for path, (pixels, _) in pictures.items():
        quality = [measure(to_image(pixels), to_image(clean)) for measure in (psnr, ssim)]
        print(f"{path}: PSNR {quality[0]:.2f} dB, SSIM {quality[1]:.4f}")


if __name__ == "__main__":
    main()
