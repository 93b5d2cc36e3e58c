"""What is done before any work: reading the options, the picture and what else they name, and all checks.

No output may replace a file that is read.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.damage import DAMAGES, NONE
from data.formats import FORMATS, Picture, check_writable, not_kept, quantization
from data.images import load_picture, opaque
from data.levels import white_level
from data.masks import POSITIONS, extended, load_mask
from utils.evaluation.observation import REPLACE
from utils.restore.damage import AUTO, DAMAGE
from utils.restore.learning import EPOCHS
from utils.running.checkpoints import SUFFIX
from utils.running.devices import DEVICES
from utils.running.errors import UserError
from utils.running.files import check_folder, is_same_file
from utils.running.settings import at_least, between, one_of, setting

UNTRAINED = "untrained"  # instead of a checkpoint
DETECTED = "detected"  # in place of a mask
OUTPUT = "restored.png"


@dataclass(frozen=True)
class Settings:
    """What to restore, and how. Without further options the command looks at the picture and chooses."""

    image: tuple[str, ...] = setting(("lena",), "image files, a folder of them, or a name in data/images.py")
    output: str = setting("", f"the restored image, a name in {', '.join(FORMATS)}; none: {OUTPUT}, or in --output-dir")
    output_dir: str = setting("", "folder of the restored images, which have the names of the others, in .png or .tif")
    damage: str = setting(AUTO, "what is wrong with it; auto: what it looks like", one_of(DAMAGE, AUTO))
    mask: str = setting("", "an image file that is brighter than half way where the picture is damaged")
    verbose: str = setting("no", "yes: the candidates that were compared, with their errors", one_of(("no", "yes")))
    # for who knows
    checkpoint: str = setting(AUTO, "the network: a name below checkpoints/, a file, or untrained: to --learn")
    positions: str = setting("unknown", f"{POSITIONS}; {DETECTED}: specks that a network changes")
    replace: str = setting("all", "pixels to replace by restored ones; corrupted: if known", one_of(REPLACE))
    learn: str = setting("none", "learn on the image itself first, which has this noise", one_of(DAMAGES, NONE))
    epochs: int = setting(EPOCHS, "how long to learn, in epochs of 10,000 patches", at_least(1))
    save: str = setting("", f"file for the network that has learned, a name in {SUFFIX}; by default it is not kept")
    stride: int = setting(
        0, "pixels from one patch to the next, which are averaged; 0: 4, or 8 for a large picture", at_least(0)
    )
    corruption: str = setting("none", "how to corrupt the image first, for a test", one_of(DAMAGES, NONE))
    noise_rate: float = setting(0.1, "probability that a pixel, or a block of them, is then corrupted", between(0, 1))
    seed: int = setting(1126, "seed of that corruption, and of learning", at_least(0))
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))

    @property
    def is_chosen(self) -> bool:
        """Whether the user has chosen the network, the positions or to learn."""
        return (self.checkpoint, self.positions, self.learn) != (AUTO, "unknown", "none")


class Task(NamedTuple):
    """A picture to restore."""

    name: str  # of its file
    output: Path
    stored: Picture  # as it is in its file
    white: int  # the stored value of white
    image: np.ndarray  # values in [0, 1]: the picture itself, or corrupted for a test
    known: np.ndarray | None  # (height, width), bool: what no mask marks; None without a mask
    opaque: np.ndarray | None  # (height, width), bool: what is not transparent; None if all is opaque
    qtables: dict[int, list[int]] | None  # of a JPEG: how much its values were rounded


def tasks(settings: Settings) -> list[tuple[str, Path]]:
    """The names of the pictures, and of their outputs.

    Raises:
        UserError: the options do not fit each other, or two outputs would have one name.
    """
    names = []
    for name in settings.image:
        inside = sorted(str(path) for path in Path(name).glob("*") if path.suffix.lower() in FORMATS)
        if Path(name).is_dir() and not inside:
            raise UserError(f"image is {name!r}, a folder without images; allowed: {', '.join(FORMATS)}")
        names += inside or [name]
    if settings.output_dir:
        if settings.output:
            raise UserError("there are output and output_dir; allowed: one of the two")
        check_folder(settings.output_dir)
        outputs = [Path(settings.output_dir) / f"{Path(name).stem}{_ending(name)}" for name in names]
    else:
        if len(names) > 1:
            raise UserError(f"there are {len(names)} images; allowed: with --output-dir")
        outputs = [Path(settings.output or OUTPUT)]
    twice = next((path for number, path in enumerate(outputs) if path in outputs[:number]), None)
    if twice is not None:
        raise UserError(f"two images would become {twice}; allowed: images of different names")
    if len(names) > 1 and (settings.mask or settings.save):
        raise UserError("a mask, and a network to save, are for one image; allowed: one --image")
    _check_options(settings)
    return list(zip(names, outputs, strict=True))


def prepare(settings: Settings, name: str, output: Path) -> Task:
    """Reads and checks a picture and its mask.

    Raises:
        UserError, InvalidInput: something cannot be used.
    """
    stored = load_picture(name)
    check_writable(output, stored)
    check_folder(str(output.parent))
    _check_outputs(settings, name, output)
    white = white_level(stored.pixels)
    image = np.float32(stored.pixels) / np.float32(white)
    seen = opaque(stored)
    if seen is not None:
        image = extended(image, seen)
    damage = DAMAGES.get(settings.corruption)
    if damage is not None:
        image = damage.corrupt(image, settings.noise_rate, settings.seed)
    mask = load_mask(settings.mask, image.shape) if settings.mask else None
    if mask is not None and mask.share > 0.5:
        print(f"{settings.mask} marks {mask.share:.0%} of the picture: is it inverted?", file=sys.stderr)
    if lost := not_kept(output, stored):
        print(f"{name}: {' and '.join(lost)} will not be in {output}", file=sys.stderr)
    known = None if mask is None else mask.known == 1
    qtables = quantization(name) if damage is None else None  # what was corrupted just now never was a JPEG
    return Task(name, output, stored, white, image, known, seen, qtables)


def noisy_output(output: Path) -> Path:
    """The name of the corrupted image of a test, beside the restored one."""
    return output.with_name(f"{output.stem}_noisy{output.suffix}")


def _ending(name: str) -> str:
    """Of an output: that of the picture if it loses nothing there."""
    ending = Path(name).suffix.lower()
    return ending if ending in (".tif", ".tiff", ".bmp") else ".png"


def _check_options(settings: Settings) -> None:
    """Raises UserError if options do not fit each other, or one would have no effect."""
    mask, damage, replace, epochs, save = (
        getattr(settings, name) != getattr(Settings, name) for name in ("mask", "damage", "replace", "epochs", "save")
    )
    chosen, learns = settings.is_chosen, settings.learn in DAMAGES
    refused = {
        "there is a mask; allowed: no damage, checkpoint, positions or learn beside it": mask and (damage or chosen),
        f"damage is {settings.damage}; allowed: no checkpoint, positions or learn beside it": damage and chosen,
        # With a mask nothing else is replaced anyway.
        f"replace is {settings.replace}, and no positions are known; allowed: with --positions, --learn or --mask": (
            replace and not (mask or chosen)
        ),
        f"epochs are {settings.epochs}, and nothing is learned; allowed: with --learn": epochs and not learns,
        f"save is {settings.save!r}, and nothing is learned; allowed: with --learn": save and not learns,
    }
    for message, is_so in refused.items():
        if is_so:
            raise UserError(message)


def _check_outputs(settings: Settings, name: str, output: Path) -> None:
    """Raises UserError if an output would replace a file that it must not replace."""
    inputs: Sequence[str] = (name, settings.mask, settings.positions, settings.checkpoint)
    files_read = [file for file in inputs if file and Path(file).is_file()]

    def is_taken(path: Path) -> bool:
        return path.is_dir() or any(is_same_file(path, file) for file in files_read)

    if is_taken(output):
        raise UserError(f"output is {str(output)!r}, a folder or a file that is read; allowed: another name")
    save = Path(settings.save)
    if settings.save:
        if save.suffix != SUFFIX or is_taken(save):
            raise UserError(f"save is {settings.save!r}; allowed: a name in {SUFFIX} of a file that is not read")
        check_folder(str(save.parent))
    noisy = noisy_output(output)
    if settings.corruption in DAMAGES and is_taken(noisy):
        raise UserError(f"{str(noisy)!r} is read, and the corrupted image would go there; allowed: another output")
