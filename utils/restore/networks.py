"""The shipped networks, and what they restore: arrays in, arrays out, with a bar for a whole picture."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import label, maximum_filter, uniform_filter
from tqdm import tqdm

from data.levels import Levels
from models import DLADMM
from utils.evaluation.detection import Detection, detect
from utils.evaluation.restoration import grid_for, restored_bands
from utils.running.checkpoints import SUFFIX, load_network
from utils.running.provenance import ROOT

SHIPPED = ROOT / "checkpoints"
FILE = f"dladmm_d15{SUFFIX}"
SMALL = 2_000_000  # samples; a smaller picture has patches at a quarter of their side, a larger one at half
ALIKE, NEAR = 0.3, 9  # values that differ by less belong to one piece of ink; pixels around a pair of them
DOTS = 2  # times as frequent near ink as elsewhere: dots
FITS = 6 / 255  # a level is within so much of the mean of the other pixels around: then a speck does no harm
SPREAD = 0.06  # a pixel of a JPEG that the network for black and white specks changes by more is damaged
DOUBT = 0.08  # a pixel that the network for all specks changes by more is damaged


def shipped(name: str) -> Path:
    """The file of a network in the folder of checkpoints beside the code."""
    return SHIPPED / name / FILE


@dataclass(frozen=True)
class Networks:
    """Restores pictures with the shipped networks, each of which is read when it is first needed.

    Attributes:
        device: where to compute.
        stride: pixels from one patch to the next; 0: by the size of the picture.
        trying: whether what is restored is a trial, without a bar and with fewer patches.
        read: the networks that were read, by name.
    """

    device: torch.device
    stride: int = 0
    trying: bool = False
    read: dict[str, DLADMM] = field(default_factory=dict)

    def __getitem__(self, name: str) -> DLADMM:
        """The network of that name."""
        if name not in self.read:
            self.read[name] = load_network(shipped(name)).to(self.device)
        return self.read[name]

    def restored(self, name: str, image: np.ndarray, known: np.ndarray | None = None, stride: int = 0) -> np.ndarray:
        """What a network makes of the image, see `restored_by`."""
        shown = "" if self.trying else f"restoring ({name})"
        replace = "all" if known is None else "corrupted"
        return restored_by(self[name], image, known, stride or self.stride or self.usual_stride(image), replace, shown)

    def usual_stride(self, image: np.ndarray) -> int:
        """The stride where none is chosen: 4, or 8 for a large picture and in a trial."""
        return 4 if image.size < SMALL and not self.trying else 8

    def detection(self, image: np.ndarray) -> Detection:
        """The black and white pixels that are damaged: see `detect`."""
        return detect(image, self.restored("noise_rates", image, stride=8))


def restored_by(
    network: DLADMM,
    image: np.ndarray,
    known: np.ndarray | None = None,
    stride: int = 0,
    replace: str = "all",
    shown: str = "",
) -> np.ndarray:
    """What a network makes of an image, computed where the network is.

    Args:
        network: a trained network.
        image: values in [0, 1], (height, width) or (height, width, channels).
        known: of its shape, 1 where a pixel is known; None if nothing is known of them.
        stride: see `grid_for`.
        replace: which pixels, one of `REPLACE` in utils.evaluation.observation.
        shown: what a bar says; empty: there is none.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(network.problem.A.device)
    mask = None if known is None else torch.from_numpy(np.float32(known)).to(pixels)
    bands = []
    with tqdm(total=len(image), desc=shown, unit="row", disable=not shown) as bar:
        for band in restored_bands(network, grid_for(network, image.shape, stride), pixels, mask, replace):
            bands.append(band.cpu().numpy())
            bar.update(len(band))
    return np.concatenate(bands)


def without_areas(levels: Levels, image: np.ndarray) -> np.ndarray:
    """The image with black and white specks, see Levels.canonical.

    A level that is not black or white may be that of an area too: what is as dark as the pixels around is no speck.
    """
    good = ~levels.candidates(image)
    known, total = (uniform_filter(np.float32(array), 5, axes=(0, 1)) for array in (good, good * image))
    fits = (known > 1e-3) & (np.abs(image - total / np.maximum(known, 1e-3)) < FITS)
    return np.where(fits & (image > 0) & (image < 1), image, levels.canonical(image))


def at_levels(networks: Networks, levels: Levels, image: np.ndarray) -> np.ndarray:
    """Specks at the levels that a network takes for damaged are restored by one that knows where they are.

    The network sees black and white in place of the levels. What it puts in an area of a level may so be beyond that.
    """
    canonical = without_areas(levels, image)
    detection = networks.detection(canonical)
    restored = networks.restored("positions", canonical, detection.mask == 1)
    return np.where(detection.mask == 0, detection.mixed(restored).clip(image.min(), image.max()), image)


def nearly_at_levels(networks: Networks, levels: Levels, image: np.ndarray) -> np.ndarray:
    """As `at_levels` where a JPEG has spread the levels: so the network sees the image as it is, not its levels."""
    detected = np.abs(networks.restored("noise_rates", image, stride=8) - image) > SPREAD
    damaged = detected & levels.candidates(image)
    return networks.restored("positions", image, ~damaged) if damaged.any() else image


def small_ones(networks: Networks, levels: Levels, image: np.ndarray) -> np.ndarray:
    """Specks at the levels are single pixels, and pairs with nothing near: a dot of a letter has its stem there.

    Specks lie anywhere: where single pixels are more frequent near ink, those there are dots.
    """
    candidates, damaged = levels.candidates(image), np.zeros(image.shape, dtype=bool)
    for level, below in ((levels.dark, True), (levels.light, False)):
        if level is not None:
            alike = image < level + ALIKE if below else image > level - ALIKE
            pieces, _ = label(alike, np.ones((3,) * 2 + (1,) * (image.ndim - 2)))
            sizes = np.bincount(pieces.ravel())[pieces]
            alone = uniform_filter(np.float32(alike), NEAR, axes=(0, 1)) * NEAR**2 < 2.5
            single, ink = alike & (sizes == 1), alike & (sizes > 2)
            around = maximum_filter(ink, NEAR, axes=(0, 1))
            there, elsewhere = (single[place].mean() if place.any() else 0.0 for place in (around & ~ink, ~around))
            if there > DOTS * elsewhere:
                single &= ~around
            damaged |= candidates & (single | (alike & (sizes == 2) & alone))
    return networks.restored("positions", image, ~damaged) if damaged.any() else image


def where_changed(networks: Networks, levels: Levels, image: np.ndarray) -> np.ndarray:
    """What the network for specks of any kind changes is restored by one that knows where it is."""
    changed = np.abs(networks.restored("specks", image, stride=8) - image) > DOUBT
    return networks.restored("positions", image, ~changed) if changed.any() else image
