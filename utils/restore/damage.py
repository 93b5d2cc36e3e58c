"""Damage: what may be wrong with a picture, how that is seen, and what may restore it.

A new kind of damage is a line in `DAMAGE`, a new way to restore specks one in `CANDIDATES`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_opening, maximum_filter, uniform_filter

from data.damage import as_jpeg, grain, rounding
from data.levels import HALF_STEP, Levels, find_levels
from data.masks import black, inpainted
from utils.restore.choice import CHANGED, best_pair, compared, mixed, pieces
from utils.restore.networks import Networks, at_levels, nearly_at_levels, small_ones, where_changed

Candidate = Callable[[Networks, Levels, np.ndarray], np.ndarray]
LEAST = 0.002  # share of changed pixels below which nothing was found: clean photographs have a few as well
RARE = 1 / 8  # of the other polarity's specks: what is white beside so much pepper are stars
GRAIN = 0.0225  # deviation from which an image has grain
SURE = 0.003  # share of pixels that no texture explains; clean photographs have up to 0.0023
COARSE = 0.0175  # rounding in a JPEG, from which all of its pixels are restored: that of quality 88
RINGS = 0.75  # times the rounding: around specks there is more noise in a JPEG, around what only looks like them less
TEXTURE = 1.03  # times less error, and it is texture that looks like grain
FLAT = 0.35  # see `is_drawn`
STRONG = 0.15  # change of a pixel that no ringing of a JPEG makes
AROUND = 5  # side of the square around a speck in which a JPEG rings
NEARLY = 15.5 / 255  # specks of a JPEG are nearly black and white: within so much
MOST = 0.9  # of the specks have nearly the level
NOTHING = "nothing found: the picture is written as it is"


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


class Seen(NamedTuple):
    """What is wrong with a picture: the levels of its specks, and what may restore it, names in `CANDIDATES`."""

    levels: Levels
    candidates: tuple[str, ...]


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
    "nearly": ("detected, then restored", nearly_at_levels),
    "small": ("single pixels and pairs are restored", small_ones),
    "any value": ("detected, then restored", where_changed),
    "any value, all": ("every pixel is restored", lambda n, levels, image: n.restored("specks", image)),
    "random values": ("every pixel is restored", lambda n, levels, image: n.restored("random_valued", image)),
    "grain": ("every pixel is restored", lambda n, levels, image: n.restored("gaussian_and_impulses", image)),
    "blocks": ("restored where they are", in_blocks),
}
LEVELS, ANY_VALUE = ("levels", "nearly", "small"), ("any value", "any value, all", "random values")
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
    levels, trials = levels_of(image, DAMAGE.get(name)), replace(networks, trying=True)
    seen = examined(image, levels, trials, qtables) if name == AUTO else Seen(levels, DAMAGE[name].candidates)
    if seen.candidates == ("levels",) and is_drawn(image):
        seen = Seen(levels, ("small",))
    parts, figures = best_mixture(image, seen, trials, qtables)
    if not parts:
        return Restored(image, NOTHING, figures)
    ways = {key: CANDIDATES[key][1](networks, seen.levels, image) for key in parts}
    restored = snapped(sum(parts[key] * way for key, way in ways.items()), image)
    share = float((np.abs(restored - image) > CHANGED).mean())
    if name == AUTO and share < LEAST:
        return Restored(image, NOTHING, figures)
    best = max(parts, key=parts.__getitem__)
    kind = DAMAGE[name] if name != AUTO else seen_by(best, seen.levels)
    done = " and ".join(f"{CANDIDATES[key][0]} ({key}, {part:.0%})" for key, part in parts.items())
    where = at_levels_of(seen.levels, white) if best in LEVELS else ""
    return Restored(restored, f"{kind.title}{where} on {share:.1%} of the pixels: {done}", figures)


def at_levels_of(levels: Levels, white: int) -> str:
    """The levels in words."""
    at = [f"{level * white:.0f}" for level in (levels.dark, levels.light) if level is not None]
    nearly = "" if levels.within == HALF_STEP else f" or up to {levels.within * white:.0f} from there"
    return f", level{'s' * (len(at) > 1)} {' and '.join(at)}{nearly},"


def best_mixture(
    image: np.ndarray, seen: Seen, networks: Networks, qtables: dict | None
) -> tuple[dict[str, float], dict[str, float]]:
    """The candidates that the picture itself says are best, with their shares, and the errors of all; see `compared`.

    Args:
        image, qtables: see `look`.
        seen: what was seen.
        networks: for trials.
    """
    names = seen.candidates
    if len(names) < 2:
        return dict.fromkeys(names, 1.0), {}
    stored = (lambda again: again) if qtables is None else partial(as_jpeg, qtables=qtables)
    ways = {name: partial(CANDIDATES[name][1], networks, seen.levels) for name in names}
    products = compared(image, ways, stored, qtables is not None or "grain" in names)
    figures = dict(zip(names, np.sqrt(np.diag(products)).tolist(), strict=True))
    if "grain" in names:  # what looks like it may be texture; if it is not, it is to be taken from all pixels
        return {"levels" if figures["levels"] * TEXTURE < figures["grain"] else "grain": 1.0}, figures
    one, other, of_other = best_pair(products)
    return {names[one]: 1 - of_other} | ({names[other]: of_other} if of_other else {}), figures


def examined(image: np.ndarray, levels: Levels, networks: Networks, qtables: dict | None) -> Seen:
    """What is wrong with a picture. Levels are sure; what else there is shows on some pieces, see `pieces`.

    Args:
        image, qtables: see `look`.
        levels: of its specks, see `levels_of`.
        networks: for trials.
    """
    exact = levels.dark is not None or levels.light is not None
    if is_drawn(image):
        return Seen(levels, ("levels",) if exact else ())
    looked_at = [image[place] for place in pieces(image)]
    seen, without = np.hstack(looked_at), np.hstack([where_changed(networks, levels, piece) for piece in looked_at])
    sure, strong, exactly = no_texture(without, seen), np.abs(without - seen) > STRONG, levels.candidates(seen)
    if sure.mean() <= SURE:
        return Seen(levels, ("levels",) if exact else ())
    if are_blocks(seen, sure & strong):
        return Seen(levels, ("blocks",))
    # A JPEG spreads levels: then less than half of the specks that have nearly a level have it.
    near_level = sure & strong & levels._replace(within=NEARLY).candidates(seen)
    exact = exact and (exactly[near_level].mean() > 0.5 if near_level.any() else True)
    specks = exactly if exact else strong
    widths, rounded = [piece.shape[1] for piece in looked_at], rounding(qtables)
    noise = noise_in(seen, specks, widths, qtables)
    if noise > GRAIN + rounded or (rounded > COARSE and noise > RINGS * rounded):
        return Seen(levels, ("grain", "levels") if exact else ("grain",))
    if exact:
        return Seen(levels, ("levels",))
    nearly = [sure & strong & (seen < NEARLY), sure & strong & (seen > 1 - NEARLY)]
    grey = seen.ndim == 2 or (seen == seen[..., :1]).all()  # of colours a JPEG keeps half as many
    if grey and sum(map(np.count_nonzero, nearly)) > MOST * np.count_nonzero(sure & strong):
        dark, light = (level if found.any() else None for level, found in zip((0.0, 1.0), nearly, strict=True))
        return Seen(Levels(dark, light, NEARLY), ("nearly",))
    return Seen(levels, ANY_VALUE)


def are_blocks(image: np.ndarray, damaged: np.ndarray) -> bool:
    """Whether what is damaged is black, and black pixels lie in squares of 3 x 3 and more, but in no large areas.

    Args:
        image: values in [0, 1].
        damaged: of its shape, bool.
    """
    hit = black(image) == 0
    squares = binary_opening(hit, np.ones((3, 3) + (1,) * (image.ndim - 2)))
    return bool(damaged.any()) and hit[damaged].mean() > 0.5 and squares[hit].mean() > 0.5


def noise_in(seen: np.ndarray, specks: np.ndarray, widths: Sequence[int], qtables: dict | None) -> float:
    """The deviation of the noise in pieces of these widths side by side: in the one that has least of it.

    In a JPEG it is that around the specks of all pieces together, where it rings.
    """
    if qtables is not None:
        return grain(seen, maximum_filter(specks, AROUND, axes=(0, 1)) & ~specks)
    pairs = zip(*(np.split(array, np.cumsum(widths)[:-1], axis=1) for array in (seen, ~specks)), strict=True)
    return min(grain(*pair) for pair in pairs)


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
    mixture = mixed(image, known, candidates)
    share = "inpainting alone, too few pixels are known to compare it with a network"
    if mixture.errors:
        share = f"{1 - mixture.share:.0%} inpainting and {mixture.share:.0%} of the network {mixture.best}"
    everywhere = known if image.ndim == 2 else known[..., None]
    image = np.where(everywhere, image, mixture.image)
    return Restored(image, f"the mask marks {1 - known.mean():.1%} of the pixels: {share}", mixture.errors)
