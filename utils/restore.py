"""Restores an image of any size with a network that is trained already.

`python -m utils.restore --image my.png` writes restored.png. The restored image is grey or colour and has 8 or 16 bits
like the image; each channel is restored by itself. With --corruption the image is taken for a clean one and corrupted
first. The PSNR of the restored image is then known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.corruption import CORRUPTIONS
from data.images import check_writable, load_image, load_pixels, save_pixels, to_image, to_pixels
from data.masks import POSITIONS, mask_finder
from data.patches import PatchGrid
from models import DLADMM
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.evaluation.observation import REPLACE, check_replace
from utils.evaluation.restoration import grid_for, restored_bands
from utils.running.checkpoints import load_network, load_settings
from utils.running.devices import DEVICES, pick_device
from utils.running.errors import bad_input_ends_here, script
from utils.running.files import all_or_nothing, check_folder
from utils.running.settings import at_least, between, one_of, parse_settings, setting


@dataclass(frozen=True)
class Settings:
    """What to restore, and with which network."""

    image: str = setting("lena", "the path of an image file, or a name in data/images.py")
    output: str = setting("restored.png", "the restored image: a name in .png, .tif or, for 8 bits, .jpg")
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

    stored: np.ndarray  # the image as it is in its file
    noisy: np.ndarray  # values in [0, 1]; the image itself, or corrupted for a test
    mask: Tensor | None
    network: DLADMM
    grid: PatchGrid


def main(argv: Sequence[str] | None = None) -> None:
    """Restores the image, and prints how long it took and, if a clean one is known, its PSNR."""
    settings = parse_settings(Settings, __doc__, argv)
    with bad_input_ends_here():
        task = prepare(settings)
    watch = Stopwatch()
    image = restore(task, settings.replace)
    write(task, image, settings, watch.seconds())


def prepare(settings: Settings) -> Task:
    """Reads and checks everything, before any work.

    Raises:
        ValueError: something cannot be used.
    """
    output, checkpoint = Path(settings.output), Path(settings.checkpoint)
    device = pick_device(settings.device)
    stored = load_pixels(settings.image)
    check_writable(output, stored.dtype)
    check_folder(str(output.parent))
    if output.is_dir() or (Path(settings.image).is_file() and output.resolve() == Path(settings.image).resolve()):
        raise ValueError(f"output is {settings.output!r}, a folder or the image itself; allowed: another name")
    network = load_network(checkpoint).to(device)
    check_positions(settings.positions, load_settings(checkpoint))
    grid = grid_for(network, stored.shape, settings.stride)
    find_mask = mask_finder(settings.positions, stored.shape)
    check_replace(settings.replace, find_mask)
    corrupt, noisy = CORRUPTIONS[settings.corruption], to_image(stored)
    if corrupt is not None:
        noisy = corrupt(noisy, rate=settings.noise_rate, seed=settings.seed)
    mask = None if find_mask is None else torch.from_numpy(find_mask(noisy)).to(device)
    network.problem.check_mask(mask)
    return Task(stored, noisy, mask, network, grid)


def check_positions(positions: str, training: dict) -> None:
    """Refuses known positions for a network that was trained with unknown ones, and the other way round.

    Args:
        positions: the setting here.
        training: the settings of the training. Without an entry for the positions everything is allowed.

    Raises:
        ValueError: see above.
    """
    trained = training.get("positions", positions)
    if (trained == "unknown") != (positions == "unknown"):
        allowed = "unknown" if trained == "unknown" else "known positions"
        raise ValueError(
            f"positions are {positions!r}, and the network was trained with {trained!r}; allowed: {allowed}"
        )


def restore(task: Task, replace: str) -> np.ndarray:
    """The restored image with the pixel type of the stored one."""
    image, start = np.empty_like(task.stored), 0
    noisy = torch.from_numpy(task.noisy).to(task.network.problem.A.device)
    with tqdm(total=len(image), desc="restoring", unit="row") as bar:
        for band in restored_bands(task.network, task.grid, noisy, task.mask, replace):
            image[start : start + len(band)] = to_pixels(band.cpu().numpy(), image.dtype)
            start += len(band)
            bar.update(len(band))
    return image


def write(task: Task, image: np.ndarray, settings: Settings, seconds: float) -> None:
    """Writes the restored image and, in a test, the corrupted one, and prints what they are worth."""
    output = Path(settings.output)
    pictures = {output.name: image}
    tested = CORRUPTIONS[settings.corruption] is not None
    if tested:
        pictures[f"{output.stem}_noisy{output.suffix}"] = to_pixels(task.noisy, image.dtype)
    with all_or_nothing(output.parent) as unfinished:
        for name, pixels in pictures.items():
            save_pixels(pixels, unfinished / name)
    print(f"{output}: {' x '.join(map(str, image.shape[1::-1]))} pixels in {seconds:.1f} seconds")
    if not tested:
        print("There is no clean image to compare with, so no PSNR.")
        return
    clean = to_image(task.stored)
    for name in pictures:
        restored = load_image(str(output.parent / name))
        print(f"{output.parent / name}: PSNR {psnr(restored, clean):.2f} dB, SSIM {ssim(restored, clean):.4f}")


if __name__ == "__main__":
    with script():
        main()
