"""A picture is examined and restored: arrays in, arrays out. The command writes them, the studies measure them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_opening, maximum_filter, uniform_filter

from data.damage import DAMAGES, NONE, as_jpeg, grain, rounding
from data.images import Image
from data.levels import HALF_STEP, Levels, white_level
from data.masks import MaskOfFile, black, extended, inpainted
from utils.restore.learning import learned_on
from utils.restore.remedies import AT_LEVELS, AUTO, LEAST, REMEDIES, WAYS, Networks, Remedy, levels_of, where_changed
from utils.restore.trials import CHANGED, TRIAL, Known, best_pair, compared, mixed, pieces
from utils.running.devices import pick_device
from utils.running.errors import UserError

GRAIN = 0.0225  # deviation from which an image has grain
SURE = 0.003  # share of pixels that no texture explains; clean photographs have up to 0.0023
COARSE = 0.0175  # rounding in a JPEG, from which all of its pixels are restored: that of quality 88
RINGS = 0.75  # times the rounding: around specks there is more noise in a JPEG, around what only looks like them less
FLAT = 0.35  # see `is_drawn`
STRONG = 0.15  # change of a pixel that no ringing of a JPEG makes
AROUND = 5  # side of the square around a speck in which a JPEG rings
NEARLY = 15.5 / 255  # specks of a JPEG are nearly black and white: within so much
MOST = 0.9  # of the specks have nearly the level
TEXTURE = 1.03  # times less error, and it is texture that looks like grain
NOTHING = "nothing found: the picture is written as it is"
QTables = dict[int, list[int]] | None  # of the JPEG that a picture was in, if it was: how much values were rounded
Found = tuple[Image, str, dict[str, float]]  # a restored image; the line and the figures of `Restored`


class Restored(NamedTuple):
    """A restored picture."""

    pixels: np.ndarray  # of the type and shape of the picture
    found: str  # what was found and done, in a line
    figures: dict[str, float]  # of the ways that were compared, by name: their errors where damage was put once more


def restore(
    pixels: np.ndarray, damage: str = AUTO, known: Known | None = None, learn: str = NONE,
    qtables: QTables = None, opaque: np.ndarray | None = None, networks: Networks | None = None,
) -> Restored:  # fmt: skip
    """Looks what is wrong with a picture, unless `damage` says it, and restores it as `python -m utils.restore` does.

    Args:
        pixels: as stored, uint8 or uint16, (height, width) or (height, width, 3).
        learn: the noise with which a network first learns on the picture, a name in data.damage.DAMAGES, or none.
        opaque: (height, width), bool: what is seen; what is transparent stays as it is. None if all is opaque.
        networks: on a device; None stands for new ones where they are fastest.

    Raises:
        UserError, InvalidInput: the choices do not fit each other, the picture is too small or has no such noise.
    """
    check_choices(damage, known is not None, learn)
    networks = networks or Networks(pick_device("auto"))
    white = white_level(pixels)
    image = np.float32(pixels) / np.float32(white)
    if opaque is not None:
        image = extended(image, opaque)
    if learn != NONE:
        restored, found, figures = learned_on(image, learn, networks)
    elif known is not None:
        restored, found, figures = fill(image, known, networks)
    else:
        restored, found, figures = look(image, networks, damage, qtables, white)
    stored = np.rint(restored * white).astype(pixels.dtype)
    if opaque is not None:
        stored = np.where(opaque if pixels.ndim == 2 else opaque[..., None], stored, pixels)
    return Restored(stored, found, figures)


def check_choices(damage: str, masked: bool, learn: str) -> None:
    """Raises UserError if more than one of the damage, a mask and the noise to learn is given, or a name is unknown."""
    for name, value, table in (("damage", damage, {AUTO, *REMEDIES}), ("learn", learn, {NONE, *DAMAGES})):
        if value not in table:
            raise UserError(f"{name} is {value}; allowed: {', '.join(sorted(table))}")
    if masked and (damage, learn) != (AUTO, NONE):
        raise UserError("there is a mask; allowed: no damage or learn beside it")
    if damage != AUTO and learn != NONE:
        raise UserError(f"damage is {damage}; allowed: no learn beside it")


def look(image: Image, networks: Networks, name: str, qtables: QTables, white: int) -> Found:
    """Looks what is wrong with an image, unless a name in `REMEDIES` says it, and restores it in the best way."""
    said, trials = REMEDIES.get(name), replace(networks, stride=TRIAL, bars=False)
    levels = levels_of(image, said)
    levels, ways = examined(image, levels, trials, qtables) if said is None else (levels, said.ways)
    if ways == ("levels",) and is_drawn(image):
        ways = ("small",)
    parts, figures = best_mixture(image, levels, ways, trials, qtables)
    if not parts:
        return image, NOTHING, figures
    results = {way: WAYS[way][1](networks, levels, image) for way in parts}
    restored, (low, high) = sum(parts[way] * result for way, result in results.items()), (image.min(), image.max())
    if ((image == low) | (image == high)).all():  # it has two values alone: then it gets the nearer of these
        restored = np.where(restored < (low + high) / 2, low, high)
    share = float((np.abs(restored - image) > CHANGED).mean())
    if said is None and share < LEAST:
        return image, NOTHING, figures
    best = max(parts, key=parts.__getitem__)
    title = (said or remedy_for(best, levels)).title
    done = " and ".join(f"{WAYS[way][0]} ({way}, {part:.0%})" for way, part in parts.items())
    where = in_words(levels, white) if best in AT_LEVELS else ""
    return restored, f"{title}{where} on {share:.1%} of the pixels: {done}", figures


def examined(image: Image, levels: Levels, networks: Networks, qtables: QTables) -> tuple[Levels, tuple[str, ...]]:
    """What is wrong with an image: the levels of its specks, and the ways that may restore it, names in `WAYS`.

    Levels, see `levels_of`, are sure; what else there is shows on some pieces, see `pieces`.
    """
    exact = levels.dark is not None or levels.light is not None
    if is_drawn(image):
        return levels, ("levels",) if exact else ()
    looked_at = [image[place] for place in pieces(image)]
    seen, without = np.hstack(looked_at), np.hstack([where_changed(networks, levels, piece) for piece in looked_at])
    sure, strong, exactly = no_texture(without, seen), np.abs(without - seen) > STRONG, levels.candidates(seen)
    if sure.mean() <= SURE:
        return levels, ("levels",) if exact else ()
    if are_blocks(seen, sure & strong):
        return levels, ("blocks",)
    # A JPEG spreads levels: then less than half of the specks that have nearly a level have it.
    near_level = sure & strong & levels._replace(within=NEARLY).candidates(seen)
    exact = exact and (exactly[near_level].mean() > 0.5 if near_level.any() else True)
    specks = exactly if exact else strong
    widths, rounded = [piece.shape[1] for piece in looked_at], rounding(qtables)
    noise = noise_in(seen, specks, widths, qtables)
    if noise > GRAIN + rounded or (rounded > COARSE and noise > RINGS * rounded):
        return levels, ("grain", "levels") if exact else ("grain",)
    if exact:
        return levels, ("levels",)
    nearly = [sure & strong & (seen < NEARLY), sure & strong & (seen > 1 - NEARLY)]
    grey = seen.ndim == 2 or (seen == seen[..., :1]).all()  # of colours a JPEG keeps half as many
    if grey and sum(map(np.count_nonzero, nearly)) > MOST * np.count_nonzero(sure & strong):
        dark, light = (level if found.any() else None for level, found in zip((0.0, 1.0), nearly, strict=True))
        return Levels(dark, light, NEARLY), ("nearly",)
    return levels, REMEDIES["specks_of_any_value"].ways


def are_blocks(image: Image, damaged: np.ndarray) -> bool:
    """Whether what is damaged is black, and black pixels lie in squares of 3 x 3 and more, but in no large areas."""
    hit = black(image) == 0
    squares = binary_opening(hit, np.ones((3, 3) + (1,) * (image.ndim - 2)))
    return bool(damaged.any()) and hit[damaged].mean() > 0.5 and squares[hit].mean() > 0.5


def noise_in(seen: np.ndarray, specks: np.ndarray, widths: Sequence[int], qtables: QTables) -> float:
    """The deviation of the noise in pieces of these widths side by side: in the one that has least of it.

    In a JPEG it is that around the specks of all pieces together, where it rings.
    """
    if qtables is not None:
        return grain(seen, maximum_filter(specks, AROUND, axes=(0, 1)) & ~specks)
    pairs = zip(*(np.split(array, np.cumsum(widths)[:-1], axis=1) for array in (seen, ~specks)), strict=True)
    return min(grain(*pair) for pair in pairs)


def no_texture(restored: Image, image: Image) -> np.ndarray:
    """Where a pixel is changed by more than those around differ: a network changes texture as well, but by less."""
    mean, square = (uniform_filter(array, 7, axes=(0, 1)) for array in (restored, restored**2))
    around = np.sqrt(np.maximum(square - mean**2, 0)) + 0.02
    return np.abs(restored - image) > np.maximum(CHANGED, 3 * around)


def is_drawn(image: Image) -> bool:
    """Whether a picture is a page, a drawing or a screenshot.

    Then a third of the pixels equal the four around, also where there is ink: in the median square with several values.
    """
    plane = image if image.ndim == 2 else image[..., 0]
    same = np.logical_and.reduce([np.roll(plane, by, axis) == plane for axis in (0, 1) for by in (1, -1)])
    corners = product(*(range(0, length, 32) for length in same.shape))
    shares = [share for y, x in corners if (share := same[y : y + 32, x : x + 32].mean()) < 0.97]
    return bool(shares) and float(np.median(shares)) > FLAT


def in_words(levels: Levels, white: int) -> str:
    """The levels, in units of the stored value of white."""
    at = [f"{level * white:.0f}" for level in (levels.dark, levels.light) if level is not None]
    nearly = "" if levels.within == HALF_STEP else f" or up to {levels.within * white:.0f} from there"
    return f", level{'s' * (len(at) > 1)} {' and '.join(at)}{nearly},"


def best_mixture(
    image: Image, levels: Levels, names: tuple[str, ...], networks: Networks, qtables: QTables
) -> tuple[dict[str, float], dict[str, float]]:
    """The ways that the image itself says are best, with their shares, and the errors of all; see `compared`."""
    if len(names) < 2:
        return dict.fromkeys(names, 1.0), {}
    stored = (lambda again: again) if qtables is None else partial(as_jpeg, qtables=qtables)
    ways = {name: partial(WAYS[name][1], networks, levels) for name in names}
    products, figures = compared(image, ways, stored, qtables is not None or "grain" in names)
    if "grain" in names:  # what looks like it may be texture; if it is not, it is to be taken from all pixels
        return {"levels" if figures["levels"] * TEXTURE < figures["grain"] else "grain": 1.0}, figures
    one, other, of_other = best_pair(products)
    return {names[one]: 1 - of_other} | ({names[other]: of_other} if of_other else {}), figures


def remedy_for(way: str, levels: Levels) -> Remedy:
    """The remedy that a way belongs to: that for the polarities of the levels, if it goes by them."""
    if way in AT_LEVELS:
        alone = "white_specks" if levels.dark is None else "black_specks"
        return REMEDIES[alone if None in levels else "specks"]
    return next(remedy for remedy in REMEDIES.values() if way in remedy.ways)


def fill(image: Image, known: Known, networks: Networks) -> Found:
    """Restores what a mask marks: inpainting, mixed with the network where that is better."""

    def filled(name: str, image: Image, known: Known, stride: int) -> Image:
        return networks.restored(name, inpainted(image, known), MaskOfFile(known)(image), stride)

    candidates = {"inpainting": lambda image, known, stride: inpainted(image, known)}
    candidates |= {name: partial(filled, name) for name in ("positions", "missing_blocks")}
    mixture = mixed(image, known, candidates)
    share = "inpainting alone, too few pixels are known to compare it with a network"
    if mixture.errors:
        share = f"{1 - mixture.share:.0%} inpainting and {mixture.share:.0%} of the network {mixture.best}"
    restored = np.where(known if image.ndim == 2 else known[..., None], image, mixture.image)
    return restored, f"the mask marks {1 - known.mean():.1%} of the pixels: {share}", mixture.errors
