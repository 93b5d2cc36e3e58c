"""Damage as people have it, made from the test images, and what `python -m utils.restore` does about it.

`python -m utils.studies.real_damage` takes some ten minutes. Every picture is the middle of a test image, 256 x 256
pixels, damaged, and restored by the command without options; only of strokes it gets the mask. The rivals are
biharmonic inpainting, which knows the true positions of specks and holes, and medians of 3 x 3 and 5 x 5 pixels, which
know nothing. For specks of any value there is the strongest blind one too: an adaptive centre-weighted median finds
them, and they are inpainted; its scale is the best one for the same damage on the validation images.

PSNR in dB is that of the whole picture, of strokes that of the damaged pixels alone: means over the images. The last
column says on how many of them the command is better, and its worst difference. Of pages, ink is darker than half way.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import median_filter
from tqdm import tqdm

from data.damage import DAMAGES
from data.drawings import FONTS
from data.formats import quantization
from data.images import TEST_IMAGES, VALIDATION_IMAGES, load_image, to_image, to_pixels
from utils.evaluation.metrics import psnr
from utils.evaluation.observation import Row
from utils.reporting.pages import Page
from utils.reporting.tables import markdown
from utils.restore.restoring import Restored, restore
from utils.running.provenance import ROOT, Provenance
from utils.studies.rivals import best_weight
from utils.studies.rivals.classical import inpainted, inpainted_impulses
from utils.studies.rivals.medians import SCALES
from utils.studies.study import Keep, Measured, command

SIDE, SEED = 256, 1126  # pixels of a picture; of all draws
LEVELS, QUALITIES, RATES = (0, 1, 5, 10, 16, 22, 30), (95, 90, 75, 50), (0.05, 0.1)
WIDTHS, STROKES = (1, 2, 3, 5, 8, 12, 24), 5
SIZES, PEPPER = (9, 14, 24, 48), 0.02  # of type, in pixels
TEXT = "The quick brown fox jumps over the lazy dog; 13 of 27 wizards (all named: i, l, j) boxed it, e.g. by 4.5 %. "
OURS, INPAINTING, BLIND = "plain command", "inpainting, true mask", "inpainting, its own mask"
ANY_VALUE, NETWORKS = "specks of any value", "checkpoints/*/dladmm_d15.safetensors"
Pixels = np.ndarray  # uint8


class Case(NamedTuple):
    """A way to damage a picture."""

    make: Callable[[Pixels, Generator], Pixels] = lambda picture, draw: picture
    quality: int | None = None  # of the JPEG below; None for none
    masked: bool = False  # whether the command gets its mask
    grain: bool = False  # whether every pixel has noise too, so that black and white ones alone are to be inpainted

    def damaged(self, clean: Pixels) -> tuple[Pixels, np.ndarray]:
        """The damaged picture, and where it is damaged: bool."""
        pixels = self.make(clean, np.random.default_rng(SEED))
        changed = pixels != clean
        return pixels, changed & ((pixels == 0) | (pixels == 255)) if self.grain else changed


def impulses(dark: int | None, light: int | None, rate: float, picture: Pixels, draw: Generator) -> Pixels:
    """Pixels of these values, as many of either; with one value alone half as many."""
    drawn, (black, white) = draw.random(picture.shape), (picture if v is None else np.uint8(v) for v in (dark, light))
    return np.where(drawn < rate / 2, black, np.where(drawn > 1 - rate / 2, white, picture))


def clusters(side: int, rate: float, picture: Pixels, draw: Generator) -> Pixels:
    """Squares of side x side pixels at any place, each of any value."""
    damaged = picture.copy()
    for _ in range(round(rate * picture.size / side**2)):
        top, left = draw.integers(0, SIDE - side, 2)
        damaged[top : top + side, left : left + side] = draw.integers(256)
    return damaged


def laboratory(name: str, rate: float, picture: Pixels, draw: Generator) -> Pixels:
    """A damage of data.damage."""
    return to_pixels(DAMAGES[name].corrupt(to_image(picture), rate, int(draw.integers(2**31))), np.uint8)


def strokes(width: int, picture: Pixels, draw: Generator) -> Pixels:
    """White lines of that width across the picture."""
    image = Image.fromarray(picture)
    for _ in range(STROKES):
        (x, y), angle = draw.uniform(0, SIDE, 2), draw.uniform(0, np.pi)
        across, down = SIDE * np.cos(angle), SIDE * np.sin(angle)
        ImageDraw.Draw(image).line((x - across, y - down, x + across, y + down), fill=255, width=width)
    return np.asarray(image)


CASES: dict[str, dict[str, Case]] = {  # by section of the page, then by title
    "levels": {f"10 % at {v} and {255 - v}": Case(partial(impulses, v, 255 - v, 0.1)) for v in LEVELS}
    | {"5 % black alone": Case(partial(impulses, 0, None, 0.1))}
    | {"5 % white alone, at 250": Case(partial(impulses, None, 250, 0.1))},
    "below JPEG": {
        f"{100 * rate:g} % black and white, quality {quality}": Case(partial(impulses, 0, 255, rate), quality)
        for quality, rate in product(QUALITIES, RATES)
    },
    "strokes": {f"{width} pixels wide": Case(partial(strokes, width), masked=True) for width in WIDTHS},
    ANY_VALUE: {
        f"{100 * rate:g} %, {'single' if side == 1 else f'{side} x {side}'}": Case(partial(clusters, side, rate))
        for side, rate in ((1, 0.01), (1, 0.1), (2, 0.03), (3, 0.03))
    },
    "of the laboratory": {
        "1 % salt and pepper": Case(partial(laboratory, "salt_and_pepper", 0.01)),
        "50 % salt and pepper": Case(partial(laboratory, "salt_and_pepper", 0.5)),
        "20 % random-valued": Case(partial(laboratory, "random_valued", 0.2)),
        "10 % missing blocks": Case(partial(laboratory, "missing_blocks", 0.1)),
        "10 % salt and pepper, Gaussian noise": Case(partial(laboratory, "gaussian_and_impulses", 0.1), grain=True),
    },
    "nothing": {"clean": Case(), "clean, JPEG of quality 85": Case(quality=85)},
}


def middle(name: str) -> np.ndarray:
    """The middle of an image, uint8."""
    pixels = to_pixels(load_image(name), np.uint8)
    top, left = (length // 2 - SIDE // 2 for length in pixels.shape)
    return pixels[top : top + SIDE, left : left + SIDE].copy()


def best_scale(damage: str) -> float:
    """The scale of the centre-weighted median with the highest PSNR for this damage on the validation images."""
    clean, case = [middle(name) for name in VALIDATION_IMAGES], CASES[ANY_VALUE][damage]
    pairs = [(to_image(case.damaged(pixels)[0]), to_image(pixels)) for pixels in clean]
    return best_weight(inpainted_impulses, SCALES, pairs)


def by_command(pixels: Pixels, quality: int | None = None, hit: np.ndarray | None = None) -> tuple[Pixels, Restored]:
    """A picture as a JPEG of that quality or a PNG stores it, restored by the command: its mask is `hit`, if any."""
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG" if quality is None else "JPEG", quality=quality)
    pixels = np.asarray(Image.open(stored))
    return pixels, restore(pixels, known=None if hit is None else ~hit, qtables=quantization(stored))


def follow(section: str, damage: str, image: str, scale: float | None) -> list[Row]:
    """The rows of a damaged picture; scale: of the blind rival, if there is one."""
    case, clean = CASES[section][damage], middle(image)
    pixels, hit = case.damaged(clean)
    stored, restored = by_command(pixels, case.quality, hit if case.masked else None)
    shown, where = to_image(stored), hit if case.masked else np.s_[:, :]
    results = {"damaged": shown, OURS: to_image(restored.pixels)}
    if hit.any():
        results[INPAINTING] = inpainted(shown, lambda image: ~hit)
        results |= {f"{side} x {side} median": median_filter(shown, side) for side in (3, 5)}
    if scale is not None:
        results[BLIND] = inpainted_impulses(scale, shown)
    figures = {name: psnr(result[where], to_image(clean)[where]) for name, result in results.items()}
    row = {"section": section, "damage": damage, "image": image}
    return [row | {"method": name, "psnr": figure, "said": restored.found} for name, figure in figures.items()]


def page(size: int, smooth: bool) -> np.ndarray:
    """A page of type of that size in pixels, black on white, uint8."""
    sheet = Image.new("L", (2 * SIDE, SIDE), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.truetype(FONTS / "DejaVuSerif.ttf", size)
    draw.fontmode = "L" if smooth else "1"
    for line, top in enumerate(range(6, SIDE - size, round(1.3 * size))):
        draw.text((6, top), (TEXT * 3)[7 * line :], fill=0, font=font)
    return np.asarray(sheet)


def follow_page(size: int, smooth: bool, rate: float) -> Row:
    """What becomes of the ink of a page and of its pepper, as shares; of all pixels so many are changed."""
    clean = page(size, smooth)
    pixels = impulses(0, None, 2 * rate, clean, np.random.default_rng(SEED))
    _, restored = by_command(pixels)
    ink, pepper, dark = clean < 128, (pixels < 128) & (clean >= 128), restored.pixels < 128
    row = {"page": f"{size} pixels, {'smoothed' if smooth else 'one bit'}", "pepper": rate}
    row |= {"ink_kept": dark[ink].mean(), "pepper_left": dark[pepper].mean() if pepper.any() else 0.0}
    return row | {"changed": (restored.pixels != pixels).mean(), "said": restored.found}


def measure(keep: Keep) -> Measured:
    """Damages and restores all pictures."""
    scales, rows = {damage: keep(best_scale)(damage) for damage in CASES[ANY_VALUE]}, []
    cases = [(section, damage) for section, titles in CASES.items() for damage in titles]
    for (section, damage), image in tqdm(list(product(cases, TEST_IMAGES)), "damage", unit="picture"):
        rows += keep(follow)(section, damage, image, scales[damage] if section == ANY_VALUE else None)
    pages = [keep(follow_page)(*kind) for kind in product(SIZES, (False, True), (0, PEPPER))]
    of_scales = pd.DataFrame(scales.items(), columns=["damage", "scale"])
    return Measured({"real_damage": pd.DataFrame(rows), "pages": pd.DataFrame(pages), "real_damage_scales": of_scales})


def show(tables: Mapping[str, pd.DataFrame], made_by: Provenance) -> Page:
    """A table for each section, with mean PSNR and how the command does against inpainting, and one of pages."""
    parts, scales, pages = ["# Real damage\n"], tables["real_damage_scales"]["scale"], tables["pages"]
    for section, rows in tables["real_damage"].groupby("section", sort=False):
        of_images = rows.pivot_table("psnr", ["damage", "image"], "method", sort=False)
        table = of_images.groupby("damage", sort=False).mean()
        formats = dict.fromkeys(table, ".2f")
        if INPAINTING in table:
            apart = (of_images[OURS] - of_images[INPAINTING]).groupby("damage", sort=False)
            table["better than inpainting"] = apart.agg(lambda d: f"{(d > 0).sum()} of {len(d)}, worst {d.min():+.2f}")
        parts += [f"## {section[0].upper()}{section[1:]}\n", markdown(table.reset_index(), formats)]
        if section == ANY_VALUE:
            parts.append(f"{BLIND}: in the rows above its scale is {', '.join(map('{:g}'.format, scales))}.\n")
    shown = pages.assign(pepper_left=pages["pepper_left"].where(pages["pepper"] > 0)).drop(columns="said")
    formats = {"pepper": ".0%", "ink kept": ".2%", "pepper left": ".1%", "changed": ".2%"}
    of_pages = markdown(shown.rename(columns=lambda name: name.replace("_", " ")), formats)
    return Page("\n".join([*parts, "## Pages\n", of_pages, __doc__]))


def main(argv: Sequence[str] | None = None) -> None:
    """Measures with the networks in the folder of checkpoints."""
    networks = {path.parent.name: path.read_bytes() for path in sorted(ROOT.glob(NETWORKS))}
    command("utils.studies.real_damage", inputs=networks)(argv)


if __name__ == "__main__":
    main()
