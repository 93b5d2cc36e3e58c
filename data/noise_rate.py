"""The rate of the impulses in an image, and the deviation of Gaussian noise, estimated from the noisy image alone."""

from contextlib import suppress
from itertools import product

import numpy as np
from scipy.ndimage import median_filter
from scipy.stats import norm

from data.errors import InvalidInput

LEAST = 0.002  # noise rate: clean photographs have a few black and white pixels as well
STANDS_OUT = 0.3  # of the range of values, from the median around: textures rarely do


def impulse_rate(noisy: np.ndarray) -> float:
    """The share of pixels hit by impulses of any grey value, uniform in [0, 1].

    An impulse stands out from the median m of the 5 x 5 pixels around it, by more than d, unless its value is within
    m ± d. So the pixels that stand out are counted, and divided by the mean probability that an impulse does.

    Args:
        noisy: values in [0, 1], (height, width) or (height, width, channels).

    Returns:
        0 to 1.
    """
    median = median_filter(noisy, 5, axes=(0, 1))
    hidden = np.minimum(median + STANDS_OUT, 1) - np.maximum(median - STANDS_OUT, 0)
    return min(1.0, float((np.abs(noisy - median) > STANDS_OUT).mean() / (1 - hidden).mean()))


def noise_rate(noisy: np.ndarray, trusted: np.ndarray | None) -> float:
    """The share p of corrupted pixels: those that are not trusted, or `impulse_rate` where trust is not known.

    Args:
        noisy: values in [0, 1].
        trusted: 1 where a value is trusted, 0 elsewhere; None if that is not known.

    Raises:
        InvalidInput: there is hardly any noise, or nothing else.
    """
    p = impulse_rate(noisy) if trusted is None else 1 - float(trusted.mean())
    if not LEAST <= p < 1:
        raise InvalidInput(f"the noise rate is {p:.2g}, estimated from the image; allowed: {LEAST} to 1")
    return p


def second_rate(p: float, trust: bool) -> float:
    """The rate r of a second corruption of an image that is corrupted at the rate p.

    If the trusted values are known, r = p: as much noise as there is to remove. If not, each pixel of the twice
    corrupted image that is hit has an uncorrupted target with a share of r(1 − p) / (p + r(1 − p)). The ℓ1 norm's
    minimiser is a median, so this has to be above one half, that is r > p / (1 − p); r is half as high again.

    Args:
        p: between 0 and 1.
        trust: whether the trusted values are known.

    Raises:
        InvalidInput: p is too high.
    """
    r = p if trust else 1.5 * p / (1 - p)
    if r >= 1:
        raise InvalidInput(f"the noise rate is {p:.2g}, estimated from the image; allowed for such noise: below 0.4")
    return r


def gaussian_deviation(noisy: np.ndarray, trusted: np.ndarray) -> float:
    """The standard deviation of Gaussian noise on the trusted pixels.

    It is the median of |a − b − c + d| / 2 over all squares of 2 x 2 trusted pixels, relative to that of a standard
    normal variable: a robust estimate from the finest wavelet coefficients (Donoho & Johnstone 1994, section 4.2).

    Args:
        noisy: values in [0, 1], (height, width) or (height, width, channels).
        trusted: 1 where there is no impulse, 0 elsewhere.

    Raises:
        InvalidInput: no square of 2 x 2 pixels is trusted.
    """
    (a, b, c, d), known = _corners(noisy), np.minimum.reduce(_corners(trusted)) == 1
    if not known.any():
        raise InvalidInput("no square of 2 x 2 pixels is free of impulses; allowed: an image of less noise")
    return float(np.median(np.abs(a - b - c + d)[known]) / 2 / norm.ppf(0.75))


def _corners(image: np.ndarray) -> list[np.ndarray]:
    """The four pixels of every square of 2 x 2."""
    return [image[top : len(image) - 1 + top, left : image.shape[1] - 1 + left] for top in (0, 1) for left in (0, 1)]


def grain(image: np.ndarray, trusted: np.ndarray, side: int = 32) -> float:
    """The standard deviation of noise in the smoothest squares of an image: a tenth of them have less.

    Args:
        image: values in [0, 1], (height, width) or (height, width, channels), whose first channel is taken.
        trusted: of its shape, 1 where there is no impulse, 0 elsewhere.
        side: of a square, in pixels.
    """
    planes = (image, trusted) if image.ndim == 2 else (image[..., 0], trusted[..., 0])
    deviations = []
    for top, left in product(*(range(0, length - 1, side) for length in planes[0].shape)):
        with suppress(InvalidInput):  # of a square where nothing is trusted
            deviations.append(gaussian_deviation(*(plane[top : top + side, left : left + side] for plane in planes)))
    return float(np.quantile(deviations, 0.1)) if deviations else 0.0
