"""Damage as people have it, made from the test images, and what `python -m utils.restore` does about it.

`python -m utils.studies.real_damage` (some ten minutes) writes results/real_damage.csv, pages.csv and real_damage.md.
Every picture is the middle of a test image, 256 x 256 pixels, damaged, written to a file, and restored by the command
without further options; only of strokes it gets the mask. The rivals are scikit-image's biharmonic inpainting, which
knows the true positions of specks and holes, and medians of 3 x 3 and 5 x 5 pixels, which know nothing. For specks of
any value there is the strongest blind one too: an adaptive centre-weighted median finds them, and they are inpainted;
its scale is the best one for the same damage on the validation images.

PSNR is that of the whole picture, of strokes that of the damaged pixels alone; means over the images. "Better than
inpainting": on how many images the command is, and its worst difference. Pages are drawn; ink is what is darker than
half way.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import median_filter
from tqdm import tqdm

from data.damage import DAMAGES
from data.drawings import FONTS
from data.images import TEST_IMAGES, VALIDATION_IMAGES, load_image, to_image, to_pixels
from data.masks import inpainted
from utils.evaluation.metrics import psnr
from utils.reporting.tables import grouped, markdown_table, number
from utils.studies.kept import Keep, kept_rows
from utils.studies.methods import SCALES, best_weight, depends_on
from utils.studies.plain_command import NAME as OURS
from utils.studies.plain_command import by_command
from utils.studies.rivals.classical import inpainted_impulses
from utils.studies.study import Report, run_study

SIDE, SEED = 256, 1126  # pixels of a picture; of all draws
LEVELS = (0, 1, 5, 10, 16, 22, 30)
QUALITIES, RATES = (95, 90, 75, 50), (0.05, 0.1)
WIDTHS, STROKES = (1, 2, 3, 5, 8, 12, 24), 5
SIZES, PEPPER = (9, 14, 24, 48), 0.02  # of type, in pixels
TEXT = "The quick brown fox jumps over the lazy dog; 13 of 27 wizards (all named: i, l, j) boxed it, e.g. by 4.5 %. "
INPAINTING, BLIND, ANY_VALUE = "inpainting, true mask", "inpainting, its own mask", "specks of any value"

Make = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # uint8 picture -> damaged one


class Damage(NamedTuple):
    """A kind of damage.

    Attributes:
        title: what it is.
        make: how it is made.
        quality: of the JPEG below; None for none.
        masked: whether the command gets its mask.
        grain: whether every pixel has noise too, so that black and white ones alone are to be inpainted.
    """

    title: str
    make: Make
    quality: int | None = None
    masked: bool = False
    grain: bool = False

    def hit(self, pixels: np.ndarray, clean: np.ndarray) -> np.ndarray:
        """Where a picture is damaged: bool."""
        changed = pixels != clean
        return changed & ((pixels == 0) | (pixels == 255)) if self.grain else changed


@dataclass(frozen=True)
class DamageRecord:
    """A damaged picture restored by a method."""

    section: str
    damage: str
    image: str
    method: str
    psnr: float  # dB; of strokes inside the damage alone
    said: str  # by the command


@dataclass(frozen=True)
class PageRecord:
    """A page restored by the command."""

    page: str
    pepper: float  # its rate
    ink_kept: float  # share
    pepper_left: float  # share; 0 without pepper
    changed: float  # share of all pixels
    said: str


def impulses(
    dark: int | None, light: int | None, rate: float, picture: np.ndarray, draw: np.random.Generator
) -> np.ndarray:
    """Pixels of these values, as many of either; with one value alone half as many."""
    drawn, damaged = draw.random(picture.shape), picture.copy()
    for value, hit in ((dark, drawn < rate / 2), (light, drawn > 1 - rate / 2)):
        if value is not None:
            damaged[hit] = value
    return damaged


def clusters(side: int, rate: float, picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Squares of side x side pixels at any place, each of any value."""
    damaged = picture.copy()
    for _ in range(round(rate * picture.size / side**2)):
        top, left = draw.integers(0, SIDE - side, 2)
        damaged[top : top + side, left : left + side] = draw.integers(256)
    return damaged


def laboratory(name: str, rate: float, picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A damage of data.damage."""
    return to_pixels(DAMAGES[name].corrupt(to_image(picture), rate, int(draw.integers(2**31))), np.uint8)


def strokes(width: int, picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """White lines of that width across the picture."""
    image = Image.fromarray(picture)
    for _ in range(STROKES):
        (x, y), angle = draw.uniform(0, SIDE, 2), draw.uniform(0, np.pi)
        across, down = SIDE * np.cos(angle), SIDE * np.sin(angle)
        ImageDraw.Draw(image).line((x - across, y - down, x + across, y + down), fill=255, width=width)
    return np.asarray(image)


def untouched(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The picture as it is."""
    return picture


SECTIONS = {
    "levels": [Damage(f"10 % at {v} and {255 - v}", partial(impulses, v, 255 - v, 0.1)) for v in LEVELS]
    + [
        Damage("5 % black alone", partial(impulses, 0, None, 0.1)),
        Damage("5 % white alone, at 250", partial(impulses, None, 250, 0.1)),
    ],
    "below JPEG": [
        Damage(f"{100 * rate:g} % black and white, quality {quality}", partial(impulses, 0, 255, rate), quality)
        for quality in QUALITIES
        for rate in RATES
    ],
    "strokes": [Damage(f"{width} pixels wide", partial(strokes, width), masked=True) for width in WIDTHS],
    ANY_VALUE: [
        Damage("1 %, single", partial(clusters, 1, 0.01)),
        Damage("10 %, single", partial(clusters, 1, 0.1)),
        Damage("3 %, 2 x 2", partial(clusters, 2, 0.03)),
        Damage("3 %, 3 x 3", partial(clusters, 3, 0.03)),
    ],
    "of the laboratory": [
        Damage("1 % salt and pepper", partial(laboratory, "salt_and_pepper", 0.01)),
        Damage("50 % salt and pepper", partial(laboratory, "salt_and_pepper", 0.5)),
        Damage("20 % random-valued", partial(laboratory, "random_valued", 0.2)),
        Damage("10 % missing blocks", partial(laboratory, "missing_blocks", 0.1)),
        Damage("10 % salt and pepper, Gaussian noise", partial(laboratory, "gaussian_and_impulses", 0.1), grain=True),
    ],
    "nothing": [
        Damage("clean", untouched),
        Damage("clean, JPEG of quality 85", untouched, 85),
    ],
}
RIVALS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    INPAINTING: lambda shown, hit: inpainted(shown, ~hit),
    "3 x 3 median": lambda shown, hit: median_filter(shown, 3),
    "5 x 5 median": lambda shown, hit: median_filter(shown, 5),
}


def middle(name: str) -> np.ndarray:
    """The middle of an image, uint8."""
    pixels = to_pixels(load_image(name), np.uint8)
    top, left = (length // 2 - SIDE // 2 for length in pixels.shape)
    return pixels[top : top + SIDE, left : left + SIDE].copy()


@cache
def best_scale(damage: Damage) -> float:
    """The scale of the centre-weighted median with the highest PSNR for this damage on the validation images."""
    clean = [middle(name) for name in VALIDATION_IMAGES]
    pairs = [(to_image(damage.make(c, np.random.default_rng(SEED))), to_image(c)) for c in clean]
    return best_weight(inpainted_impulses, SCALES, pairs)


def follow(section: str, damage: Damage, image: str, folder: Path) -> list[DamageRecord]:
    """The rows of a damaged picture."""
    clean = middle(image)
    pixels = damage.make(clean, np.random.default_rng(SEED))
    hit = damage.hit(pixels, clean)
    shown, restored, said = by_command(pixels, folder, damage.quality, hit if damage.masked else None)
    results = {"damaged": to_image(shown), OURS: to_image(restored)}
    if hit.any():
        results |= {name: rival(to_image(shown), hit) for name, rival in RIVALS.items()}
    if section == ANY_VALUE:
        results[BLIND] = inpainted_impulses(best_scale(damage), to_image(shown))
    where = hit if damage.masked else np.s_[:, :]
    return [
        DamageRecord(section, damage.title, image, name, psnr(result[where], to_image(clean)[where]), said)
        for name, result in results.items()
    ]


def page(size: int, smooth: bool) -> np.ndarray:
    """A page of type of that size in pixels, black on white, uint8."""
    sheet = Image.new("L", (2 * SIDE, SIDE), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.truetype(FONTS / "DejaVuSerif.ttf", size)
    draw.fontmode = "L" if smooth else "1"
    for line, top in enumerate(range(6, SIDE - size, round(1.3 * size))):
        draw.text((6, top), (TEXT * 3)[7 * line :], fill=0, font=font)
    return np.asarray(sheet)


def follow_page(size: int, smooth: bool, rate: float, folder: Path) -> PageRecord:
    """The row of a page."""
    clean = page(size, smooth)
    pixels = impulses(0, None, 2 * rate, clean, np.random.default_rng(SEED))
    _, restored, said = by_command(pixels, folder)
    ink, pepper = clean < 128, (pixels < 128) & (clean >= 128)
    left = float((restored[pepper] < 128).mean()) if pepper.any() else 0.0
    changed = float((restored != pixels).mean())
    title = f"{size} pixels, {'smoothed' if smooth else 'one bit'}"
    return PageRecord(title, rate, float((restored[ink] < 128).mean()), left, changed, said)


def table(rows: Sequence[DamageRecord]) -> str:
    """Mean PSNR by damage and method, and how the command does against inpainting."""
    of_case = grouped(rows, "damage", "method")
    names = dict.fromkeys(row.method for row in rows)

    def mean(damage: str, name: str) -> str:
        return number(float(np.mean([row.psnr for row in of_case[damage, name]])), 2)

    def against(damage: str) -> str:
        ours, theirs = ([row.psnr for row in of_case[damage, name]] for name in (OURS, INPAINTING))
        apart = np.subtract(ours, theirs)
        return f"{np.count_nonzero(apart > 0)} of {len(apart)}, worst {apart.min():+.2f}"

    columns = {"damage": lambda damage: damage}
    columns |= {name: partial(lambda name, damage: mean(damage, name), name) for name in names}
    if INPAINTING in names:
        columns["better than inpainting"] = against
    return markdown_table(list(dict.fromkeys(row.damage for row in rows)), columns)


def table_of_pages(rows: Sequence[PageRecord]) -> str:
    """What becomes of ink and pepper."""
    columns = {
        "type": lambda row: row.page,
        "pepper": lambda row: f"{100 * row.pepper:g} %",
        "ink kept": lambda row: f"{100 * row.ink_kept:.2f} %",
        "pepper left": lambda row: f"{100 * row.pepper_left:.1f} %" if row.pepper else "",
        "pixels changed": lambda row: f"{100 * row.changed:.2f} %",
    }
    return markdown_table(list(rows), columns)


def compare(keep: Keep) -> Report:
    """Damages and restores all pictures."""
    cases = [(section, damage) for section, damages in SECTIONS.items() for damage in damages]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for (section, damage), image in tqdm(list(product(cases, TEST_IMAGES)), "damage", unit="picture"):
            found = partial(follow, section, damage, image, folder)
            rows += kept_rows(keep, (section, damage.title, image), DamageRecord, found)
        kinds = product(SIZES, (False, True), (0, PEPPER))
        pages = [follow_page(*kind, folder) for kind in kinds]
    parts = ["# Real damage\n", __doc__]
    for section in SECTIONS:
        parts += [f"## {section[0].upper()}{section[1:]}\n", table([row for row in rows if row.section == section])]
        if section == ANY_VALUE:
            parts.append(f"{BLIND}: its scale is {', '.join(f'{best_scale(d):g}' for d in SECTIONS[section])}.\n")
    text = "\n".join([*parts, "## Pages\n", table_of_pages(pages)])
    return Report(text, {"real_damage": rows, "pages": pages})


def main(argv: Sequence[str] | None = None) -> None:
    """Damages and restores all pictures, and writes the tables."""
    run_study("utils.studies.real_damage", sys.modules[__name__], compare, argv, depends_on("*/*"))


if __name__ == "__main__":
    main()
