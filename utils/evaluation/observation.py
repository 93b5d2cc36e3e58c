"""The observation: the corrupted image that methods restore, how good the restored image is, and the rows of that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data.damage import DAMAGES
from data.images import Image
from data.masks import FindMask
from data.patches import PatchGrid
from models import DLADMM
from utils.evaluation.metrics import Stopwatch, psnr, ssim
from utils.running.errors import UserError

Row = dict[str, Any]

# What a method knows besides the corrupted image that it restores: what it learned from, whether clean images took part
# in that, whether it knows which pixels are corrupted, and the damage that it assumes, a name in data.damage.
NOTHING_KNOWN = {"training_data": "none", "clean_targets": "no", "known_positions": "no", "noise_model": "none"}
RESULTS = (
    "method",  # noisy, median, untrained, ladmm or dladmm
    "training",  # of a network: a name in utils.sources.SOURCES
    "depth",  # layers or iterations
    *NOTHING_KNOWN,
    "training_loss",  # at the last layer, mean over the last epoch
    "objective",  # f(Z) + g(E) at the feasible point, mean over the patches of the image
    "psnr",  # dB
    "ssim",
    "seconds",  # of restoring; for a network also of training, with a PSNR in every epoch
    "gap",  # certified duality gap, mean over the patches
    "ladmm_same_objective",  # LADMM iterations to this objective
    "ladmm_same_psnr",  # and to this PSNR
)
REPLACE = ("all", "corrupted")


def replace_pixels(restored: Tensor, pixels: Tensor, mask: Tensor | None, replace: str) -> Tensor:
    """The restored values, cut to [0, 1], in place of all pixels, or of those where the mask is zero: see `REPLACE`."""
    restored = restored.clamp(0, 1)
    return torch.where(mask == 0, restored, pixels) if replace == "corrupted" else restored


def patch_masks(mask: Tensor) -> Tensor:
    """Masks (N, m) of patches, in which a patch without a known pixel is taken for fully known. Otherwise its
    restoration would be Z = 0: black, in the middle of a white sky that is taken for salt."""
    return torch.where(mask.any(dim=1, keepdim=True), mask, 1)


class Solution(NamedTuple):
    """The result of a solver after a number of layers or iterations."""

    iteration: int
    patches: Tensor  # the restored patches, (N, m)
    objective: Tensor  # (), f(Z) + g(E) at the feasible point, for Lena α‖Z‖₁ + ‖X − A Z‖₁; mean over the patches
    gap: Tensor  # (), certified duality gap, mean over the patches


class Restoration(NamedTuple):
    """An image that a method restored, and the method's row in the table of results."""

    image: Image
    row: Row


class Learned(NamedTuple):
    """A trained network, what it restored, its epochs and its layers."""

    name: str  # of its files
    network: DLADMM
    restoration: Restoration
    history: list[Row]
    layers: list[Row]
    epoch_seconds: list[float]  # of drawing samples and of all steps, for every epoch of this process


def table_of_results(restorations: Sequence[Restoration], trace: pd.DataFrame) -> pd.DataFrame:
    """The table of results, in which networks have their equivalent iterations of LADMM, whose trace is given."""
    rows = [restoration.row for restoration in restorations]
    for row in rows:
        if row["method"] == "dladmm":
            same = iterations_to(trace, row["objective"], row.get("psnr"))
            row["ladmm_same_objective"], row["ladmm_same_psnr"] = same
    return pd.DataFrame(rows, columns=list(RESULTS))


def iterations_to(trace: pd.DataFrame, objective: float, psnr: float | None) -> tuple[float, float]:
    """The iterations after which LADMM first has an objective as low, and a PSNR, if any, as high; NaN for never."""
    as_low = trace.loc[trace["objective"] <= objective, "iteration"]
    as_high = trace.loc[trace["psnr"] >= psnr, "iteration"] if psnr is not None else as_low[:0]
    return as_low.min(), as_high.min()


@dataclass(eq=False)
class Observation:
    """A corrupted image, cut into patches, with the mask of its known pixels if there is one."""

    noisy: Image
    grid: PatchGrid  # the patches of an image of that shape
    device: torch.device  # where the patches live
    find_mask: FindMask | None = None  # finds the known pixels; None if nothing is known of them
    replace: str = "all"  # pixels by restored ones, or only the "corrupted" ones, which must be known then
    clean: Image | None = None  # before it was corrupted, to measure with; None if nobody has it
    dtype: type | np.dtype = np.uint8  # of the image's pixels in its file, or uint16

    def __post_init__(self) -> None:
        if self.replace == "corrupted" and self.find_mask is None:
            raise UserError("replace is corrupted, and positions are unknown; allowed here: all")
        self.pixels = torch.from_numpy(self.noisy).to(self.device)
        self.mask = None if self.find_mask is None else torch.from_numpy(self.find_mask(self.noisy)).to(self.device)

    @cached_property
    def X(self) -> Tensor:
        """The patches of the image, (N, m)."""
        return self.grid.extract(self.pixels)

    @cached_property
    def X_mask(self) -> Tensor | None:
        """Of the known pixels of the patches, (N, m); None if nothing is known of them."""
        return None if self.mask is None else patch_masks(self.grid.extract(self.mask))

    def image_of(self, patches: Tensor) -> np.ndarray:
        """The image of restored patches (N, m), values in [0, 1]."""
        return replace_pixels(self.grid.assemble(patches), self.pixels, self.mask, self.replace).cpu().numpy()

    def figures(self, solution: Solution) -> Row:
        """Objective, PSNR in dB, if there is a clean image, and gap of a solution."""
        restored = self.image_of(solution.patches)
        return {"objective": solution.objective.item(), "psnr": self.psnr(restored), "gap": solution.gap.item()}

    def inputs(self) -> dict[str, Tensor | None]:
        """What was read from files, by name: see utils.running.provenance."""
        image = self.noisy if self.clean is None else self.clean
        return {"image": torch.from_numpy(image), "positions": self.mask}

    def out_of_distribution(self, corruption: str, safeguard_noise_rate: float, seed: int) -> dict[str, "Observation"]:
        """Inputs unlike this one, by name: random values, and the clean image, if there is one, at another rate."""
        images = {"random image": np.random.default_rng(seed).random(self.noisy.shape, dtype=np.float32)}
        if self.clean is not None:
            noisy = DAMAGES[corruption].corrupt(self.clean, safeguard_noise_rate, seed)
            images = {f"noise rate {safeguard_noise_rate:g}": noisy} | images
        return {name: Observation(image, self.grid, self.device, self.find_mask) for name, image in images.items()}

    def psnr(self, restored: Image) -> float | None:
        """PSNR in dB of a restored image; None if there is no clean image."""
        return None if self.clean is None else psnr(restored, self.clean)

    def measured(
        self, method: str, image: Image, seconds: float | None = None, solution: Solution | None = None, **columns: Any
    ) -> Restoration:
        """The restored image, made of the solution if the method, a name in utils.reporting.tables.TITLES, has one, and
        its row of the table of results. Columns say what the method knows. Without a clean image there is no PSNR."""
        row = {"method": method, "seconds": seconds} | NOTHING_KNOWN | columns
        if self.clean is not None:
            row |= {"psnr": self.psnr(image), "ssim": ssim(image, self.clean)}
        if solution is not None:
            row |= {"depth": solution.iteration, "objective": solution.objective.item(), "gap": solution.gap.item()}
            row["known_positions"] = "no" if self.mask is None else "yes"
        return Restoration(image, row)

    def solved(self, method: str, solve: Callable[..., Sequence[Solution]], *arguments: Any) -> Restoration:
        """The image of the last of the solutions, with its row of the table, which has the seconds that it took."""
        watch = Stopwatch()
        *_, last = solve(*arguments)
        return self.measured(method, self.image_of(last.patches), watch.seconds(), last)

    def filtered(self, method: str, restore: Callable[..., Image], **arguments: Any) -> Restoration:
        """The image restored by restore(noisy image, **arguments); see `solved`."""
        watch = Stopwatch()
        return self.measured(method, restore(self.noisy, **arguments), watch.seconds())

    def layer_rows(self, training: str, solutions: Sequence[Solution]) -> list[Row]:
        """The rows of a network's layers, from the solutions after each of them."""
        network = {"training": training, "depth": len(solutions)}
        return [network | {"layer": solution.iteration} | self.figures(solution) for solution in solutions]
