"""Restores damaged pictures of any size with networks that are trained already.

`python -m utils.restore --image my.png` looks what is wrong with the picture, says so, and writes restored.png. The
restored picture is grey or colour and has 8 or 16 bits like the other, and its transparency; each channel is restored
by itself. --damage says what is wrong with it, --mask points at it. With --learn a network first learns on the picture
itself, for a minute or so; the option names the noise. With --corruption the picture is taken for a clean one and
corrupted first. The PSNR of the restored picture is then known, and the corrupted one is written as restored_noisy.png.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.damage import DAMAGES
from data.errors import InvalidInput
from data.formats import save_pixels
from models import DLADMM
from models.errors import InvalidArgument
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.restore.chosen import as_chosen, settings_of_training
from utils.restore.damage import Restored, fill, look
from utils.restore.networks import Networks
from utils.restore.preparation import Settings, Task, noisy_output, prepare, tasks
from utils.running.checkpoints import save_network
from utils.running.devices import pick_device
from utils.running.errors import UserError, script
from utils.running.files import all_or_nothing
from utils.running.settings import parse_settings


def main(argv: Sequence[str] | None = None) -> None:
    """Restores the pictures. One that cannot be used does not stop the others; the exit code then says so."""
    settings = parse_settings(Settings, __doc__, argv)
    with script("nothing of the picture was written"):
        networks, todo, failed = Networks(pick_device(settings.device), settings.stride), tasks(settings), 0
        for name, output in todo:
            try:
                restore(settings, networks, name, output)
            except (UserError, InvalidInput, InvalidArgument) as error:
                if len(todo) == 1:
                    raise
                print(f"error: {error}", file=sys.stderr)
                failed += 1
        if failed:
            raise UserError(f"{failed} of {len(todo)} pictures were not restored, see above; the others were")


def restore(settings: Settings, networks: Networks, name: str, output: Path) -> None:
    """Restores a picture, and says what was found, how long it took and, if a clean one is known, its PSNR."""
    watch, network = Stopwatch(), None
    task = prepare(settings, name, output)
    if settings.is_chosen:
        restored, network = as_chosen(settings, task, networks)
    elif task.known is not None:
        restored = fill(task.image, task.known, networks)
    else:
        restored = look(task.image, networks, settings.damage, task.qtables, task.white)
    print(f"{name}: {restored.found}")
    if settings.verbose == "yes":
        figures = ", ".join(f"{candidate} {error:.5f}" for candidate, error in restored.figures.items())
        print(f"errors where the damage was put once more: {figures or 'nothing was compared'}")
    write(settings, task, restored, network, watch)


def write(settings: Settings, task: Task, restored: Restored, network: DLADMM | None, watch: Stopwatch) -> None:
    """Writes the restored picture and, in a test, the corrupted one, and prints their PSNR."""
    pixels, output = stored_pixels(task, restored.image), task.output
    pictures = {output: pixels}
    tested = settings.corruption in DAMAGES
    if tested:
        pictures[noisy_output(output)] = stored_pixels(task, task.image)
    save = settings.save if network is not None else ""
    folders = dict.fromkeys([output.parent, *([Path(save).parent] if save else [])])
    with all_or_nothing(*folders) as unfinished:
        for path, shown in pictures.items():
            save_pixels(shown, unfinished[0] / path.name, task.stored.alpha, task.stored.extra)
        if save:
            learned = settings_of_training(settings) | {"learned_on": task.name, "noise_learned": settings.learn}
            save_network(network, unfinished[-1] / Path(save).name, learned)
    print(f"{output}: {' x '.join(map(str, pixels.shape[1::-1]))} pixels in {watch.seconds():.1f} seconds")
    if not tested:
        print("There is no clean image to compare with, so no PSNR.")
        return
    for path, shown in pictures.items():
        image, clean = (np.float32(stored) / np.float32(task.white) for stored in (shown, task.stored.pixels))
        quality = [measure(image, clean) for measure in (psnr, ssim)]
        print(f"{path}: PSNR {quality[0]:.2f} dB, SSIM {quality[1]:.4f}")


def stored_pixels(task: Task, image: np.ndarray) -> np.ndarray:
    """The image as the picture was stored; what is transparent there stays as it is."""
    pixels = np.rint(image * task.white).astype(task.stored.pixels.dtype)
    if task.opaque is None:
        return pixels
    opaque = task.opaque if pixels.ndim == 2 else task.opaque[..., None]
    return np.where(opaque, pixels, task.stored.pixels)


if __name__ == "__main__":
    main()
