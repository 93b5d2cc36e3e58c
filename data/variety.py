"""Clean pictures of every kind, as people store them: what a detector of defects has to leave alone.

A new kind is a function in `KINDS`, a treatment one in `TREATMENTS`. Pictures are uint8, or uint16, with three channels
or one, as in a file.
"""

import io
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image as PillowImage
from scipy.ndimage import gaussian_filter, median_filter

from data.drawings import drawn_ink
from data.images import TRAINING_IMAGES, Image, load_image

SIDE = 256  # of a picture


@cache
def training_image(name: str) -> PillowImage.Image:
    """A training image in colour, at most 1000 pixels long."""
    image = PillowImage.fromarray(np.rint(load_image(name, colour=True) * 255).astype(np.uint8))
    image.thumbnail((1000, 1000))
    return image


def photograph(draw: Generator) -> Image:
    """A piece of a training image in colour, or grey, as it is or scaled down by any filter, turned."""
    image = training_image(str(draw.choice(TRAINING_IMAGES)))
    factor = min(float(draw.choice([1, draw.uniform(1, 4)])), min(image.size) / SIDE)
    filter, side = int(draw.integers(6)), min(int(SIDE * factor), *image.size)
    left, top = (int(draw.integers(length - side + 1)) for length in image.size)
    piece = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), filter)
    picture = np.rot90(np.asarray(piece, np.float32) / 255, int(draw.integers(4)))
    picture = picture[:, ::-1] if draw.integers(2) else picture
    return picture @ np.float32([0.299, 0.587, 0.114]) if draw.random() < 0.4 else picture


def page(draw: Generator) -> Image:
    """A drawn page, see data.drawings, a piece of it at its own scale, in one colour of ink or grey, on any paper."""
    ink = drawn_ink(int(draw.integers(5)), bool(draw.integers(2)), draw)
    top, left = draw.integers(ink.shape[0] - SIDE + 1, size=2)
    share = ink[top : top + SIDE, left : left + SIDE]
    if draw.random() < 0.3:
        share = gaussian_filter(share, draw.uniform(0.3, 0.9))
    dark, light = np.sort(draw.uniform(0, 1, (2, 3)), axis=0) * [[0.6], [1.0]]
    light = 1 - (1 - light) * 0.4 if draw.random() < 0.7 else light
    if draw.random() < 0.6:
        dark, light = dark[:1], light[:1]
    if draw.random() < 0.5:
        dark, light = dark * 0, light * 0 + 1
    picture = (dark + share[..., None] * (light - dark)).astype(np.float32)
    return picture[..., 0] if picture.shape[2] == 1 else picture


def screenshot(draw: Generator) -> Image:
    """Windows of flat colours and shadings with type, and a photograph in one of them."""
    colours = draw.random() < 0.7
    picture = np.ones((SIDE, SIDE, 3), np.float32) * draw.random(3 if colours else 1).astype(np.float32)
    for number in range(int(draw.integers(2, 7))):
        (top, left), (height, width) = draw.integers(0, SIDE - 24, 2), draw.integers(24, SIDE, 2)
        window = picture[top : top + height, left : left + width]
        kind = "photograph" if number == 1 else str(draw.choice(["flat", "type", "type", "shading", "border"]))
        if kind == "photograph":
            window[:] = np.atleast_3d(photograph(draw))[: window.shape[0], : window.shape[1]]
        elif kind == "type":
            window[:] = np.atleast_3d(page(draw))[: window.shape[0], : window.shape[1]]
        elif kind == "border":
            window[0], window[-1], window[:, 0], window[:, -1] = draw.random((4, 1))
        else:
            slope = np.linspace(0, 1, window.shape[0])[:, None, None] if kind == "shading" else 0
            window[:] = draw.random(3 if colours else 1) * (1 - slope) + slope * draw.random(3 if colours else 1)
    return picture if colours else picture[..., 0]


def sky(draw: Generator) -> Image:
    """Stars of all brightnesses, from single pixels to wide discs, on a dark sky."""
    place = np.linspace(0, 1, SIDE)
    base = draw.uniform(0, 0.12) + draw.uniform(0, 0.1) * place[:, None] + draw.uniform(0, 0.1) * place
    picture, count = base[..., None] * draw.uniform(0.5, 1, 3), int(np.exp(draw.uniform(np.log(20), np.log(900))))
    light = np.zeros((SIDE, SIDE, 3))
    rows, columns = draw.integers(SIDE, size=(2, count))
    strength = draw.pareto(draw.uniform(0.7, 2), count)[:, None] * draw.uniform(0.05, 0.5) + 0.02
    np.add.at(light, (rows, columns), strength * draw.uniform(0.7, 1, (count, 3)))
    width = draw.choice([0, draw.uniform(0.4, 1.6)])
    if width:
        light = gaussian_filter(light, (width, width, 0)) * 2 * np.pi * max(width, 0.4) ** 2
    picture = picture + light + draw.normal(0, draw.choice([0, 0.01, 0.03]), light.shape)
    return picture[..., 0] if draw.random() < 0.5 else picture


def dither(draw: Generator) -> Image:
    """A photograph in two or few values: by diffusion of errors, by an ordered matrix, or as dots of a screen."""
    photo = photograph(draw)
    grey = np.clip(photo if photo.ndim == 2 else photo[..., 1], 0, 1)
    pillow, kind = PillowImage.fromarray(np.rint(grey * 255).astype(np.uint8)), int(draw.integers(4))
    if kind == 0:
        return np.asarray(pillow.convert("1"), np.float32)
    if kind == 1:
        colours = PillowImage.fromarray(
            np.rint(np.dstack([grey] * 3 if photo.ndim == 2 else [photo]) * 255).astype(np.uint8)
        )
        few = colours.quantize(int(draw.choice([2, 4, 8, 16, 64])), dither=int(draw.choice([0, 3])))
        return np.asarray(few.convert("RGB"), np.float32) / 255
    if kind == 2:
        matrix = np.array([[0, 2], [3, 1]])
        for _ in range(int(draw.integers(1, 3))):
            matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
        level = (matrix + 0.5) / matrix.size
        return np.float32(grey > np.tile(level, [SIDE // length for length in level.shape]))
    angle, period = draw.uniform(0, np.pi / 2), draw.uniform(3, 9)
    y, x = np.mgrid[:SIDE, :SIDE] * 2 * np.pi / period
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    screen = np.clip((grey - 0.5 - 0.25 * (np.cos(u) + np.cos(v))) * draw.uniform(1, 12) + 0.5, 0, 1)
    return screen.astype(np.float32)


def pixel_art(draw: Generator) -> Image:
    """Large pixels of few colours; small figures repeat."""
    factor, colours = int(draw.choice([1, 2, 3, 4, 6, 8])), draw.random((int(draw.integers(2, 12)), 3))
    small = draw.integers(len(colours), size=(16, 16)) * (draw.random((16, 16)) < draw.uniform(0.1, 0.9))
    small = np.hstack([small, small[:, ::-1]]) if draw.integers(2) else small
    if draw.integers(2):
        small = median_filter(small, 3)
    area = np.zeros((SIDE // factor + 1,) * 2, int)
    for _ in range(int(draw.integers(1, 40))):
        top, left = draw.integers(0, len(area), 2)
        window = area[top : top + small.shape[0], left : left + small.shape[1]]
        window[:] = small[: window.shape[0], : window.shape[1]]
    return np.kron(colours[area], np.ones((factor, factor, 1)))[:SIDE, :SIDE]


def shading(draw: Generator) -> Image:
    """Smooth shadings and soft edges: out of focus, or drawn."""
    noise = gaussian_filter(draw.normal(size=(SIDE, SIDE, 3)), (*[draw.uniform(3, 40)] * 2, draw.choice([0, 9])))
    noise = (noise - noise.min()) / np.ptp(noise)
    return np.where(noise > 0.5, noise, noise * draw.uniform(0, 1)) if draw.integers(2) else noise


KINDS: dict[str, Callable[[Generator], Image]] = {
    "photograph": photograph, "page": page, "screenshot": screenshot, "sky": sky, "dither": dither,
    "pixel_art": pixel_art, "shading": shading,
}  # fmt: skip
SHARES = (0.58, 0.14, 0.08, 0.06, 0.06, 0.04, 0.04)  # of `KINDS`


def contrast(picture: Image, draw: Generator) -> Image:
    """Another contrast and brightness; what leaves the range is cut off."""
    low, high = draw.uniform(-0.3, 0.3), draw.uniform(0.7, 1.3)
    return np.clip(low + (high - low) * picture, 0, 1) ** np.exp(draw.normal(0, 0.3))


def burnt(picture: Image, draw: Generator) -> Image:
    """The brightest or darkest areas become white or black, with soft or hard edges."""
    smooth = gaussian_filter(np.atleast_3d(picture).mean(axis=2), draw.uniform(1, 12))
    inside = np.clip((smooth - np.quantile(smooth, draw.uniform(0.6, 0.98))) * draw.uniform(5, 200), 0, 1)
    inside = inside if picture.ndim == 2 else inside[..., None]
    return picture + inside if draw.random() < 0.7 else picture[..., :] * (1 - inside)


def surround(picture: Image, draw: Generator) -> Image:
    """A round or square field of view, and one value around it, black as a rule."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - draw.uniform(0.3, 0.7, 2)[:, None, None]
    round, half = draw.random() < 0.6, draw.uniform(0.25, 0.6)
    outside = (np.hypot(x, y) if round else np.maximum(np.abs(x) * draw.uniform(0.5, 1), np.abs(y))) > half
    value = draw.choice([0, 0, 0, 1, draw.random()])
    return np.where(outside if picture.ndim == 2 else outside[..., None], value, picture)


def sharpened(picture: Image, draw: Generator) -> Image:
    """Unsharp masking with a radius of 0.3 to 2 pixels, by 10 to 150 %."""
    radius, axes = draw.uniform(0.3, 2), (0, 1)
    return picture + draw.uniform(0.1, 1.5) * (picture - gaussian_filter(picture, radius, axes=axes))


def grainy(picture: Image, draw: Generator) -> Image:
    """Noise of a sensor or of paper, in colour or not, as fine as a pixel or coarser."""
    shape = picture.shape if draw.integers(2) else (*picture.shape[:2], *[1] * (picture.ndim - 2))
    noise, width = draw.normal(size=shape), draw.choice([0, 0, draw.uniform(0.4, 1.2)])
    noise = gaussian_filter(noise, width, axes=(0, 1)) if width else noise
    deviation = np.exp(draw.uniform(np.log(0.005), np.log(0.08))) / noise.std()
    return picture + noise * deviation * (np.sqrt(np.clip(picture, 0, 1)) if draw.integers(2) else 1)


def smoothed(picture: Image, draw: Generator) -> Image:
    """A little out of focus."""
    return gaussian_filter(picture, draw.uniform(0.3, 2), axes=(0, 1))


TREATMENTS: dict[Callable[[Image, Generator], Image], float] = {  # in this order, with their chances
    smoothed: 0.15, contrast: 0.4, burnt: 0.15, surround: 0.1, sharpened: 0.3,
}  # fmt: skip
GRAINY, COUNTS, STORED = 0.3, 0.12, 0.25  # chances of grain, of 16 bits and of a JPEG


class Clean(NamedTuple):
    """A clean picture, SIDE x SIDE pixels as stored, uint8 or uint16, and what it would be without its grain."""

    pixels: np.ndarray
    without_grain: np.ndarray
    kind: str


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels of 8 bits as a JPEG of that quality shows them; colours at half their resolution."""
    stored = io.BytesIO()
    PillowImage.fromarray(pixels).save(stored, "JPEG", quality=quality)
    return np.asarray(PillowImage.open(stored))


def clean_picture(draw: Generator) -> Clean:
    """A clean picture of any kind, treated in any way."""
    kind = str(draw.choice(list(KINDS), p=SHARES))
    usual = 1 if kind == "photograph" else 0.25
    picture = np.clip(KINDS[kind](draw), 0, 1)
    for treat, chance in TREATMENTS.items():
        if draw.random() < chance * usual:
            picture = np.clip(treat(picture, draw), 0, 1)
    with_grain = np.clip(grainy(picture, draw), 0, 1) if draw.random() < GRAINY * usual else picture
    if draw.random() < COUNTS * usual:  # of a sensor, as of heat or depth, in a narrow range
        span = int(np.exp(draw.uniform(np.log(200), np.log(60_000))))
        low = int(draw.integers(0, 65_536 - span))
        return Clean(*(np.rint(low + p * span).astype(np.uint16) for p in (with_grain, picture)), kind)
    pixels, without = (np.rint(255 * p).astype(np.uint8) for p in (with_grain, picture))
    if draw.random() < STORED:
        quality = int(draw.integers(60, 99))
        pixels = as_jpeg(pixels, quality)
        without = pixels if with_grain is picture else as_jpeg(without, quality)
    return Clean(pixels, without, kind)
