"""Restores an image of any size with a network that is trained already.

`python -m utils.restore --image my.png` writes restored.png. The restored image is grey or colour and has 8 or 16 bits
like the image, and its transparency; each channel is restored by itself. With --learn the network first learns on the
image itself, for a minute or so; it is told the kind of noise. With --corruption the image is taken for a clean one and
corrupted first. The PSNR of the restored image is then known, and the corrupted one is written as restored_noisy.png.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data.corruption import CORRUPTIONS
from data.formats import FORMATS, Picture, check_writable, read_description, save_pixels
from data.holes import filled
from data.images import load_picture, to_image, to_pixels
from data.masks import MASKS, POSITIONS, mask_finder
from models import DLADMM
from utils.evaluation.detection import Detection, detect
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.evaluation.observation import REPLACE, Observation
from utils.evaluation.restoration import grid_for, restored_bands
from utils.running.checkpoints import SUFFIX, load_network, load_settings, save_network
from utils.running.devices import DEVICES, pick_device
from utils.running.errors import UserError, script
from utils.running.files import all_or_nothing, check_folder, is_same_file
from utils.running.settings import at_least, between, one_of, parse_settings, setting
from utils.training.from_image import EPOCHS, Learning, untrained_network

UNTRAINED = "untrained"  # instead of a checkpoint
DETECTED = "detected"  # in place of a mask
NOISY = "corrupted by utils.restore"  # the description of such an image


@dataclass(frozen=True)
class Settings:
    """What to restore, and with which network."""

    image: str = setting("lena", "the path of an image file, or a name in data/images.py")
    output: str = setting("restored.png", f"the restored image: a name in {', '.join(FORMATS)}")
    checkpoint: str = setting("checkpoints/noise_rates/dladmm_d15.safetensors", "the network, or untrained: to --learn")
    detector: str = setting("checkpoints/noise_rates/dladmm_d15.safetensors", "a network, for --positions detected")
    learn: str = setting("none", "learn on the image itself first, whose noise is of this kind", one_of(CORRUPTIONS))
    epochs: int = setting(EPOCHS, "how long to learn, in epochs of 10,000 patches", at_least(1))
    save: str = setting("", f"file for the network that has learned, a name in {SUFFIX}; by default it is not kept")
    stride: int = setting(
        0, "pixels from one patch to the next, which are averaged; 0: half a patch's side", at_least(0)
    )
    positions: str = setting("unknown", f"{POSITIONS}; {DETECTED}: the black and white ones that --detector changes")
    replace: str = setting("all", "pixels to replace by restored ones; corrupted: if known", one_of(REPLACE))
    corruption: str = setting("none", "how to corrupt the image first, for a test", one_of(CORRUPTIONS))
    noise_rate: float = setting(0.1, "probability that a pixel, or a block of them, is then corrupted", between(0, 1))
    seed: int = setting(1126, "seed of that corruption, and of learning", at_least(0))
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))


class Task(NamedTuple):
    """An image to restore and the network for it."""

    stored: Picture  # the image as it is in its file
    noisy: np.ndarray  # values in [0, 1]: the image itself, or corrupted for a test
    observation: Observation  # of it
    network: DLADMM
    learning: Learning | None  # on the image, before it is restored
    detection: Detection | None  # of the corrupted pixels, by another network


def main(argv: Sequence[str] | None = None) -> None:
    """Restores the image, and prints how long it took and, if a clean one is known, its PSNR."""
    settings = parse_settings(Settings, __doc__, argv)
    with script():
        task = prepare(settings)
        watch = Stopwatch()
        if task.learning is not None:
            learn(task.learning)
        image = restore(task)
        write(task, image, settings, watch.seconds())


def prepare(settings: Settings) -> Task:
    """Reads and checks everything, before any work.

    Raises:
        UserError, InvalidInput, InvalidArgument: something cannot be used.
    """
    output = Path(settings.output)
    device = pick_device(settings.device)
    stored = load_picture(settings.image)
    check_writable(output, stored)
    check_folder(str(output.parent))
    check_outputs(settings)
    network = pick_network(settings).to(device)
    grid = grid_for(network, stored.pixels.shape, settings.stride)
    corrupt, noisy = CORRUPTIONS[settings.corruption], to_image(stored.pixels)
    if corrupt is not None:
        noisy = corrupt(noisy, rate=settings.noise_rate, seed=settings.seed)
    detection = detect(pick_detector(settings).to(device), noisy) if settings.positions == DETECTED else None
    find_mask = mask_finder(settings.positions, noisy.shape) if detection is None else detection.find_mask
    # No network sees across a hole that is wider than its patches.
    given = filled(noisy, find_mask(noisy)) if is_mask_file(settings.positions) else noisy
    observation = Observation(given, grid, device, find_mask, settings.replace)
    network.problem.check_mask(observation.mask)
    learning = None
    if CORRUPTIONS[settings.learn] is not None:
        trained = settings.checkpoint != UNTRAINED
        learning = Learning(network, observation, settings.learn, settings.seed, settings.epochs, trained)
    if stored.not_kept:
        print(f"{settings.image}: {' and '.join(stored.not_kept)} will not be in {output}", file=sys.stderr)
    return Task(stored, noisy, observation, network, learning, detection)


def pick_network(settings: Settings) -> DLADMM:
    """The network of the checkpoint, or an untrained one.

    Raises:
        UserError: it cannot be read, does not fit the positions, or is untrained and is not to learn.
    """
    if settings.checkpoint == UNTRAINED:
        if CORRUPTIONS[settings.learn] is None:
            raise UserError("checkpoint is untrained, and nothing is learned; allowed: with --learn")
        return untrained_network()
    check_positions(settings.positions, load_settings(Path(settings.checkpoint)))
    return load_network(Path(settings.checkpoint))


def is_mask_file(positions: str) -> bool:
    """Whether a file says which pixels are corrupted."""
    return positions not in MASKS and positions != DETECTED


def pick_detector(settings: Settings) -> DLADMM:
    """The network that is to detect the corrupted pixels.

    Raises:
        UserError: it cannot be read, or is not for unknown positions.
    """
    detector = Path(settings.detector)
    check_positions("unknown", load_settings(detector))
    return load_network(detector)


def noisy_output(output: Path) -> Path:
    """The name of the corrupted image of a test, beside the restored one."""
    return output.with_name(f"{output.stem}_noisy{output.suffix}")


def check_outputs(settings: Settings) -> None:
    """Refuses to write over a file that is read, and over a file that this command has not made, unless it is named.

    Raises:
        UserError: see above.
    """
    output = Path(settings.output)
    inputs = (settings.image, settings.positions, settings.checkpoint, settings.detector)
    named = [name for name in inputs if Path(name).is_file()]
    if output.is_dir() or any(is_same_file(output, name) for name in named):
        raise UserError(f"output is {settings.output!r}, a folder or a file that is read; allowed: another name")
    if settings.save:
        check_save(settings, named)
    noisy = noisy_output(output)
    if CORRUPTIONS[settings.corruption] is None or not os.path.lexists(noisy):
        return
    if any(is_same_file(noisy, name) for name in named) or read_description(noisy) != NOISY:
        raise UserError(
            f"{str(noisy)!r} is there, where the corrupted image would go, and this command did not make it; "
            "allowed: another output"
        )


def check_save(settings: Settings, named: Sequence[str]) -> None:
    """Refuses a name for the network that is not one, and to write over a file that is read.

    Raises:
        UserError: see above.
    """
    save = Path(settings.save)
    if CORRUPTIONS[settings.learn] is None:
        raise UserError(f"save is {settings.save!r}, and nothing is learned; allowed: with --learn")
    if save.suffix != SUFFIX or save.is_dir() or any(is_same_file(save, name) for name in named):
        raise UserError(f"save is {settings.save!r}; allowed: a name in {SUFFIX} of a file that is not read")
    check_folder(str(save.parent))


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


def learn(learning: Learning) -> None:
    """Trains the network on the image. The bar shows what is left."""
    print(f"estimated noise rate: {learning.samples.noise_rate:.1%}", file=sys.stderr)
    with tqdm(learning.run(), "learning", learning.epochs, unit="epoch") as bar:
        for loss in bar:
            bar.set_postfix(loss=f"{loss:.3f}")


def restore(task: Task) -> np.ndarray:
    """The restored image with the pixel type of the stored one."""
    image, start, given = np.empty_like(task.noisy), 0, task.observation
    with tqdm(total=len(image), desc="restoring", unit="row") as bar:
        for band in restored_bands(task.network, given.grid, given.pixels, given.mask, given.replace):
            image[start : start + len(band)] = band.cpu().numpy()
            start += len(band)
            bar.update(len(band))
    if task.detection is not None:
        image = task.detection.mixed(image)
    return to_pixels(image, task.stored.pixels.dtype)


def write(task: Task, image: np.ndarray, settings: Settings, seconds: float) -> None:
    """Writes the restored image and, in a test, the corrupted one, and prints their PSNR."""
    output, (clean, alpha, _) = Path(settings.output), task.stored
    pictures = {output: (image, "restored by utils.restore")}
    tested = CORRUPTIONS[settings.corruption] is not None
    if tested:
        pictures[noisy_output(output)] = (to_pixels(task.noisy, image.dtype), NOISY)
    folders = dict.fromkeys([output.parent, *([Path(settings.save).parent] if settings.save else [])])
    with all_or_nothing(*folders) as unfinished:
        for path, (pixels, description) in pictures.items():
            save_pixels(pixels, unfinished[0] / path.name, description, alpha)
        if settings.save:
            trained = {} if settings.checkpoint == UNTRAINED else load_settings(Path(settings.checkpoint))
            learned = trained | {"learned_on": settings.image, "kind": settings.learn}
            save_network(task.network, unfinished[-1] / Path(settings.save).name, learned)
    print(f"{output}: {' x '.join(map(str, image.shape[1::-1]))} pixels in {seconds:.1f} seconds")
    if not tested:
        print("There is no clean image to compare with, so no PSNR.")
        return
    for path, (pixels, _) in pictures.items():
        quality = [measure(to_image(pixels), to_image(clean)) for measure in (psnr, ssim)]
        print(f"{path}: PSNR {quality[0]:.2f} dB, SSIM {quality[1]:.4f}")


if __name__ == "__main__":
    main()
