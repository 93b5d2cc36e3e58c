"""Damage: what may be wrong with a picture, how that is seen, and what may restore it.

A new kind of damage is a line in `DAMAGE`, a new way to restore specks one in `CANDIDATES`.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from data.corruption import as_jpeg
from data.holes import inpainted
from data.levels import Levels, find_levels
from data.masks import black
from data.noise_rate import grain
from utils.restore.choice import CHANGED, Restore, best_pair, compared, mixed, pieces
from utils.restore.networks import Networks, at_levels, small_ones, where_changed

Candidate = Callable[[Networks, Levels, np.ndarray], np.ndarray]
LEAST = 0.002  # share of changed pixels below which nothing was found: clean photographs have a few as well
RARE = 1 / 8  # of the other polarity's specks: what is white beside so much pepper are stars
GRAIN = 0.02  # deviation from which an image has grain
SURE = 0.003  # share of pixels that no texture explains; clean photographs have up to 0.0023
FLAT = 0.35  # see `is_drawn`


class Damage(NamedTuple):
    """A kind of damage.

    Attributes:
        title: as text names it.
        candidates: what may restore it, names in `CANDIDATES`.
        dark, light: whether specks of the one or the other polarity are looked for.
    """

    title: str
    candidates: tuple[str, ...]
    dark: bool = True
    light: bool = True


class Restored(NamedTuple):
    """A restored picture, with what was found and done in a line, and the candidates with their figures."""

    image: np.ndarray
    found: str
    figures: dict[str, float]


def in_blocks(networks: Networks, levels: Levels, image: np.ndarray) -> np.ndarray:
    """Black blocks are restored where they are."""
    known = black(image) == 1
    return networks.restored("missing_blocks", image, known)


CANDIDATES: dict[str, tuple[str, Candidate]] = {  # by name: what it does, and how
    "levels": ("detected, then restored", at_levels),
    "small": ("single pixels and pairs are restored", small_ones),
    "any value": ("detected, then restored", where_changed),
    "any value, all": ("every pixel is restored", lambda n, levels, image: n.restored("specks", image)),
    "random values": ("every pixel is restored", lambda n, levels, image: n.restored("random_valued", image)),
    "grain": ("every pixel is restored", lambda n, levels, image: n.restored("gaussian_and_impulses", image)),
    "blocks": ("restored where they are", in_blocks),
}
LEVELS, ANY_VALUE = ("levels", "small"), ("any value", "any value, all", "random values")
DAMAGE = {
    "specks": Damage("black and white specks", ("levels",)),
    "black_specks": Damage("black specks", ("levels",), light=False),
    "white_specks": Damage("white specks", ("levels",), dark=False),
    "specks_of_any_value": Damage("specks of any value", ANY_VALUE),
    "specks_and_grain": Damage("specks and grain", ("grain",)),
    "blocks": Damage("black blocks", ("blocks",)),
}
AUTO = "auto"


def look(image: np.ndarray, networks: Networks, name: str, qtables: dict | None, white: int) -> Restored:
    """Looks what is wrong with a picture, unless that is said, and restores it with the best candidate.

    Args:
        image: values in [0, 1], (height, width) or (height, width, channels).
        networks: the shipped networks.
        name: of the damage, in `DAMAGE`, or `AUTO`.
        qtables: of the JPEG that the picture was stored in; None for another format.
        white: the stored value of white, in whose units levels are named.
    """
    networks.trying = True
    levels = levels_of(image, DAMAGE.get(name))
    restore = {key: partial(way, networks, levels) for key, (_, way) in CANDIDATES.items()}
    names = DAMAGE[name].candidates if name != AUTO else candidates_for(image, levels, restore)
    if names == ("levels",) and is_drawn(image):
        names = ("small",)
    chosen, figures = {names[0]: 1.0} if names else {}, {}
    if len(names) > 1:
        stored = (lambda again: again) if qtables is None else partial(as_jpeg, qtables=qtables)
        products = compared(image, {key: restore[key] for key in names}, stored, qtables is not None)
        figures = dict(zip(names, np.sqrt(np.diag(products)).tolist(), strict=True))
        one, other, of_other = best_pair(products)
        chosen = {names[one]: 1 - of_other} | ({names[other]: of_other} if of_other else {})
    networks.trying = False
    restored = snapped(sum(part * restore[key](image) for key, part in chosen.items()), image) if chosen else image
    share = float((np.abs(restored - image) > CHANGED).mean())
    if name == AUTO and share < LEAST:
        return Restored(image, "nothing found: the picture is written as it is", figures)
    best = max(chosen, key=chosen.__getitem__)
    kind = DAMAGE[name] if name != AUTO else seen_by(best, levels)
    at = [f"{level * white:.0f}" for level in (levels.dark, levels.light) if level is not None and best in LEVELS]
    where = f", level{'s' * (len(at) > 1)} {' and '.join(at)}," if at else ""
    done = " and ".join(f"{CANDIDATES[key][0]} ({key}, {part:.0%})" for key, part in chosen.items())
    return Restored(restored, f"{kind.title}{where} on {share:.1%} of the pixels: {done}", figures)


def candidates_for(image: np.ndarray, levels: Levels, restore: Mapping[str, Restore]) -> tuple[str, ...]:
    """The candidates for all that may be wrong with a picture; none if nothing is. Levels are sure."""
    exact = levels.dark is not None or levels.light is not None
    if is_drawn(image):
        return ("levels",) if exact else ()
    standing_out, places, noise = 0.0, list(pieces(image)), math.inf
    for place in places:
        piece = image[place]
        specks = levels.candidates(piece)
        if not exact:
            restored = restore["any value"](piece)
            specks = np.abs(restored - piece) > CHANGED
            standing_out += no_texture(restored, piece).mean() / len(places)
        noise = min(noise, grain(piece, ~specks))  # grain is everywhere
    damaged = exact or standing_out > SURE
    if damaged and noise > GRAIN:
        return ("grain",)
    blocks = ("blocks",) if (black(image) == 0).mean() > LEAST else ()
    return () if not damaged else ("levels",) if exact else ANY_VALUE + blocks


def no_texture(restored: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Where a pixel is changed by more than those around differ: a network changes texture as well, but by less."""
    mean, square = (uniform_filter(array, 7, axes=(0, 1)) for array in (restored, restored**2))
    around = np.sqrt(np.maximum(square - mean**2, 0)) + 0.02
    return np.abs(restored - image) > np.maximum(CHANGED, 3 * around)


def levels_of(image: np.ndarray, said: Damage | None) -> Levels:
    """The levels of the specks that are looked for: those found, black and white if they are said to be there."""
    levels = find_levels(image)
    of_dark, of_light = (
        float(Levels(*pair).candidates(image).mean()) for pair in ((levels.dark, None), (None, levels.light))
    )
    if said is None:
        dark = levels.dark if of_dark > max(LEAST, RARE * of_light) else None
        light = levels.light if of_light > max(LEAST, RARE * of_dark) else None
    else:
        dark = (levels.dark if levels.dark is not None else 0.0) if said.dark else None
        light = (levels.light if levels.light is not None else 1.0) if said.light else None
    return Levels(dark, light)


def is_drawn(image: np.ndarray) -> bool:
    """Whether a picture is a page, a drawing or a screenshot.

    Then a third of the pixels are equal to the four around, also where there is ink: in the middle one of all squares
    that are not of one value.
    """
    plane = image if image.ndim == 2 else image[..., 0]
    same = np.logical_and.reduce([np.roll(plane, by, axis) == plane for axis in (0, 1) for by in (1, -1)])
    corners = product(*(range(0, length, 32) for length in same.shape))
    shares = [share for y, x in corners if (share := same[y : y + 32, x : x + 32].mean()) < 0.97]
    return bool(shares) and float(np.median(shares)) > FLAT


def seen_by(candidate: str, levels: Levels) -> Damage:
    """The damage that the best candidate is for."""
    if candidate in LEVELS:
        both = levels.dark is not None and levels.light is not None
        return DAMAGE["specks" if both else "white_specks" if levels.dark is None else "black_specks"]
    return next(kind for kind in DAMAGE.values() if candidate in kind.candidates)


def snapped(restored: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The restored image; of one that has two values alone, with the nearer of these."""
    low, high = image.min(), image.max()
    if not ((image == low) | (image == high)).all():
        return restored
    return np.where(restored < (low + high) / 2, low, high)


def fill(image: np.ndarray, known: np.ndarray, networks: Networks) -> Restored:
    """Restores what a mask marks: inpainting, mixed with the network where that is better.

    Args:
        image: see `look`.
        known: (height, width), bool.
        networks: the shipped networks.
    """

    def by_network(name: str, image: np.ndarray, known: np.ndarray, stride: int) -> np.ndarray:
        filled = inpainted(image, known)
        masks = known if image.ndim == 2 else np.repeat(known[..., None], image.shape[2], axis=2)
        return networks.restored(name, filled, masks, stride)

    candidates = {"inpainting": lambda image, known, stride: inpainted(image, known)}
    candidates |= {name: partial(by_network, name) for name in ("positions", "missing_blocks")}
    networks.trying = False
    mixture = mixed(image, known, candidates)
    share = f"{1 - mixture.share:.0%} inpainting and {mixture.share:.0%} of the network {mixture.best}"
    everywhere = known if image.ndim == 2 else known[..., None]
    image = np.where(everywhere, image, mixture.image)
    return Restored(image, f"the mask marks {1 - known.mean():.1%} of the pixels: {share}", mixture.errors)
