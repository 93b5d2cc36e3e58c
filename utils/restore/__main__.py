"""Restores an image of any size with a network that is trained already.

`python -m utils.restore --image my.png` writes restored.png. The restored image is grey or colour and has 8 or 16 bits
like the image, and its transparency; each channel is restored by itself. With --learn the network first learns on the
image itself, for a minute or so; the option names the noise. With --corruption the image is taken for a clean one and
corrupted first. The PSNR of the restored image is then known, and the corrupted one is written as restored_noisy.png.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.corruption import CORRUPTIONS
from data.formats import save_pixels
from data.images import to_image, to_pixels
from models import DLADMM
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.evaluation.restoration import restored_bands
from utils.restore.learning import Learning
from utils.restore.preparation import NOISY, UNTRAINED, Settings, Task, noisy_output, prepare
from utils.running.checkpoints import load_settings, save_network
from utils.running.errors import script
from utils.running.files import all_or_nothing
from utils.running.settings import parse_settings


def main(argv: Sequence[str] | None = None) -> None:
    """Restores the image, and prints how long it took and, if a clean one is known, its PSNR."""
    settings = parse_settings(Settings, __doc__, argv)
    with script():
        task = prepare(settings)
        watch = Stopwatch()
        network = task.network if task.learning is None else learn(task.learning)
        image = restore(task, network)
        write(task, network, image, settings, watch.seconds())


def learn(learning: Learning) -> DLADMM:
    """The network after it has learned on the image. The bar shows what is left."""
    print(f"estimated noise rate: {learning.samples.noise_rate:.1%}", file=sys.stderr)
    with tqdm(learning, "learning", learning.training.epochs, unit="epoch") as bar:
        for epoch in bar:
            bar.set_postfix(loss=f"{epoch.loss:.3f}")
    return learning.network


def restore(task: Task, network: DLADMM) -> np.ndarray:
    """The restored image with the pixel type of the stored one."""
    image, start, seen = np.empty_like(task.noisy), 0, task.observation
    with tqdm(total=len(image), desc="restoring", unit="row") as bar:
        for band in restored_bands(network, seen.grid, seen.pixels, seen.mask, seen.replace):
            image[start : start + len(band)] = band.cpu().numpy()
            start += len(band)
            bar.update(len(band))
    if task.detection is not None:
        image = task.detection.mixed(image)
    return to_pixels(image, task.stored.pixels.dtype)


def write(task: Task, network: DLADMM, image: np.ndarray, settings: Settings, seconds: float) -> None:
    """Writes the restored image and, in a test, the corrupted one, and prints their PSNR."""
    output, stored = Path(settings.output), task.stored
    pictures = {output: (image, "restored by utils.restore")}
    tested = CORRUPTIONS[settings.corruption] is not None
    if tested:
        pictures[noisy_output(output)] = (to_pixels(task.noisy, image.dtype), NOISY)
    folders = dict.fromkeys([output.parent, *([Path(settings.save).parent] if settings.save else [])])
    with all_or_nothing(*folders) as unfinished:
        for path, (pixels, description) in pictures.items():
            save_pixels(pixels, unfinished[0] / path.name, description, stored.alpha, stored.extra)
        if settings.save:
            trained = {} if settings.checkpoint == UNTRAINED else load_settings(Path(settings.checkpoint))
            learned = trained | {"learned_on": settings.image, "noise_learned": settings.learn}
            save_network(network, unfinished[-1] / Path(settings.save).name, learned)
    print(f"{output}: {' x '.join(map(str, image.shape[1::-1]))} pixels in {seconds:.1f} seconds")
    if not tested:
        print("There is no clean image to compare with, so no PSNR.")
        return
    for path, (pixels, _) in pictures.items():
        quality = [measure(to_image(pixels), to_image(stored.pixels)) for measure in (psnr, ssim)]
        print(f"{path}: PSNR {quality[0]:.2f} dB, SSIM {quality[1]:.4f}")


if __name__ == "__main__":
    main()
