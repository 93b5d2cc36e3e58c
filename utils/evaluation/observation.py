"""The observation: the corrupted image that methods restore, and how good the restored image is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.damage import Damage
from data.masks import FindMask
from data.patches import PatchGrid
from utils.evaluation.metrics import Stopwatch, decibels, psnr, ssim
from utils.evaluation.records import LayerRecord, Restoration, Result, SideInformation
from utils.running.errors import UserError

REPLACE = ("all", "corrupted")


def replace_pixels(restored: Tensor, pixels: Tensor, mask: Tensor | None, replace: str) -> Tensor:
    """The restored values, cut to [0, 1], in place of all pixels, or of those where the mask is zero: see `REPLACE`."""
    restored = restored.clamp(0, 1)
    return torch.where(mask == 0, restored, pixels) if replace == "corrupted" else restored


def patch_masks(mask: Tensor) -> Tensor:
    """Masks (N, m) of patches, in which a patch without a known pixel is taken for fully known.

    Otherwise its restoration would be Z = 0: black, in the middle of a white sky that is taken for salt.
    """
    return torch.where(mask.any(dim=1, keepdim=True), mask, 1)


class Solution(NamedTuple):
    """The result of a solver after a number of layers or iterations. Nothing of it has been read from the device."""

    iteration: int
    patches: Tensor  # the restored patches, (N, m)
    objective: Tensor  # (), f(Z) + g(E) at the feasible point, for Lena α‖Z‖₁ + ‖X − A Z‖₁; mean over the patches
    gap: Tensor  # (), certified duality gap, mean over the patches


class Observation:
    """A corrupted image, cut into patches, with the mask of its known pixels if there is one.

    Args:
        noisy: values in [0, 1], float32, (height, width) or (height, width, channels).
        grid: the patches of an image of that shape.
        device: where the patches live.
        find_mask: finds the known pixels; None if nothing is known of them.
        replace: "all" pixels by restored ones, or only the "corrupted" ones, which must be known then.
        clean: the image before it was corrupted, to measure with; None if nobody has it.
        dtype: of the image's pixels in its file, uint8 or uint16.

    Raises:
        UserError: only the corrupted pixels are to be replaced, and they are unknown.
    """

    def __init__(
        self,
        noisy: np.ndarray,
        grid: PatchGrid,
        device: torch.device,
        find_mask: FindMask | None = None,
        replace: str = "all",
        clean: np.ndarray | None = None,
        dtype: type | np.dtype = np.uint8,
    ) -> None:
        if replace == "corrupted" and find_mask is None:
            raise UserError("replace is corrupted, and positions are unknown; allowed here: all")
        self.grid = grid
        self.noisy = noisy
        self.clean = clean
        self.find_mask = find_mask
        self.replace = replace
        self.dtype = dtype
        self.pixels = torch.from_numpy(noisy).to(device)
        self.clean_pixels = None if clean is None else torch.from_numpy(clean).to(device).double()
        self.mask = None if find_mask is None else torch.from_numpy(find_mask(noisy)).to(device)

    @cached_property
    def X(self) -> Tensor:
        """The patches of the image, (N, m)."""
        return self.grid.extract(self.pixels)

    @cached_property
    def X_mask(self) -> Tensor | None:
        """Of the known pixels of the patches, (N, m); None if nothing is known of them."""
        return None if self.mask is None else patch_masks(self.grid.extract(self.mask))

    def pixels_of(self, patches: Tensor) -> Tensor:
        """The image of restored patches (N, m), values in [0, 1], on their device."""
        return replace_pixels(self.grid.assemble(patches), self.pixels, self.mask, self.replace)

    def image_of(self, patches: Tensor) -> np.ndarray:
        """The image of restored patches (N, m), values in [0, 1]."""
        return self.pixels_of(patches).cpu().numpy()

    def figures(self, solution: Solution) -> Tensor:
        """Objective, mean squared error of the image and gap of a solution, (3,), left on the device: see `read`."""
        error = solution.objective.new_zeros((), dtype=torch.float64)
        if self.clean_pixels is not None:
            error = (self.pixels_of(solution.patches).double() - self.clean_pixels).square().mean()
        return torch.stack([solution.objective.double(), error, solution.gap.double()])

    def read(self, figures: Sequence[Tensor]) -> list[tuple[float, float | None, float]]:
        """Objective, PSNR in dB and gap of many solutions, read from the device at once; see `figures`.

        The PSNR is None if there is no clean image.
        """
        rows = torch.stack(list(figures)).tolist()
        return [(objective, None if self.clean is None else decibels(error), gap) for objective, error, gap in rows]

    def inputs(self) -> dict[str, Tensor | None]:
        """What was read from files, by name: see utils.running.provenance."""
        image = self.noisy if self.clean is None else self.clean
        return {"image": torch.from_numpy(image), "positions": self.mask}

    def out_of_distribution(self, damage: Damage | None, rate: float, seed: int) -> dict[str, "Observation"]:
        """Inputs unlike this one, by name: the image at another noise rate, if there is a clean one, and random values.

        Args:
            damage: what is done to it; None if there is no clean one.
            rate: the noise rate.
            seed: of the corruption, and of the random values.
        """
        images = {"random image": np.random.default_rng(seed).random(self.noisy.shape, dtype=np.float32)}
        if self.clean is not None:
            images = {f"noise rate {rate:g}": damage.corrupt(self.clean, rate, seed)} | images
        device = self.pixels.device
        return {name: Observation(image, self.grid, device, self.find_mask) for name, image in images.items()}

    def psnr(self, restored: np.ndarray) -> float | None:
        """PSNR in dB of a restored image; None if there is no clean image."""
        return None if self.clean is None else psnr(restored, self.clean)

    def measured(
        self,
        method: str,
        image: np.ndarray,
        seconds: float | None = None,
        solution: Solution | None = None,
        side_information: SideInformation | None = None,
        **columns: Any,
    ) -> Restoration:
        """The restored image with its row of the table of results. Without a clean image the row has no PSNR.

        Args:
            method: a name in records.TITLES.
            image: the restored image.
            seconds: the time that it took.
            solution: of which it is made; None for a method that does not solve the problem.
            side_information: what the method knows; whether positions are known is added here for a solution.
            columns: further columns of the row.
        """
        side_information = side_information or SideInformation()
        if self.clean is not None:
            columns |= {"psnr": psnr(image, self.clean), "ssim": ssim(image, self.clean)}
        if solution is not None:
            columns |= {"depth": solution.iteration, "objective": solution.objective.item(), "gap": solution.gap.item()}
            side_information = replace(side_information, known_positions="no" if self.mask is None else "yes")
        row = Result(method=method, seconds=seconds, side_information=side_information, **columns)
        return Restoration(image, row)

    def solved(self, method: str, solve: Callable[..., Solution], *arguments: Any) -> Restoration:
        """The image restored by solve(*arguments), with its row of the table, which has the seconds that it took."""
        watch = Stopwatch()
        solution = solve(*arguments)
        image = self.image_of(solution.patches)
        return self.measured(method, image, watch.seconds(), solution)

    def filtered(self, method: str, restore: Callable[..., np.ndarray], **arguments: Any) -> Restoration:
        """The image restored by restore(noisy image, **arguments); see `solved`."""
        watch = Stopwatch()
        image = restore(self.noisy, **arguments)
        return self.measured(method, image, watch.seconds())

    def layer_records(self, training: str, solutions: Sequence[Solution]) -> list[LayerRecord]:
        """The rows of a network's layers, from the solutions after each of them."""
        figures = self.read([self.figures(solution) for solution in solutions])
        return [LayerRecord(training, len(solutions), layer, *row) for layer, row in enumerate(figures, start=1)]
