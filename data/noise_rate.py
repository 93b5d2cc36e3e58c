"""The rate of the noise in an image, estimated from the noisy image alone."""

import numpy as np
from scipy.ndimage import median_filter

from data.errors import InvalidInput

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


def second_rate(noisy: np.ndarray, trusted: np.ndarray | None) -> float:
    """The rate r of a second corruption of a noisy image, from its own rate p, which is estimated.

    If the trusted values are known, p is the share of the others, and r = p: as much noise as there is to remove. If
    not, each pixel of the twice corrupted image that is hit has an uncorrupted target with a share of
    r(1 − p) / (p + r(1 − p)). The ℓ1 norm's minimiser is a median, so this has to be above one half, that is
    r > p / (1 − p); r is half as high again.

    Args:
        noisy: the image, values in [0, 1].
        trusted: 1 where a value is trusted, 0 elsewhere; None if nothing is known of them.

    Raises:
        InvalidInput: the image has no noise, or too much.
    """
    p = impulse_rate(noisy) if trusted is None else 1 - float(trusted.mean())
    r = 1.5 * p / (1 - p) if trusted is None and p < 1 else p
    if not 0 < r < 1:
        allowed = "0 and 0.4" if trusted is None else "0 and 1"
        raise InvalidInput(
            f"the estimated noise rate is {p:.2g}, for self_supervised training; allowed: between {allowed}"
        )
    return r
