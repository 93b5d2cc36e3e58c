"""What is done before any work: reading the options, the image and the networks that they name, and all checks.

No output may replace a file that is read, or a file that this command has not made, unless the user has named it.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.corruption import CORRUPTIONS
from data.formats import FORMATS, Picture, check_writable, not_kept, read_description
from data.holes import filled
from data.images import load_picture, to_image
from data.masks import MASKS, POSITIONS, mask_finder
from models import DLADMM
from utils.evaluation.detection import Detection, detect
from utils.evaluation.observation import REPLACE, Observation
from utils.evaluation.restoration import grid_for
from utils.restore.learning import EPOCHS, Learning, untrained_network
from utils.running.checkpoints import SUFFIX, load_network, load_settings
from utils.running.devices import DEVICES, pick_device
from utils.running.errors import UserError
from utils.running.files import check_folder, is_same_file
from utils.running.settings import at_least, between, one_of, setting

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
    learn: str = setting("none", "learn on the image itself first, which has this noise", one_of(CORRUPTIONS))
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
    """An image to restore, and the network that restores it or learns to."""

    stored: Picture  # the image as it is in its file
    noisy: np.ndarray  # values in [0, 1]: the image itself, or corrupted for a test
    observation: Observation  # of it
    network: DLADMM
    learning: Learning | None  # on the image, before it is restored
    detection: Detection | None  # of the corrupted pixels, by another network


def prepare(settings: Settings) -> Task:
    """Reads and checks everything.

    Raises:
        UserError, InvalidInput, InvalidArgument: something cannot be used.
    """
    output, learns = Path(settings.output), CORRUPTIONS[settings.learn] is not None
    device = pick_device(settings.device)
    stored = load_picture(settings.image)
    check_writable(output, stored)
    check_folder(str(output.parent))
    check_outputs(settings)
    trained = settings.checkpoint != UNTRAINED
    if not trained and not learns:
        raise UserError("checkpoint is untrained, and nothing is learned; allowed: with --learn")
    network = load_trained(settings.checkpoint, settings.positions) if trained else untrained_network()
    network.to(device)
    grid = grid_for(network, stored.pixels.shape, settings.stride)
    corrupt, noisy = CORRUPTIONS[settings.corruption], to_image(stored.pixels)
    if corrupt is not None:
        noisy = corrupt(noisy, rate=settings.noise_rate, seed=settings.seed)
    seen, detection = noisy, None
    if settings.positions == DETECTED:
        detection = detect(load_trained(settings.detector, "unknown").to(device), noisy)
        find_mask = detection.find_mask
    else:
        find_mask = mask_finder(settings.positions, noisy.shape)
        if settings.positions not in MASKS:  # a file: no network sees across a hole that is wider than its patches
            seen = filled(noisy, find_mask(noisy))
    observation = Observation(seen, grid, device, find_mask, settings.replace)
    network.problem.known(observation.mask)  # refuses a mask where it has no meaning
    learning = None
    if learns:
        learning = Learning(network, observation, settings.learn, settings.seed, settings.epochs, trained)
    if lost := not_kept(output, stored):
        print(f"{settings.image}: {' and '.join(lost)} will not be in {output}", file=sys.stderr)
    return Task(stored, noisy, observation, network, learning, detection)


def load_trained(checkpoint: str, positions: str) -> DLADMM:
    """The network of a checkpoint, which must have learned with known positions if they are known here, else without.

    Args:
        checkpoint: the file. If its training had no setting for the positions, any are allowed.
        positions: the setting here.

    Raises:
        UserError: the network cannot be read, or has learned otherwise.
    """
    trained = load_settings(Path(checkpoint)).get("positions", positions)
    if (trained == "unknown") != (positions == "unknown"):
        allowed = "unknown" if trained == "unknown" else "known positions"
        raise UserError(f"positions are {positions!r}, but in training they were {trained!r}; allowed: {allowed}")
    return load_network(Path(checkpoint))


def noisy_output(output: Path) -> Path:
    """The name of the corrupted image of a test, beside the restored one."""
    return output.with_name(f"{output.stem}_noisy{output.suffix}")


def check_outputs(settings: Settings) -> None:
    """Raises UserError if an output would replace a file that it must not replace."""
    inputs = (settings.image, settings.positions, settings.checkpoint, settings.detector)
    files_read = [name for name in inputs if Path(name).is_file()]

    def is_taken(path: Path) -> bool:
        return path.is_dir() or any(is_same_file(path, name) for name in files_read)

    output, save = Path(settings.output), Path(settings.save)
    if is_taken(output):
        raise UserError(f"output is {settings.output!r}, a folder or a file that is read; allowed: another name")
    if settings.save:
        if CORRUPTIONS[settings.learn] is None:
            raise UserError(f"save is {settings.save!r}, and nothing is learned; allowed: with --learn")
        if save.suffix != SUFFIX or is_taken(save):
            raise UserError(f"save is {settings.save!r}; allowed: a name in {SUFFIX} of a file that is not read")
        check_folder(str(save.parent))
    noisy = noisy_output(output)
    if CORRUPTIONS[settings.corruption] is None or not os.path.lexists(noisy):
        return
    if is_taken(noisy) or read_description(noisy) != NOISY:
        raise UserError(
            f"{str(noisy)!r} is there, where the corrupted image would go, and this command did not make it; "
            "allowed: another output"
        )
