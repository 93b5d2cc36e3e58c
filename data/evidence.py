"""What a whole picture says of its pixels: its range, how often a value stands out, and how much stands out at all.

A disc of three bright pixels is a highlight or a speck, and what is around does not say which: the picture does. A
detector of defects gets this beside the values.
"""

from typing import NamedTuple, Self

import numpy as np

TILE, ACROSS = 160, 6  # looked at are 6 x 6 tiles of 160 x 160 pixels at most, spread over the picture
STANDS_OUT = (0.1, 0.3)  # from the median around, of the picture's range
LEAST = 64  # steps in a picture's range
SHARES = (0.5, 0.8, 0.95, 0.99, 0.997)  # quantiles of how far pixels are from the median around
PLANES, FIGURES = 9, 14  # of Evidence.planes and Evidence.figures


# Exchanges after which the fifth of nine values is their median (Smith 1996, Implementing median filters).
EXCHANGES = (
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3), (5, 8), (4, 7), (3, 6), (1, 4),
    (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip


def median_around(tiles: np.ndarray) -> np.ndarray:
    """The median of a pixel and the eight at a distance of two, which a defect of two pixels does not reach: (tiles,
    height, width, channels)."""
    padded = np.pad(tiles, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    height, width = tiles.shape[1:3]
    nine = [padded[:, i : i + height, j : j + width] for i in (0, 2, 4) for j in (0, 2, 4)]
    for low, high in EXCHANGES:
        nine[low], nine[high] = np.minimum(nine[low], nine[high]), np.maximum(nine[low], nine[high])
    return nine[4]


class Evidence(NamedTuple):
    """What a picture says as a whole."""

    low: float  # its range: what is damaged may lie beyond
    span: float
    values: np.ndarray  # that stand out somewhere, sorted
    often: np.ndarray  # (2, values): how often such a value stands out, and its share of all that stand out
    usual: float  # how often any value does
    figures: np.ndarray  # (FIGURES,), float32: how much stands out, how smooth and how coarse it is

    @classmethod
    def of(cls, pixels: np.ndarray) -> Self:
        """The evidence in pixels as they are stored, (height, width) or (height, width, 3)."""
        tops, lefts = (
            np.linspace(0, max(0, n - TILE), min(-(-n // TILE), ACROSS), dtype=int) for n in pixels.shape[:2]
        )
        tiles = np.stack([np.atleast_3d(pixels[i : i + TILE, j : j + TILE]) for i in tops for j in lefts])
        middle = median_around(tiles)
        low, high = np.quantile(middle[:, ::2, ::2], (0.005, 0.995))
        span = max(high - low, LEAST)
        away = (tiles.astype(np.float32) - middle) / np.float32(span)
        size = np.abs(away)
        values, counts = np.unique(tiles, return_counts=True)
        out = tiles[size > STANDS_OUT[0]]
        found, times = np.unique(out, return_counts=True)
        usual = len(out) / tiles.size
        among = counts[np.searchsorted(values, found)]
        often = np.stack([(times + 4 * usual) / (among + 4), np.sqrt(times / max(len(out), 1))])
        shares = [np.mean(sign * away > least) for least in STANDS_OUT for sign in (1, -1)]
        same = tiles[:, 1:, :-1] == tiles[:, 1:, 1:]
        alike = same & (tiles[:, 1:, :-1] == tiles[:, :-1, :-1])
        figures = [
            *np.log10(np.quantile(size[:, ::2, ::2], SHARES) + 1e-3), *np.log10(np.array(shares) + 1e-5) / 2,
            same.mean(), alike.mean(), np.log2(len(values)) / 8, float(pixels.ndim == 2), np.log10(span) / 2,
        ]  # fmt: skip
        return cls(float(low), float(span), found, often.astype(np.float32), usual, np.float32(figures))

    def planes(self, pixels: np.ndarray) -> np.ndarray:
        """(PLANES, height, width), float32: values in the picture's range, and how often they stand out, by channel."""
        pixels = np.moveaxis(np.atleast_3d(pixels), 2, 0)
        scaled = np.clip((pixels.astype(np.float32) - np.float32(self.low)) / np.float32(self.span), -1, 2)
        often = np.zeros((2, *pixels.shape), np.float32)
        if len(self.values):
            place = np.minimum(np.searchsorted(self.values, pixels), len(self.values) - 1)
            often = np.where(self.values[place] == pixels, self.often[:, place], 0)
        planes = np.stack([scaled, *often])
        return np.ascontiguousarray(
            np.broadcast_to(planes, (3, 3, *pixels.shape[1:])).reshape(PLANES, *pixels.shape[1:])
        )
