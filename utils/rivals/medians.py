"""Median filters of the literature that look for the corrupted pixels first, one for each kind of impulses."""

import numpy as np
from scipy.ndimage import median_filter

from data.masks import FindMask, extremes

LARGEST = 7  # pixels; side of the largest square that good pixels are looked for in
# Adaptive centre-weighted median: tolerances of the four differences, in units of [0, 1].
TOLERANCES = np.array([40, 25, 10, 5]) / 255


def median(size: int, noisy: np.ndarray) -> np.ndarray:
    """The median of the size x size square around each pixel."""
    return median_filter(noisy, size=size, axes=(0, 1))


def switching_median(noisy: np.ndarray, find_mask: FindMask = extremes) -> np.ndarray:
    """Where the image is corrupted, by default black or white: the median of the good pixels around.

    They are looked for in a square of 3 x 3 pixels, which grows until there is one, to 7 x 7 at most. Where there is
    none, the pixels that were replaced before count as good.

    As the noise adaptive fuzzy switching median of Toh & Isa (IEEE Signal Processing Letters 17, 2010), but for its
    fuzzy weights, which keep a share of a pixel that hardly differs from those around, and for what it does where the
    largest square has no good pixel.
    """
    planes = noisy[..., None] if noisy.ndim == 2 else noisy
    good = find_mask(noisy).reshape(planes.shape) == 1
    restored = planes.copy()
    for channel in range(planes.shape[-1]):
        known = good[..., channel]
        while known.any() and not known.all():
            known = _fill(restored[..., channel], known)
    return restored.reshape(noisy.shape)


def _fill(plane: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Replaces pixels of a plane (height, width) by the median of the known ones around, in place; those now known."""
    border = LARGEST // 2
    values = np.pad(np.where(known, plane, np.nan), border, mode="symmetric")
    squares = np.lib.stride_tricks.sliding_window_view(values, (LARGEST, LARGEST))[~known]
    found = np.full(len(squares), np.nan)
    for inset in range(border - 1, -1, -1):
        left = np.flatnonzero(np.isnan(found))
        around = squares[left, inset : LARGEST - inset, inset : LARGEST - inset].reshape(-1, (LARGEST - 2 * inset) ** 2)
        some = ~np.isnan(around).all(axis=1)
        found[left[some]] = np.nanmedian(around[some], axis=1)
    plane[~known] = np.where(np.isnan(found), plane[~known], found)
    now = known.copy()
    now[~known] = ~np.isnan(found)
    return now


def centre_weighted_median(scale: float, noisy: np.ndarray) -> np.ndarray:
    """The 3 x 3 median where `is_impulse` finds an impulse, in two passes; see `impulses`."""
    restored, _ = impulses(scale, noisy)
    return restored


def impulse_mask(scale: float, noisy: np.ndarray) -> np.ndarray:
    """The mask of the pixels that `centre_weighted_median` takes for good, as data.masks gives it."""
    _, found = impulses(scale, noisy)
    return np.float32(~found)


def impulses(scale: float, noisy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image with medians in place of impulses, and where they were found.

    A second pass finds those that were hidden beside others: chosen on the validation images, where a third one is
    worse.
    """
    restored, all_found = noisy, np.zeros(noisy.shape, dtype=bool)
    for _ in range(2):
        found = is_impulse(scale, restored)
        restored = np.where(found, median(3, restored), restored)
        all_found |= found
    return restored, all_found


def is_impulse(scale: float, noisy: np.ndarray) -> np.ndarray:
    """Where a pixel of any grey value stands out, by the adaptive centre-weighted median.

    With Y_w the median of the 3 x 3 pixels around x, in which x itself is counted w times, and s times the median
    absolute deviation from Y_1, x is an impulse if |Y_{2k+1} − x| > s MAD + δ_k for a k = 0 … 3 (Chen & Wu, Adaptive
    impulse detection using center-weighted median filters, IEEE Signal Processing Letters 8, 2001).

    Args:
        scale: s.
        noisy: (height, width), values in [0, 1].
    """
    around = np.lib.stride_tricks.sliding_window_view(np.pad(noisy, 1, mode="symmetric"), (3, 3))
    around = around.reshape(*noisy.shape, 9)
    centre = noisy[..., None]
    deviation = np.median(np.abs(around - np.median(around, axis=-1, keepdims=True)), axis=-1)
    found = np.zeros(noisy.shape, dtype=bool)
    for k, tolerance in enumerate(TOLERANCES):
        weighted = np.median(np.concatenate([around, *[centre] * 2 * k], axis=-1), axis=-1)
        found |= np.abs(weighted - noisy) > scale * deviation + tolerance
    return found
