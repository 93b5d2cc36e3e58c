"""The observation: what methods are given of an image, and what the image that they restore from it is worth."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from data.patches import PatchGrid
from data.positions import Weigh
from utils.tables import Knowledge, Restoration, Result

REPLACE = ("all", "corrupted")


def check_replace(replace: str, weigh: Weigh | None) -> None:
    """Refuses to replace the corrupted pixels alone if nobody knows which they are.

    Raises:
        ValueError: see above.
    """
    if replace == "corrupted" and weigh is None:
        raise ValueError("replace is corrupted, and positions are unknown; allowed here: all")


def replaced(restored: Tensor, pixels: Tensor, weights: Tensor | None, replace: str) -> Tensor:
    """The image of restored values, cut to [0, 1], in place of all `pixels` or of those with weight zero: `REPLACE`."""
    restored = restored.clamp(0, 1)
    return torch.where(weights == 0, restored, pixels) if replace == "corrupted" else restored


def patch_weights(weights: Tensor) -> Tensor:
    """Weights (N, m) of patches, all one in place of all zero: of such a patch nothing is known but what it shows.

    Otherwise its restoration would be Z = 0, black, in the middle of a white sky that is taken for salt.
    """
    return torch.where(weights.any(dim=1, keepdim=True), weights, 1)


class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds until now."""
        return time.perf_counter() - self.started


class Solution(NamedTuple):
    """What a solver has reached after a number of layers or iterations."""

    iteration: int
    patches: Tensor  # the restored patches, (N, m)
    objective: float  # f(Z) + g(E) at the feasible point, for Lena α‖Z‖₁ + ‖X − A Z‖₁; mean over the patches
    gap: float  # certified duality gap, mean over the patches


class Observation:
    """A corrupted image, cut into patches, with what is known of it.

    Args:
        noisy: values in [0, 1], float32, (height, width) or (height, width, channels).
        grid: the patches of an image of that shape.
        device: where the patches live.
        weigh: what tells the corrupted positions; None if nothing does.
        replace: "all" pixels by restored ones, or only the "corrupted", whose positions are known then.
        clean: the image before it was corrupted, to measure with; None if nobody has it.

    Raises:
        ValueError: the corrupted pixels alone are to be replaced, and nobody knows which they are.
    """

    def __init__(
        self,
        noisy: np.ndarray,
        grid: PatchGrid,
        device: torch.device,
        weigh: Weigh | None = None,
        replace: str = "all",
        clean: np.ndarray | None = None,
    ) -> None:
        check_replace(replace, weigh)
        self.grid = grid
        self.noisy = noisy
        self.clean = clean
        self.replace = replace
        self.knows = Knowledge(corrupted_positions="no" if weigh is None else "yes")
        self.pixels = torch.from_numpy(noisy).to(device)
        self.weights = None if weigh is None else torch.from_numpy(weigh(noisy)).to(device)
        self.X = grid.extract(self.pixels)
        self.X_weights = None if self.weights is None else patch_weights(grid.extract(self.weights))

    def image_of(self, solution: Solution) -> np.ndarray:
        """The image of restored patches, values in [0, 1]."""
        restored = self.grid.assemble(solution.patches)
        return replaced(restored, self.pixels, self.weights, self.replace).cpu().numpy()

    def psnr(self, solution: Solution) -> float | None:
        """PSNR in dB of the image of restored patches; None if there is no clean image."""
        return None if self.clean is None else psnr(self.image_of(solution), self.clean)

    def measured(
        self,
        method: str,
        image: np.ndarray,
        seconds: float | None = None,
        solution: Solution | None = None,
        **details: Any,
    ) -> Restoration:
        """The restored image with its row of the table of results; without a clean image the row has no PSNR."""
        details = {"seconds": seconds} | details
        if self.clean is not None:
            details |= {"psnr": psnr(image, self.clean), "ssim": ssim(image, self.clean)}
        if solution:
            details |= {"depth": solution.iteration, "objective": solution.objective, "gap": solution.gap}
            details = {"knows": self.knows} | details
        return Restoration(image, Result(method=method, **details))

    def solved(self, method: str, solve: Callable[..., Solution], *arguments: Any) -> Restoration:
        """The restored image of solve(*arguments), with its row of the table and the seconds that it took."""
        watch = Stopwatch()
        solution = solve(*arguments)
        image = self.image_of(solution)
        return self.measured(method, image, watch.seconds(), solution)


def psnr(restored: np.ndarray, clean: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, as scikit-image defines it, of images with values in [0, 1]."""
    with np.errstate(divide="ignore"):  # equal images: infinite
        return float(peak_signal_noise_ratio(clean, restored, data_range=1))


def ssim(restored: np.ndarray, clean: np.ndarray) -> float:
    """Structural similarity, as scikit-image defines it, of images with values in [0, 1], grey or colour."""
    return float(structural_similarity(clean, restored, data_range=1, channel_axis=-1 if clean.ndim == 3 else None))
