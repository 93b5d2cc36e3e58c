"""What restores damage: the shipped networks, the ways to use them, and which may help against which damage.

A new kind of damage is a line in `REMEDIES`, a new way to restore specks one in `WAYS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import label, maximum_filter, uniform_filter
from tqdm import tqdm

from data.images import Image
from data.levels import Levels, find_levels
from data.masks import Mask, black
from models import DLADMM
from utils.evaluation.restoration import Detection, detect, grid_for, restored_image
from utils.running.checkpoints import SUFFIX, load_network
from utils.running.provenance import ROOT

LEAST = 0.002  # share of changed pixels below which nothing was found: clean photographs have a few as well
RARE = 1 / 8  # of the other polarity's specks: what is white beside so much pepper are stars
SMALL = 2_000_000  # samples; a smaller picture has patches at a quarter of their side, a larger one at half
ALIKE, NEAR = 0.3, 9  # values that differ by less belong to one piece of ink; pixels around a pair of them
DOTS = 2  # times as frequent near ink as elsewhere: dots
FITS = 6 / 255  # a level is within so much of the mean of the other pixels around: then a speck does no harm
SPREAD = 0.06  # a pixel of a JPEG that the network for black and white specks changes by more is damaged
DOUBT = 0.08  # a pixel that the network for all specks changes by more is damaged


@dataclass(frozen=True)
class Networks:
    """Restores images with the shipped networks, each of which is read when it is first needed."""

    device: torch.device
    bars: bool = False  # whether bars show how far it is
    stride: int = 0  # pixels from one patch to the next; 0: 4, or 8 for a large picture
    read: dict[str, DLADMM] = field(default_factory=dict)  # by name

    def __getitem__(self, name: str) -> DLADMM:
        """The network in the folder of that name below checkpoints/."""
        if name not in self.read:
            self.read[name] = load_network(ROOT / "checkpoints" / name / f"dladmm_d15{SUFFIX}").to(self.device)
        return self.read[name]

    def restored(self, name: str, image: Image, known: np.ndarray | None = None, stride: int = 0) -> Image:
        """What a network makes of the image; of pixels, True where they are known, it replaces the others alone."""
        replace, shown = "all" if known is None else "corrupted", f"restoring ({name})" if self.bars else ""
        return by_network(self[name], image, known, stride or self.usual_stride(image), replace, shown)

    def usual_stride(self, image: Image) -> int:
        """The stride where a way to restore asks for none."""
        return self.stride or (4 if image.size < SMALL else 8)

    def detection(self, image: Image) -> Detection:
        """The black and white pixels that are damaged: see `detect`."""
        return detect(image, self.restored("noise_rates", image, stride=8))


def by_network(
    network: DLADMM, image: Image, known: Mask | None = None, stride: int = 0, replace: str = "all", shown: str = ""
) -> Image:
    """What a network makes of the image, see `restored_image` and `grid_for`. A text is shown by a bar."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(network.problem.A.device)
    mask = None if known is None else torch.from_numpy(np.float32(known)).to(pixels)
    with tqdm(total=len(image), desc=shown, unit="row", disable=not shown) as bar:
        grid = grid_for(network, image.shape, stride)
        return restored_image(network, grid, pixels, mask, replace, bar.update).cpu().numpy()


def without_areas(levels: Levels, image: Image) -> Image:
    """The image with black and white specks, see Levels.canonical.

    A level that is not black or white may be that of an area too: what is as dark as the pixels around is no speck.
    """
    good = ~levels.candidates(image)
    known, total = (uniform_filter(np.float32(array), 5, axes=(0, 1)) for array in (good, good * image))
    fits = (known > 1e-3) & (np.abs(image - total / np.maximum(known, 1e-3)) < FITS)
    return np.where(fits & (image > 0) & (image < 1), image, levels.canonical(image))


def at_levels(networks: Networks, levels: Levels, image: Image) -> Image:
    """Specks at the levels that a network takes for damaged are restored by one that knows where they are.

    The network sees black and white in place of the levels. What it puts in an area of a level may so be beyond that.
    """
    canonical = without_areas(levels, image)
    detection = networks.detection(canonical)
    restored = networks.restored("positions", canonical, detection.mask == 1)
    return np.where(detection.mask == 0, detection.mixed(restored).clip(image.min(), image.max()), image)


def nearly_at_levels(networks: Networks, levels: Levels, image: Image) -> Image:
    """As `at_levels` where a JPEG has spread the levels: so the network sees the image as it is, not its levels."""
    detected = np.abs(networks.restored("noise_rates", image, stride=8) - image) > SPREAD
    return _at_positions(networks, detected & levels.candidates(image), image)


def small_ones(networks: Networks, levels: Levels, image: Image) -> Image:
    """Specks at the levels are single pixels, and pairs with nothing near: a dot of a letter has its stem there.

    Specks lie anywhere: where single pixels are more frequent near ink, those there are dots.
    """
    candidates, damaged = levels.candidates(image), np.zeros(image.shape, dtype=bool)
    touching = np.zeros((3, 3, 3))
    touching[:, :, 1] = 1  # each channel by itself
    for level, below in ((levels.dark, True), (levels.light, False)):
        if level is not None:
            alike = image < level + ALIKE if below else image > level - ALIKE
            numbers, _ = label(np.atleast_3d(alike), touching)
            sizes = np.bincount(numbers.ravel())[numbers].reshape(alike.shape)
            alone = uniform_filter(np.float32(alike), NEAR, axes=(0, 1)) * NEAR**2 < 2.5
            single, ink = alike & (sizes == 1), alike & (sizes > 2)
            around = maximum_filter(ink, NEAR, axes=(0, 1))
            there, elsewhere = (single[place].mean() if place.any() else 0.0 for place in (around & ~ink, ~around))
            if there > DOTS * elsewhere:
                single &= ~around
            damaged |= candidates & (single | (alike & (sizes == 2) & alone))
    return _at_positions(networks, damaged, image)


def where_changed(networks: Networks, levels: Levels, image: Image) -> Image:
    """What the network for specks of any kind changes is restored by one that knows where it is."""
    changed = np.abs(networks.restored("specks", image, stride=8) - image) > DOUBT
    return _at_positions(networks, changed, image)


def _at_positions(networks: Networks, damaged: np.ndarray, image: Image) -> Image:
    return networks.restored("positions", image, ~damaged) if damaged.any() else image


WAYS: dict[str, tuple[str, Callable[[Networks, Levels, Image], Image]]] = {  # by name: what it does, and how
    "levels": ("detected, then restored", at_levels),
    "nearly": ("detected, then restored", nearly_at_levels),
    "small": ("single pixels and pairs are restored", small_ones),
    "any value": ("detected, then restored", where_changed),
    "any value, all": ("every pixel is restored", lambda n, _, image: n.restored("specks", image)),
    "random values": ("every pixel is restored", lambda n, _, image: n.restored("random_valued", image)),
    "grain": ("every pixel is restored", lambda n, _, image: n.restored("gaussian_and_impulses", image)),
    "blocks": ("restored where they are", lambda n, _, image: n.restored("missing_blocks", image, black(image) == 1)),
}
AT_LEVELS = "levels", "nearly", "small"


class Remedy(NamedTuple):
    """What helps against a kind of damage."""

    title: str  # of the damage, as text names it
    ways: tuple[str, ...]  # that may restore it, names in `WAYS`
    dark: bool = True  # whether specks of this polarity are looked for
    light: bool = True


AUTO = "auto"  # in place of a name: what the picture looks like
REMEDIES = {
    "specks": Remedy("black and white specks", ("levels",)),
    "black_specks": Remedy("black specks", ("levels",), light=False),
    "white_specks": Remedy("white specks", ("levels",), dark=False),
    "specks_of_any_value": Remedy("specks of any value", ("any value", "any value, all", "random values")),
    "specks_and_grain": Remedy("specks and grain", ("grain",)),
    "blocks": Remedy("black blocks", ("blocks",)),
}


def levels_of(image: Image, said: Remedy | None) -> Levels:
    """The levels of the specks that are looked for: those found, black and white if they are said to be there."""
    dark, light, _ = find_levels(image)
    if said is not None:
        dark, light = dark or 0.0, 1.0 if light is None else light
        return Levels(dark if said.dark else None, light if said.light else None)
    of_dark, of_light = (float(Levels(*pair).candidates(image).mean()) for pair in ((dark, None), (None, light)))
    is_dark, is_light = of_dark > max(LEAST, RARE * of_light), of_light > max(LEAST, RARE * of_dark)
    return Levels(dark if is_dark else None, light if is_light else None)
