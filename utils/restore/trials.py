"""The picture checks its own restoration: it is damaged once more like it is damaged, restored, and compared.

No clean picture takes part. What restores the pixels that were hidden on purpose best is taken for the others.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, median_filter

from data.images import Image

Way = Callable[[Image], Image]  # a way to restore an image
Known = np.ndarray  # bool, (height, width): what no mask marks
Filling = Callable[[Image, Known, int], Image]  # a way to restore what is not known, at a stride
COPIES, TRIAL = 4, 8  # of the damage, and the stride at which they are restored: together as long as the damage itself
APART = 16  # pixels between the damage and its copy, besides its width
FAR = 5  # times as far from a known pixel as in the damage: a copy that takes a pixel farther is no longer like it
LITTLE = 0.1  # of the pixels that scattered damage hides when it is moved: a copy that hides fewer shows nothing
HALF = 0.5  # share of the known pixels that are hidden where no copy is of use
SEED = 1126  # of all draws
REACH = 16  # pixels; standard deviation of the Gaussian in which a mixture is chosen
PRIOR = 0.3  # weight of the whole picture in that choice, relative to its mean
SIDE, TILES = 128, 4  # pixels and number of the pieces on which candidates for specks are compared
MOVE = (37, 53)  # of the specks of a piece, to where they are put once more
CHANGED = 0.05  # a pixel that is changed by more was taken for a speck
WORTH = 0.1  # of the mean square error, that a pair of candidates has to save
STANDS_OUT = 0.1  # from the median of 3 x 3


class Mixture(NamedTuple):
    """What was restored, and how."""

    image: Image
    errors: dict[str, float]  # of each candidate, root mean square over the pixels that were hidden
    best: str  # of the candidates but the first; empty if nothing could be compared
    share: float  # of it in the mixture with the first, mean over the damage


def copies(damaged: np.ndarray) -> list[np.ndarray]:
    """The damage once more, each copy moved to where it overlaps the damage little, without what overlaps.

    A copy beside the damage hides pixels like those that the damage hides, in the same shape. Stripes lie on themselves
    when they are moved, or hide all that is known, as a grid and a hole that is wider than what is left do too. Then
    random halves of the known pixels are hidden instead; there is none of them if that hides nothing or leaves none.
    """
    known, deepest = ~damaged, distance_transform_edt(damaged).max()
    step, least = APART + round(2 * deepest), LITTLE * damaged.mean() * np.count_nonzero(known)
    moves = [(step, 0), (0, step), (step, step), (step, -step), (-step, 0), (0, -step), (-step, -step), (-step, step)]
    moved = [np.roll(damaged, move, (0, 1)) & known for move in moves]

    def is_like_damage(copy: np.ndarray) -> bool:
        left = known & ~copy
        return np.count_nonzero(copy) > least and left.any() and distance_transform_edt(~left).max() <= FAR * deepest

    found = list(islice(filter(is_like_damage, sorted(moved, key=np.count_nonzero, reverse=True)), COPIES))
    if found:
        return found
    draw = np.random.default_rng(SEED)
    halves = [known & (draw.random(known.shape) < HALF) for _ in range(COPIES)]
    return [half for half in halves if half.any() and (known & ~half).any()]


def mixed(image: Image, known: Known, candidates: Mapping[str, Filling]) -> Mixture:
    """The first candidate, mixed with the one that is best on copies of the damage, by region.

    Where h is a copy, x the image, u the first candidate and v the other, the share of v is the a in [0, 1] with the
    least sum of h (u + a (v − u) − x)² over all copies, weighted by a Gaussian around every pixel. If so few pixels are
    known that nothing can be compared, it is the first candidate alone, without errors.
    """
    first, *others = candidates
    restored, hidden = candidates[first](image, known, 0), copies(~known)
    if not hidden:
        return Mixture(restored, {}, "", 0.0)
    trials = [{name: fill(image, known & ~h, TRIAL) for name, fill in candidates.items()} for h in hidden]
    errors = {}
    for name in candidates:
        wrong = [(trial[name] - image)[h].ravel() for trial, h in zip(trials, hidden, strict=True)]
        errors[name] = math.sqrt(np.mean(np.square(np.concatenate(wrong))))
    best = min(others, key=errors.__getitem__)
    fits, squares = np.zeros((2, *known.shape))
    for trial, h in zip(trials, hidden, strict=True):
        change, missing = ((array - trial[first]).reshape(*h.shape, -1) for array in (trial[best], image))
        fits += (missing * change).sum(axis=2) * h
        squares += (change * change).sum(axis=2) * h
    whole, prior = np.clip(fits.sum() / max(squares.sum(), 1e-12), 0, 1), PRIOR * squares.mean() + 1e-12
    near, all_near = (gaussian_filter(array, REACH) for array in (fits, squares))
    share = np.clip((near + prior * whole) / (all_near + prior), 0, 1).astype(np.float32)
    weight = share if image.ndim == 2 else share[..., None]
    mixture = restored + weight * (candidates[best](image, known, 0) - restored)
    return Mixture(mixture, errors, best, float(share[~known].mean()))


def compared(
    image: Image, candidates: Mapping[str, Way], stored: Way, hidden_alone: bool = False
) -> tuple[np.ndarray, dict[str, float]]:
    """Tries candidates on pieces of the image, with its specks at other places.

    Specks are what most candidates take for them. They are filled with the mean of what the candidates put there, and
    put elsewhere: so there are as many as before. It counts what a candidate makes of the pixels where specks were put;
    that it leaves alone what none takes for a speck; and by half that it leaves alone what only some do: real specks
    that a candidate misses it misses elsewhere too, ink that another takes away is nowhere else. With `hidden_alone`
    nothing counts but where specks were put, as for a JPEG, of which no other value is sure; `stored` stores the image
    once more, as in a JPEG. Returns the mean products of all candidates' errors, in their order, and root mean squares.
    """
    products, count = np.zeros((len(candidates), len(candidates))), 0
    for rows, columns in pieces(image):
        piece = image[rows, columns]
        restored = [way(piece) for way in candidates.values()]
        found = [np.abs(other - piece) > CHANGED for other in restored]
        votes = np.sum(found, axis=0)
        specks = 2 * votes > len(found)
        filled = np.where(specks, np.mean(restored, axis=0), piece)
        put = np.roll(specks, MOVE, (0, 1)) & ~specks
        again = stored(np.where(put, np.roll(piece, MOVE, (0, 1)), filled).astype(np.float32))
        elsewhere = 0.0 if hidden_alone else np.where(votes == 0, 1.0, 0.5 * (~specks & (votes < len(found))))
        weight = np.where(put, 1.0, elsewhere)
        errors = [(np.sqrt(weight) * (way(again) - piece)).ravel() for way in candidates.values()]
        products += np.stack(errors) @ np.stack(errors).T
        count += piece.size
    products /= max(count, 1)
    return products, dict(zip(candidates, np.sqrt(np.diag(products)).tolist(), strict=True))


def best_pair(products: np.ndarray) -> tuple[int, int, float]:
    """Two candidates i and j, and the share a of j, for which (1 − a) i + a j has the least error.

    One candidate alone, i = j, is taken if no pair has `WORTH` of its mean square error less: it takes half as long.
    `compared` gives the products of the errors.
    """
    own = np.diag(products)[:, None]
    apart = own + own.T - 2 * products
    shares = np.clip((own - products) / np.maximum(apart, 1e-12), 0, 1)
    errors = (1 - shares) ** 2 * own + shares**2 * own.T + 2 * shares * (1 - shares) * products
    i, j = np.unravel_index(np.argmin(np.where(np.tri(len(own)), np.inf, errors)), errors.shape)
    alone = int(np.argmin(own))
    return (int(i), int(j), float(shares[i, j])) if errors[i, j] < (1 - WORTH) * own.min() else (alone, alone, 0.0)


def pieces(image: Image) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of some pieces: two with the most pixels that stand out, and two with a usual number."""
    height, width = image.shape[:2]
    if height * width <= TILES * SIDE**2:
        yield slice(0, height), slice(0, width)
        return
    tops, lefts = (np.linspace(0, max(0, n - SIDE), min(max(1, n // SIDE), 16)).astype(int) for n in (height, width))
    places = [(slice(top, top + SIDE), slice(left, left + SIDE)) for top in tops for left in lefts]

    def standing_out(place: tuple[slice, slice]) -> float:
        piece = image[place]
        return float((np.abs(piece - median_filter(piece, 3, axes=(0, 1))) > STANDS_OUT).mean())

    ranked = sorted(places, key=standing_out, reverse=True)
    yield from (ranked[i] for i in sorted({0, 1, len(ranked) // 3, 2 * len(ranked) // 3})[:TILES])
