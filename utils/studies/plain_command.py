"""`python -m utils.restore` as a study uses it: a picture is stored in a file, the command writes another."""

import io
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image

from data.formats import save_pixels
from data.images import load_pixels, to_image, to_pixels
from utils.restore import __main__ as command
from utils.running.errors import UserError

NAME = "plain command"  # in the tables
INTERRUPTED = 130  # the exit code after Ctrl-C


def by_command(
    pixels: np.ndarray, folder: Path, quality: int | None = None, hit: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, str]:
    """The picture as it was stored, what the command makes of it, uint8, and what it says.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        folder: for the files.
        quality: of a JPEG; None stands for a PNG.
        hit: of the same height and width, to be given as mask; None for a command without options.

    Raises:
        UserError: the command has refused it.
        KeyboardInterrupt: Ctrl-C ended the command.
    """
    stored, output, mask = folder / f"a.{'png' if quality is None else 'jpg'}", folder / "b.png", folder / "mask.png"
    Image.fromarray(pixels).save(stored, **({} if quality is None else {"quality": quality}))
    options = ["--image", str(stored), "--output", str(output)]
    if hit is not None:
        save_pixels(np.uint8(255 * hit), mask)
        options += ["--mask", str(mask)]
    try:
        with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()) as errors:
            command.main(options)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            raise KeyboardInterrupt from None
        raise UserError(f"the plain command says: {errors.getvalue().strip().splitlines()[-1]}") from None
    return load_pixels(str(stored)), load_pixels(str(output)), said.getvalue().split(": ", 1)[1].splitlines()[0]


def restored_plainly(noisy: np.ndarray) -> np.ndarray:
    """What the command without options makes of an image with values in [0, 1], stored with 8 bits."""
    with tempfile.TemporaryDirectory() as folder:
        return to_image(by_command(to_pixels(noisy, np.uint8), Path(folder))[1])
