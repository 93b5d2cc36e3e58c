"""Restores damaged pictures of any size with networks that are trained already.

`python -m utils.restore --image my.png` looks what is wrong with the picture, says so, and writes restored.png. The
restored picture is grey or colour and has 8 or 16 bits like the other, and its transparency; each channel is restored
by itself, and each page of a TIFF. --damage says what is wrong with it, --mask points at it. With --learn a network
first learns on the picture, for a minute; the option names the noise. A file is replaced with --overwrite alone.
"""

import os
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.damage import DAMAGES, NONE
from data.formats import FORMATS, READ, check_writable, not_kept, pictures_in, quantization, save_pixels
from data.images import load_pages, opaque
from data.masks import load_mask, rim_looks_damaged
from utils.evaluation.metrics import Stopwatch
from utils.restore.remedies import AUTO, REMEDIES, Networks
from utils.restore.restoring import check_choices, restore
from utils.running.devices import DEVICES, pick_device
from utils.running.errors import MENDABLE, UserError, complain, script
from utils.running.files import all_or_nothing, check_folder, is_same_file
from utils.running.settings import Checked, one_of, parse_settings, setting

OUTPUT = "restored.png"


@dataclass(frozen=True)
class Settings(Checked):
    """What to restore, and how. Without further options the command looks at the picture and chooses."""

    image: tuple[str, ...] = setting(("lena",), "image files, a folder of them, or a name in data/images.py")
    output: str = setting("", f"the restored image, a name in {', '.join(FORMATS)}; none: {OUTPUT}, or in --output-dir")
    output_dir: str = setting("", "folder of the restored images, which have the names of the others, in .png or .tif")
    mask: str = setting("", "an image file or a .npy that is brighter where the picture is damaged, or classes")
    damage: str = setting(AUTO, "what is wrong with it; auto: what it looks like", one_of(REMEDIES, AUTO))
    learn: str = setting(NONE, "learn on the image itself first, which has this noise", one_of(DAMAGES, NONE))
    overwrite: bool = setting(False, "replace files that are there already; else they are left alone")
    verbose: bool = setting(False, "say what was compared, and with which errors")
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))


def main(argv: Sequence[str] | None = None) -> None:
    """Restores the pictures. Nothing that happens to one stops the others; the exit code then says so."""
    settings = parse_settings(Settings, __doc__, argv)
    with script("nothing of the picture at work was written"):
        networks, todo, failed = Networks(pick_device(settings.device), bars=True), tasks(settings), 0
        for name, output in todo:
            try:
                check_output(settings, output, [name for name, _ in todo])
                restore_file(settings, networks, name, output)
            except Exception as error:
                if len(todo) == 1:
                    raise
                if not isinstance(error, MENDABLE):
                    traceback.print_exc()  # a mistake in code
                complain(f"{name}: {error}")
                failed += 1
        if failed:
            raise UserError(f"{failed} of {len(todo)} pictures were not restored, see above; the others were")


def tasks(settings: Settings) -> list[tuple[str, Path]]:
    """The names of the pictures, and of their outputs. UserError is raised if the options do not fit each other."""
    names = []
    for name in settings.image:
        inside = pictures_in(name)
        if Path(name).is_dir() and not inside:
            raise UserError(f"image is {name!r}, a folder without images; allowed: {', '.join(READ)}")
        unread = sorted({str(path) for path in Path(name).glob("[!.]*") if path.is_file()} - set(inside))
        if inside and unread:
            print(f"not read: {', '.join(unread)}", file=sys.stderr)
        names += inside or [name]
    outputs = [Path(settings.output or OUTPUT)]
    if settings.output_dir:
        if settings.output:
            raise UserError("there are output and output_dir; allowed: one of the two")
        check_folder(settings.output_dir)
        kept = (".tif", ".tiff", ".bmp")  # endings with which a picture loses nothing
        ends = [suffix if (suffix := Path(name).suffix.lower()) in kept else ".png" for name in names]
        outputs = [Path(settings.output_dir, Path(name).stem + end) for name, end in zip(names, ends, strict=True)]
        alike, whole = Counter(outputs), [Path(name).name.replace(".", "_") for name in names]  # a_jpg beside a_png
        outputs = [p.with_stem(stem) if alike[p] > 1 else p for p, stem in zip(outputs, whole, strict=True)]
    elif len(names) > 1:
        raise UserError(f"there are {len(names)} images; allowed: with --output-dir")
    if twice := [path for path, times in Counter(outputs).items() if times > 1]:
        raise UserError(f"two images would become {twice[0]}; allowed: images of different names")
    if len(names) > 1 and settings.mask:
        raise UserError("a mask is for one image; allowed: one --image")
    check_choices(settings.damage, bool(settings.mask), settings.learn)
    return list(zip(names, outputs, strict=True))


def restore_file(settings: Settings, networks: Networks, name: str, output: Path) -> None:
    """Restores a picture, or all pages of it, writes it, and says what was found. Inputs are checked before."""
    watch = Stopwatch()
    pages = load_pages(name)
    check_writable(output, pages[0], len(pages))
    shape = pages[0].pixels.shape
    mask = load_mask(settings.mask, shape) if settings.mask else None
    if mask is not None and mask.share > 0.5:
        print(f"{settings.mask} marks {mask.share:.0%} of the picture: is it inverted?", file=sys.stderr)
    if lost := not_kept(output, pages[0]):
        print(f"{name}: {' and '.join(lost)} will not be in {output}", file=sys.stderr)
    known, qtables, results = None if mask is None else mask.known == 1, quantization(name), []
    for number, page in enumerate(pages, 1):
        place = name if len(pages) == 1 else f"{name}, page {number} of {len(pages)}"
        restored = restore(page.pixels, settings.damage, known, settings.learn, qtables, opaque(page), networks)
        print(f"{place}: {restored.found}")
        if known is not None and rim_looks_damaged(page.pixels, known):
            print(f"{place}: the rim of the mask looks damaged too; a wider mask may help", file=sys.stderr)
        if settings.verbose:
            figures = ", ".join(f"{way} {error:.5f}" for way, error in restored.figures.items())
            print(f"errors where the damage was put once more: {figures or 'nothing was compared'}")
        results.append(page._replace(pixels=restored.pixels))
    with all_or_nothing(output.parent) as (unfinished,):
        for number, page in enumerate(results):
            save_pixels(page.pixels, unfinished / output.name, alpha=page.alpha, extra=page.extra, append=number > 0)
    size = " x ".join(map(str, shape[1::-1]))
    print(f"{output}: {size} pixels in {watch.seconds():.1f} seconds")


def check_output(settings: Settings, output: Path, names: Sequence[str]) -> None:
    """Raises UserError if an output would replace what it must not: a folder, one of the pictures, the mask, a file."""
    check_folder(str(output.parent))
    read = [file for file in (settings.mask, *names) if output.exists() and Path(file).is_file()]
    if output.is_dir() or any(is_same_file(output, file) for file in read):
        raise UserError(f"output is {str(output)!r}, a folder or a file that is read; allowed: another name")
    if os.path.lexists(output) and not settings.overwrite:
        raise UserError(f"output {str(output)!r} is there already; allowed: another name, or --overwrite")


if __name__ == "__main__":
    main()
