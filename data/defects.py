"""Defects of photographs: where they lie, and what is there. Networks for photographs learn from them.

A new shape is a function in `SHAPES`, a new appearance one in `LOOKS`. Kinds are drawn at random, with all their sizes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image as PillowImage
from PIL import ImageDraw
from scipy.ndimage import distance_transform_edt, gaussian_filter

from data.images import Image
from data.variety import as_jpeg

Shape = tuple[int, int]  # height, width


class Defects(NamedTuple):
    """Where an image has defects: how much of a pixel, 0 to 1, and the number of the nearest."""

    cover: np.ndarray  # (height, width), float32
    number: np.ndarray  # (height, width), int


def grown(seeds: np.ndarray, radius: np.ndarray, softness: float) -> Defects:
    """Defects around seeds, pixels with a number above 0: each as thick as the radius of its number, with soft rims."""
    if not seeds.any():
        return Defects(np.zeros(seeds.shape, np.float32), seeds)
    distance, (rows, columns) = distance_transform_edt(seeds == 0, return_indices=True)
    number = seeds[rows, columns]
    cover = np.clip((radius[number] - distance) / max(softness, 1e-3) + 0.5, 0, 1)
    return Defects(cover.astype(np.float32), number)


def points(shape: Shape, count: float, draw: Generator) -> np.ndarray:
    """Seeds at random places: so many of them, in the mean."""
    hit = draw.random(shape) < min(count / (shape[0] * shape[1]), 1)
    return hit * np.cumsum(hit).reshape(shape)


def pixels(shape: Shape, rate: float, draw: Generator) -> Defects:
    """Single pixels."""
    hit = draw.random(shape) < rate
    return Defects(np.float32(hit), np.arange(1, hit.size + 1).reshape(shape))


def clusters(shape: Shape, rate: float, draw: Generator) -> Defects:
    """Squares of 2 to 4 pixels, anywhere."""
    side = int(draw.integers(2, 5))
    seeds = points(shape, rate * shape[0] * shape[1] / side**2, draw)
    for axis in (0, 1):
        parts = [np.roll(seeds, by, axis) for by in range(side)]
        seeds = np.maximum.reduce(parts)
    return Defects(np.float32(seeds > 0), seeds)


def discs(shape: Shape, rate: float, draw: Generator) -> Defects:
    """Discs of radius 0.7 to 8 pixels, hard or soft."""
    low = draw.uniform(0.7, 3)
    high = low * draw.uniform(1, 3)
    seeds = points(shape, rate * shape[0] * shape[1] / (np.pi * ((low + high) / 2) ** 2), draw)
    return grown(seeds, draw.uniform(low, high, seeds.max() + 1) - 0.5, draw.uniform(0.1, 1.5))


def strokes(shape: Shape, rate: float, draw: Generator) -> Defects:
    """Scratches, hairs and strokes of a pen: broken lines, 1 to 12 pixels wide."""
    width, canvas = float(np.exp(draw.uniform(0, np.log(12)))), PillowImage.new("I", shape[::-1])
    pen, length = ImageDraw.Draw(canvas), float(np.exp(draw.uniform(np.log(20), np.log(max(shape)))))
    for number in range(1, 2 + int(rate * shape[0] * shape[1] / (width * length))):
        angle, bend = draw.uniform(0, 2 * np.pi), draw.normal(0, draw.choice([0, 0.15, 0.4]), 12)
        steps = np.cumsum(np.exp(1j * (angle + np.cumsum(bend)))) * length / 12
        place = complex(*draw.uniform(0, shape[::-1])) + np.concatenate([[0], steps]) - steps[-1] / 2
        pen.line(np.stack([place.real, place.imag], axis=1).ravel().tolist(), fill=number)
    seeds = np.asarray(canvas).astype(int)
    return grown(seeds, np.full(seeds.max() + 1, (width - 1) / 2), draw.uniform(0.1, 1.5))


def tails(shape: Shape, rate: float, draw: Generator) -> Defects:
    """Pieces of rows, 4 to 60 pixels long, on all rows or on every other one, which fade or not."""
    length, fading = int(draw.integers(4, 61)), bool(draw.integers(2))
    starts = points(shape, rate * shape[0] * shape[1] / length, draw)
    starts[:: int(draw.integers(1, 3))] *= 1 if draw.integers(2) else 0
    number, cover = np.zeros(shape, int), np.zeros(shape, np.float32)
    lengths = draw.integers(max(length // 2, 2), length + 1, starts.max() + 1)
    for y, x in np.argwhere(starts):
        end = min(x + int(lengths[starts[y, x]]), shape[1])
        number[y, x:end] = starts[y, x]
        cover[y, x:end] = np.linspace(1, 0.3, end - x) if fading else 1
    return Defects(cover, number)


def lines(shape: Shape, rate: float, draw: Generator) -> Defects:
    """Dead rows or columns, whole or in part."""
    axis = int(draw.integers(2))
    hit = np.flatnonzero(draw.random(shape[axis]) < min(rate, 0.2))
    number = np.zeros(shape[::-1] if axis else shape, int)
    for line in hit[:200]:
        ends = np.sort(draw.integers(0, number.shape[1], 2)) if draw.random() < 0.3 else (0, number.shape[1])
        number[line, ends[0] : ends[1]] = line + 1
    number = number.T if axis else number
    return Defects(np.float32(number > 0), number)


def blocks(shape: Shape, rate: float, draw: Generator) -> Defects:
    """Squares of 4 to 16 pixels, on a grid at a random place."""
    side = int(draw.choice([4, 4, 5, 6, 8, 12, 16]))
    top, left = draw.integers(side, size=2)
    size = [length // side + 2 for length in shape]
    hit = (draw.random(size) < rate) * np.arange(1, size[0] * size[1] + 1).reshape(size)
    number = np.kron(hit, np.ones((side, side), int))[top : top + shape[0], left : left + shape[1]]
    return Defects(np.float32(number > 0), number)


def holes(shape: Shape, rate: float, draw: Generator) -> Defects:
    """Blobs of any outline, all of one number, with some single pixels beside."""
    noise = gaussian_filter(draw.normal(size=shape), draw.uniform(1.5, 8), mode="wrap")
    cover = noise > np.quantile(noise, 1 - rate * draw.uniform(0.5, 1))
    cover |= draw.random(shape) < rate * draw.uniform(0, 0.3)
    return Defects(np.float32(cover), np.int64(cover))


SHAPES: dict[str, Callable[[Shape, float, Generator], Defects]] = {
    "pixels": pixels, "clusters": clusters, "discs": discs, "strokes": strokes, "tails": tails, "lines": lines,
    "blocks": blocks, "holes": holes,
}  # fmt: skip
DENSEST = {"pixels": 0.6, "clusters": 0.4, "discs": 0.15, "strokes": 0.15, "tails": 0.1, "lines": 0.1, "blocks": 0.3}
HOLES = 0.2  # the densest of them
SPREAD = 0.45  # of a change counts where a JPEG or another scale has spread it: it is small far from the defect
OFTEN = (0.37, *[0.09] * 7)  # how often a shape of `SHAPES` is drawn


def random_rate(low: float, high: float, draw: Generator) -> float:
    """A rate whose fourth root is uniform: from single defects to the densest, none of them rare."""
    return float(draw.uniform(low**0.25, high**0.25) ** 4)


def hidden(image: Image, draw: Generator) -> np.ndarray:
    """Pixels to hide, bool, (height, width), of one kind of shape; half of the draws are single ones."""
    name = (
        "pixels"
        if draw.random() < 0.5
        else str(draw.choice(["clusters", "discs", "strokes", "lines", "blocks", "holes"]))
    )
    rate = random_rate(0.005, DENSEST.get(name, HOLES), draw)
    if name == "pixels":
        rate = draw.uniform(0.1, 0.8) ** 2
    return SHAPES[name](image.shape[:2], rate, draw).cover > 0.02


class Damaged(NamedTuple):
    """A picture as stored, with defects or none, and what is wrong with every sample."""

    pixels: np.ndarray  # uint8 or uint16, (height, width) or (height, width, 3)
    error: np.ndarray  # by how much a defect changed a sample, of the picture's range, of the same shape
    noise: np.ndarray  # by how much anything else did: grain, a JPEG


def levels(clean: np.ndarray, low: float, white: float, draw: Generator) -> np.ndarray:
    """The values of dark and light defects: black and white, the ends of the range, or anything near them."""
    top = clean.max() if draw.integers(2) else white
    ends = np.array([low * draw.integers(2), top], float)
    inside = draw.uniform(0, 0.15, 2) * (draw.random(2) < 0.35) * (top - ends[0])
    return ends + [1, -1] * inside


def appearance(clean: np.ndarray, defects: Defects, draw: Generator) -> np.ndarray:
    """The values of defects on a clean picture, of its shape, in its unit: a level or two, any, or an offset."""
    layers, number = np.atleast_3d(clean).astype(float), defects.number
    count, channels = int(number.max()) + 1, np.atleast_3d(clean).shape[2]
    white = (
        255.0 if clean.dtype == np.uint8 else float(draw.choice([65_535, 2 ** np.ceil(np.log2(clean.max() + 2)) - 1]))
    )
    low, high = np.quantile(clean, (0.01, 0.99))
    kind = str(draw.choice(["two", "two", "dark", "light", "any", "any", "offset", "one"]))
    if kind in ("two", "dark", "light"):
        both = levels(clean, low, white, draw)
        chance = {"two": draw.choice([0.5, draw.random()]), "dark": 0.0, "light": 1.0}[kind]
        values = both[(draw.random(count) < chance).astype(int)][:, None]
    elif kind == "offset":
        values = (
            draw.uniform(0.15, 0.7)
            * (high - low)
            * draw.choice([[-1, 1], [1, 1], [-1, -1]])[draw.integers(2, size=count)]
        )
        return np.clip(layers + values[:, None][number], 0, white).reshape(clean.shape)
    else:
        ends = (0, white) if clean.dtype == np.uint8 else (low - (high - low) / 2, high + (high - low) / 2)
        values = draw.uniform(*ends, (count, channels if draw.integers(2) else 1))
        values = values[:1].repeat(count, 0) if kind == "one" else values
    return np.clip(np.broadcast_to(values[number], layers.shape), 0, white).reshape(clean.shape)


def spoilt(clean: np.ndarray, draw: Generator) -> np.ndarray:
    """Clean pixels with defects of one shape or two, as real numbers in their unit."""
    pixels = np.atleast_3d(clean).astype(float)
    for name in draw.choice(list(SHAPES), 1 + (draw.random() < 0.15), p=OFTEN):
        rate = random_rate(2e-4, DENSEST.get(name, HOLES), draw)
        rate = draw.uniform(0.05, 0.78) ** 2 if name == "pixels" and draw.integers(2) else rate
        by_channel = name == "pixels" and draw.random() < 0.3
        for channel in range(pixels.shape[2]) if by_channel else [slice(None)]:
            defects = SHAPES[name](clean.shape[:2], rate, draw)
            seen = pixels[..., channel].reshape(*clean.shape[:2], -1)
            values = appearance(seen.astype(clean.dtype), defects, draw)
            pixels[..., channel] = (seen + defects.cover[..., None] * (values - seen)).reshape(
                pixels[..., channel].shape
            )
    return pixels.reshape(clean.shape)


def damaged(clean: np.ndarray, without_grain: np.ndarray, draw: Generator) -> Damaged:
    """A clean picture, and in two of three draws its damage: defects, and after them a JPEG or a larger scale."""
    low, high = np.quantile(clean, (0.005, 0.995))
    span, white, bits = max(high - low, 64), np.iinfo(clean.dtype).max, clean.dtype
    pictures, exact = [clean, clean, without_grain], 1.0
    if draw.random() < 0.65:
        base = clean + draw.normal(0, draw.uniform(0.02, 0.06) * span, clean.shape) * (draw.random() < 0.12)
        base = np.rint(np.clip(base, 0, white)).astype(bits)
        pictures = [np.rint(spoilt(base, draw)).astype(bits), base, without_grain]
        then = draw.random() if bits == np.uint8 else 1
        exact = SPREAD if then < 0.25 else 1.0
        if then < 0.05:
            side, filter = int(draw.integers(len(clean) // 2, len(clean))), int(draw.integers(1, 6))
            pictures = [
                np.asarray(PillowImage.fromarray(p[:side, :side]).resize(p.shape[1::-1], filter)) for p in pictures
            ]
        elif then < 0.25:
            quality = int(draw.integers(50, 99))
            pictures[:2] = [as_jpeg(picture, quality) for picture in pictures[:2]]
    pixels, base, ideal = (picture.astype(np.float32) for picture in pictures)
    return Damaged(
        pictures[0], np.abs(pixels - base) * np.float32(exact / span), np.abs(base - ideal) / np.float32(span)
    )
