"""Median filters. Those of the literature look for the corrupted pixels first: the adaptive switching one for
black and white impulses, the adaptive centre-weighted one for impulses of any value."""

from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import median_filter

from data.images import Image
from data.masks import FindMask, extremes
from utils.studies.rivals import Method

FAMILY = "filter"
SCALES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # from which the validation images choose
TOLERANCES = np.array([40, 25, 10, 5]) / 255  # δ of the four differences, see `is_impulse`, in units of [0, 1]


def switching_median(noisy: Image, find_mask: FindMask = extremes) -> Image:
    """Where the image is corrupted, by default black or white: the median of the good pixels around.

    They are looked for in a square of 3 x 3 pixels, which grows until there is one, to 7 x 7 at most. Where there is
    none, the pixels that were replaced before count as good.

    As the noise adaptive fuzzy switching median of Toh & Isa (IEEE Signal Processing Letters 17, 2010), but for its
    fuzzy weights, which keep a share of a pixel that hardly differs from those around, and for larger holes.
    """
    restored = np.where(find_mask(noisy) == 1, noisy, np.nan)
    while np.isnan(restored).any() and not np.isnan(restored).all():
        good = restored.copy()
        for side in (3, 5, 7):
            missing = np.isnan(restored)
            squares = _squares(good, side, missing)
            some = ~np.isnan(squares).all(axis=1)
            missing[missing] = some
            restored[missing] = np.nanmedian(squares[some], axis=1)
    return np.where(np.isnan(restored), noisy, restored)


def impulses(scale: float, noisy: Image) -> tuple[Image, np.ndarray]:
    """The image with the 3 x 3 median where `is_impulse` finds an impulse, and where it does. A second pass finds those
    that were hidden beside others: chosen on the validation images, where a third one is worse."""
    restored, corrupted = noisy, np.zeros(noisy.shape, dtype=bool)
    for _ in range(2):
        stands_out = is_impulse(scale, restored)
        restored = np.where(stands_out, median_filter(restored, 3), restored)
        corrupted |= stands_out
    return restored, corrupted


def is_impulse(scale: float, noisy: Image) -> np.ndarray:
    """Where a pixel of any grey value stands out, by the adaptive centre-weighted median.

    With Y_w the median of the 3 x 3 pixels around x, in which x itself is counted w times, MAD the median absolute
    deviation from Y_1, and s the scale, x is an impulse if |Y_{2k+1} − x| > s MAD + δ_k for a k = 0 … 3 (Chen & Wu,
    Adaptive impulse detection using center-weighted median filters, IEEE Signal Processing Letters 8, 2001). Of the
    nine pixels in order, Y_{2k+1} is the one closest to x from the k-th before the middle one to the k-th after it.
    """
    around = np.sort(_squares(noisy, 3, np.ones(noisy.shape, dtype=bool)).reshape(*noisy.shape, 9), axis=-1)
    deviation = np.median(np.abs(around - around[..., 4:5]), axis=-1)
    weighted = [noisy.clip(around[..., 4 - k], around[..., 4 + k]) for k in range(len(TOLERANCES))]
    limits = [scale * deviation + tolerance for tolerance in TOLERANCES]
    return (np.abs(np.array(weighted) - noisy) > np.array(limits)).any(axis=0)


def _squares(plane: np.ndarray, side: int, where: np.ndarray) -> np.ndarray:
    """The pixels of the square around each pixel of a mask: (how many, side²)."""
    windows = sliding_window_view(np.pad(plane, side // 2, mode="symmetric"), (side, side))
    return windows[where].reshape(-1, side * side)


METHODS = (
    Method("noisy", "noisy", lambda noisy: noisy),
    Method("median_3", "3 x 3 median", partial(median_filter, size=3)),
    Method("median_5", "5 x 5 median", partial(median_filter, size=5)),
    Method(
        "switching_median", "adaptive switching median", switching_median, positions="yes", readme="adaptive median",
        damages=("salt_and_pepper", "missing_blocks", "gaussian_and_impulses"),
    ),
    Method(
        "centre_weighted_median", "adaptive centre-weighted median", lambda scale, noisy: impulses(scale, noisy)[0],
        SCALES, damages=("random_valued",), readme="adaptive median",
    ),
)  # fmt: skip
