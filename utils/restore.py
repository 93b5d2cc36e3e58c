"""Restores an image of any size with a network that is trained already.

`python -m utils.restore --image my.png` writes restored.png: grey or colour and of 8 or 16 bits like the image, each
channel restored by itself, patches in batches. With --corruption the image is taken for a clean one and is corrupted
first, which tells what the restoration is worth.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.corruption import CORRUPTIONS
from data.images import check_writable, load_image, load_pixels, save_pixels, to_image, to_pixels
from data.patches import PatchGrid
from data.positions import known_positions
from models import DLADMM
from utils.checkpoints import load_network, load_settings
from utils.command_line import at_least, bad_input_ends_here, between, one_of, parse_settings, setting
from utils.device import DEVICES, pick_device
from utils.evaluation import BATCH
from utils.files import all_or_nothing, check_folder
from utils.observation import REPLACE, Stopwatch, check_replace, patch_weights, psnr, replaced, ssim
from utils.script import script

BAND = 4096  # patches to cut out at once: bounds the memory that a restoration takes


@dataclass(frozen=True)
class Settings:
    """What to restore, and with what."""

    image: str = setting("lena", "the path of an image file, or a name in data/images.py")
    output: str = setting("restored.png", "the restored image: a name in .png, .tif or, for 8 bits, .jpg")
    checkpoint: str = setting("checkpoints/supervised/dladmm_d15.pt", "the trained network")
    stride: int = setting(8, "pixels from one patch to the next; those that overlap are averaged", at_least(1))
    positions: str = setting(
        "unknown", "corrupted pixels: unknown, extremes (the black and white ones), or a mask image, not black there"
    )
    replace: str = setting("all", "pixels that are replaced by restored ones; corrupted: if known", one_of(REPLACE))
    corruption: str = setting("none", "how to corrupt the image first, for a test", one_of(CORRUPTIONS))
    noise_rate: float = setting(0.1, "probability that a pixel, or a block of them, is then hit", between(0, 1))
    seed: int = setting(1126, "seed of that corruption", at_least(0))
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))


def check_positions(positions: str, training: dict) -> None:
    """Refuses known positions for a network that was trained without, and unknown ones for one that was trained with.

    Args:
        positions: the setting here.
        training: the settings of the training; without an entry for the positions anything goes.

    Raises:
        ValueError: see above.
    """
    trained = training.get("positions", positions)
    if (trained == "unknown") != (positions == "unknown"):
        raise ValueError(
            f"positions are {positions!r}, and the network was trained with {trained!r}; allowed: likewise"
        )


def patch_side(network: DLADMM) -> int:
    """Side in pixels of the patches that the network restores.

    Raises:
        ValueError: what it restores are no square patches.
    """
    m = network.problem.A.shape[0]
    if math.isqrt(m) ** 2 != m:
        raise ValueError(f"the network restores {m} values at a time; allowed: patches, a square number of values")
    return math.isqrt(m)


@torch.no_grad()
def restored_bands(
    network: DLADMM, grid: PatchGrid, image: Tensor, weights: Tensor | None, replace: str = "all"
) -> Iterator[Tensor]:
    """Yields the image that the network's last layer restores, band after band from top to bottom, in [0, 1].

    Args:
        network: of the grid's patches.
        grid: the patches.
        image: the corrupted image, of the grid's shape, values in [0, 1].
        weights: likewise, zero where it is known to be corrupted; None if nothing is known.
        replace: see utils.observation.
    """

    def solve(X: Tensor, known: Tensor | None = None) -> Tensor:
        known = None if known is None else patch_weights(known)
        last = deque(network.iterate(X, network.problem.weighted(known)), maxlen=1).pop()
        return network.restore(last)

    def solve_all(*patches: Tensor) -> Tensor:
        return torch.cat([solve(*batch) for batch in zip(*(each.split(BATCH) for each in patches), strict=True)])

    start = 0
    for band in grid.process(solve_all, *(each for each in (image, weights) if each is not None), batch=BAND):
        rows = slice(start, start + len(band))
        start += len(band)
        yield replaced(band, image[rows], None if weights is None else weights[rows], replace)


def main(argv: Sequence[str] | None = None) -> None:
    """Restores the image and says how long it took and, if a clean one is known, what it is worth."""
    settings = parse_settings(Settings, __doc__, argv)
    output = Path(settings.output)
    with bad_input_ends_here():
        device = pick_device(settings.device)
        stored = load_pixels(settings.image)
        check_writable(output, stored.dtype)
        folder = check_folder(str(output.parent))
        if output.is_dir() or (Path(settings.image).is_file() and output.resolve() == Path(settings.image).resolve()):
            raise ValueError(f"output is {settings.output!r}, a folder or the image itself; allowed: another name")
        network = load_network(Path(settings.checkpoint)).to(device)
        check_positions(settings.positions, load_settings(Path(settings.checkpoint)))
        grid = PatchGrid(stored.shape, patch_side(network), settings.stride)
        weigh = known_positions(settings.positions, stored.shape)
        check_replace(settings.replace, weigh)
        noisy = CORRUPTIONS[settings.corruption](to_image(stored), rate=settings.noise_rate, seed=settings.seed)
        weights = None if weigh is None else torch.from_numpy(weigh(noisy)).to(device)
        network.problem.check_weighted(weights)

    watch = Stopwatch()
    image, start = np.empty_like(stored), 0
    with tqdm(total=len(image), desc="restoring", unit="row") as bar:
        for band in restored_bands(network, grid, torch.from_numpy(noisy).to(device), weights, settings.replace):
            image[start : start + len(band)] = to_pixels(band.cpu().numpy(), image.dtype)
            start += len(band)
            bar.update(len(band))
    seconds = watch.seconds()

    pictures = {output.name: image}
    if settings.corruption != "none":
        pictures[f"{output.stem}_noisy{output.suffix}"] = to_pixels(noisy, image.dtype)
    with all_or_nothing(folder) as unfinished:
        for name, pixels in pictures.items():
            save_pixels(pixels, unfinished / name)
    print(f"{output}: {' x '.join(map(str, image.shape[1::-1]))} pixels in {seconds:.1f} seconds")
    if settings.corruption == "none":
        print("There is no clean image to compare with, so no PSNR.")
    else:
        clean = to_image(stored)
        for name in pictures:
            restored = load_image(str(folder / name))
            print(f"{folder / name}: PSNR {psnr(restored, clean):.2f} dB, SSIM {ssim(restored, clean):.4f}")


if __name__ == "__main__":
    with script():
        main()
