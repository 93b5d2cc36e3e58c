"""Drawn pages: type, line art and plots to learn from, so that strokes are not taken for noise. Drawn when needed."""

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
FACES = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf", "STIXGeneral.ttf")
LETTERS = "eeeeettttaaaooiinnsshhrrddllcuumwfgypbvkjxqzETAOINSHRDL0123456789.,;:-'"
SIDE = 512
LIGHTEST_INK, DARKEST_PAPER = 0.3, 0.8


def type_page(draw: ImageDraw.ImageDraw, generator: np.random.Generator) -> None:
    """Lines of random words, each paragraph in its own face and size."""
    top = int(generator.integers(4, 16))
    while top < SIDE:
        size = round(math.exp(generator.uniform(math.log(9), math.log(48))))  # pixels
        font = ImageFont.truetype(FONTS / FACES[generator.integers(len(FACES))], size)
        for _ in range(int(generator.integers(2, 6))):
            words = ("".join(generator.choice(list(LETTERS), int(generator.integers(1, 10)))) for _ in range(60))
            draw.text((8, top), " ".join(words), fill=255, font=font)
            top += round(1.25 * size)


def line_art(draw: ImageDraw.ImageDraw, generator: np.random.Generator) -> None:
    """Thin lines, circles, boxes and dotted lines."""
    for _ in range(60):
        (x, y, right, bottom), width = generator.integers(SIDE, size=4).tolist(), int(generator.integers(1, 4))
        radius = int(generator.integers(3, 60))
        shapes = (
            lambda a=(x, y, right, bottom), w=width: draw.line(a, fill=255, width=w),
            lambda a=(x, y, x + 2 * radius, y + 2 * radius), w=width: draw.ellipse(a, outline=255, width=w),
            lambda a=(x, y, x + radius, y + radius), w=width: draw.rectangle(a, outline=255, width=w),
            lambda a=[(x + 5 * step, y) for step in range(radius)]: draw.point(a, fill=255),
        )
        shapes[generator.integers(len(shapes))]()


def plot(draw: ImageDraw.ImageDraw, generator: np.random.Generator) -> None:
    """Axes with ticks and labels, a grid, and some curves."""
    font = ImageFont.truetype(FONTS / FACES[0], int(generator.integers(9, 16)))
    draw.rectangle((40, 20, SIDE - 20, SIDE - 40), outline=255)
    for place in range(60, SIDE - 60, 50):
        draw.line((place, SIDE - 44, place, SIDE - 36), fill=255)
        draw.text((place - 8, SIDE - 34), f"{place / 50:.1f}", fill=255, font=font)
        draw.line((40, place, SIDE - 20, place), fill=120)
        draw.text((8, place - 6), f"{place / 10:.0f}", fill=255, font=font)
    x = np.arange(40, SIDE - 20)
    for _ in range(5):
        level, height, period, phase = generator.uniform((120, 20, 40, 0), (380, 120, 400, 6))
        y = level + height * np.sin(x / period * 2 * np.pi + phase)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=255, width=int(generator.integers(1, 4)))


KINDS = (type_page, type_page, type_page, line_art, plot)


def drawn_ink(kind: int, one_bit: bool, generator: np.random.Generator) -> np.ndarray:
    """How much ink there is on a page of `KINDS`, 0 to 1, in one bit or smoothed: `SIDE` x `SIDE`, float32."""
    ink = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(ink)
    draw.fontmode = "1" if one_bit else "L"
    KINDS[kind % len(KINDS)](draw, generator)
    return np.asarray(ink, np.float32) / 255


def drawn_pages(count: int, seed: int = 0) -> list[np.ndarray]:
    """Pages of `KINDS` in turns: every other one has ink of one bit, the others smoothed; one in four is light on dark.
    They are grey, `SIDE` x `SIDE`, values in [0, 1], float32."""
    pages = []
    for number in range(count):
        generator = np.random.default_rng([seed, number])
        share = drawn_ink(number, number % 2 == 1, generator)
        shades = generator.uniform(0, LIGHTEST_INK), generator.uniform(DARKEST_PAPER, 1)
        dark, light = (0, 1) if number % 3 == 0 else shades
        share = 1 - share if number % 4 == 3 else share
        pages.append((light + share * (dark - light)).astype(np.float32))
    return pages
