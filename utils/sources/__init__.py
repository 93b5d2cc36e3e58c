"""What networks learn from: sources of patches for each training. A new training is a class and a line in `SOURCES`."""

from collections.abc import Callable
from typing import Any

from data.damage import NONE
from models import Problem
from models.losses import Loss, pick_loss
from utils.evaluation.observation import Observation
from utils.running.errors import UserError
from utils.sources.patches import NoisyAndCleanPatches, NoisyPatches, PatchSource, RecorruptedPatches

# What a training draws its patches from: (settings of main_lena.py, observation) -> source. Unsupervised is that of the
# paper, with f(Z) + g(E) at E := X − A Z as its loss; the self-supervised loss is the distance to the noisy image.
SOURCES: dict[str, Callable[[Any, Observation], PatchSource]] = {
    "unsupervised": lambda s, seen: NoisyPatches(seen.pixels, seen.grid.patch, s.seed, seen.mask),
    "self_supervised": lambda s, seen: RecorruptedPatches(
        seen.pixels, seen.grid.patch, s.noise_of_image, s.seed, seen.mask,
    ),
    "supervised": lambda s, seen: NoisyAndCleanPatches(
        seen.grid.patch, s.noise_of_image, s.training_rates or s.noise_rate, s.seed, s.training_images,
        seen.find_mask, seen.pixels.device, not_from=s.image,
    ),
}  # fmt: skip


def pick_lesson(training: str, settings: Any, seen: Observation, problem: Problem) -> tuple[PatchSource, Loss]:
    """What a training draws its patches from, and the loss of every layer, which has to fit it and the problem."""
    source = SOURCES[training](settings, seen)
    name = source.loss if settings.loss == "auto" else settings.loss
    fitting, masked = (lambda loss: loss.targets == source.targets), seen.mask is not None
    return source, pick_loss(name, fitting, f"{training} training", problem, masked)


def check_use(settings: Any) -> None:
    """Refuses settings of main_lena.py that nothing would use."""
    unused = {"training_rates": "supervised training", "training_images": "supervised training"}
    if settings.corruption == NONE:
        unused["noise_rate"] = "a damage that is done to the image"
    for name, use in unused.items() if "supervised" not in settings.training else ():
        if getattr(settings, name) != getattr(type(settings), name):
            raise UserError(f"{name} is set, which is for {use}; allowed here: its default")
