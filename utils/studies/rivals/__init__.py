"""Methods to compare with. A rival is one file here, which nobody else names: utils.studies.comparison finds it.

The file declares its place in tables, `FAMILY`, its `METHODS`, and `NETWORKS` if some have to be trained first. Its
docstring says in results/comparison.md what it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from data.damage import DAMAGES
from data.images import Image
from utils.evaluation.metrics import psnr
from utils.evaluation.observation import NOTHING_KNOWN, Row
from utils.running.checkpoints import load_network

FAMILIES = "filter", "optimization", "network"  # in the order of the tables
SEEDS = (1126, 1, 2)  # of the corruptions; with the first one all choices are made
CHECKPOINTS = Path("checkpoints")


@dataclass(frozen=True)
class Method:
    """A way to restore an image, what it knows besides that image, and what it is meant for.

    `restore` is given what `load` makes of each of the networks, the weight if there are any, then the noisy image; and
    find_mask, which finds the known pixels, if positions are "yes".
    """

    key: str  # its identity, whatever its title is
    title: str  # in tables
    restore: Callable[..., Image]
    weights: tuple[float, ...] = ()  # from which the validation images choose, for every damage and rate
    positions: str = "no"  # of the corrupted pixels: "no", "yes" for known ones, or "detected"
    damages: tuple[str, ...] = ()  # names in data.damage.DAMAGES; none: all
    experiments: tuple[str, ...] = ()  # names in utils.studies.comparison.EXPERIMENTS; none: all with these damages
    images: tuple[str, ...] = ()  # that it is for; none: all
    seeds: tuple[int, ...] = SEEDS  # of the corruptions that it restores
    networks: tuple[str, ...] = ()  # files below the folder of checkpoints
    load: Callable[[Path], Any] = cache(load_network)
    knows: Mapping[str, str] = field(default_factory=dict)  # from its training: columns, see NOTHING_KNOWN
    colours: bool = False  # whether it restores images in colour; if not, they are restored channel by channel
    readme: str = ""  # its row in README.md; of several methods that are there the last one is shown

    def is_for(self, experiment: str, damage: str) -> bool:
        """Whether it takes part in an experiment with that damage."""
        return damage in (self.damages or DAMAGES) and experiment in (self.experiments or [experiment])

    def knowledge(self, damage: str) -> Row:
        """What it knows besides the image, in columns: see `NOTHING_KNOWN`."""
        chosen = {"noise_model": damage} if self.weights else {}
        return NOTHING_KNOWN | chosen | self.knows | {"known_positions": self.positions}

    def restorer(self, damage: str, weight: float | None = None) -> Callable[[Image], Image]:
        """The function for that damage, with a weight if there are any, for images with and without colours."""
        given = [self.load(CHECKPOINTS / file) for file in self.networks] + ([] if weight is None else [weight])
        finding = {"find_mask": DAMAGES[damage].untouched} if self.positions == "yes" else {}
        restore = partial(self.restore, *given, **finding)
        return restore if self.colours else partial(by_channel, restore)


class Recipe(NamedTuple):
    """How a network in the folder of checkpoints is trained, see utils.studies.networks."""

    purpose: str
    settings: Any  # a data class
    train: Callable[[Any, Path], float]  # (settings, folder) -> seconds; writes the file, goes on where it stopped
    file: str


def modules() -> list[ModuleType]:
    """The files of this folder, in the order of the tables."""
    found = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return sorted(found, key=lambda module: FAMILIES.index(module.FAMILY))


def methods() -> list[Method]:
    """The methods of all files."""
    return [method for module in modules() for method in module.METHODS]


def by_channel(restore: Callable[[Image], Image], noisy: Image) -> Image:
    """The image restored by a method for grey ones: each channel of (height, width, channels) by itself."""
    return restore(noisy) if noisy.ndim == 2 else np.stack([restore(c) for c in np.moveaxis(noisy, 2, 0)], axis=2)


def best_weight(
    restore: Callable[[float, Image], Image], weights: Sequence[float], pairs: Sequence[tuple[Image, Image]]
) -> float:
    """The weight with the highest mean PSNR of restore(weight, noisy) over pairs of a noisy and a clean image."""
    return max(weights, key=lambda weight: sum(psnr(restore(weight, noisy), clean) for noisy, clean in pairs))
