"""Patches in rows: cut from an image on a grid, put back together, or drawn at random."""

import torch
from torch import Tensor


class PatchGrid:
    """The square patches that cover an image: one every `stride` pixels, and a last one flush with each border.

    Patches come in rows of patch² values, in the order of the image's rows; `assemble(extract(image)) == image`.

    Args:
        shape: (height, width) of the image.
        patch: side of a patch in pixels.
        stride: pixels from one patch to the next, 1 to patch.

    Raises:
        ValueError: the image is smaller than a patch, or the stride leaves gaps.
    """

    def __init__(self, shape: tuple[int, int], patch: int, stride: int) -> None:
        if min(shape) < patch:
            raise ValueError(f"image is {shape[1]} x {shape[0]} pixels; allowed: at least {patch} x {patch}, one patch")
        if not 1 <= stride <= patch:
            raise ValueError(f"stride is {stride}; allowed: 1 to {patch}, the side of a patch")
        self.shape = shape
        self.patch = patch
        self.tops, self.lefts = (
            torch.tensor(sorted({*range(0, length - patch + 1, stride), length - patch})) for length in shape
        )

    def extract(self, image: Tensor) -> Tensor:
        """All patches of the image: (height, width) -> (N, patch²)."""
        return windows(image, self.patch)[self.tops][:, self.lefts].reshape(-1, self.patch**2)

    def assemble(self, patches: Tensor) -> Tensor:
        """The image of which these are the patches, their mean where they overlap: (N, patch²) -> (height, width).

        The sums are in float64, which adds up as many equal float32 values as can overlap without rounding: where
        patches agree, the image has their value bit for bit.
        """
        values = patches.double().reshape(len(self.tops), len(self.lefts), self.patch, self.patch)
        total = torch.zeros(self.shape, dtype=torch.float64, device=patches.device)
        count = torch.zeros_like(total)
        for row in range(
            self.patch
        ):  # pixel by pixel of a patch, all patches at once: no two then add to the same place
            for column in range(self.patch):
                here = (self.tops[:, None] + row, self.lefts + column)
                total[here] += values[:, :, row, column]
                count[here] += 1
        return (total / count).to(patches.dtype)


def random_patches(image: Tensor, patch: int, count: int, generator: torch.Generator) -> Tensor:
    """Patches at positions drawn uniformly, with replacement, from all: (…, height, width) -> (…, count, patch²).

    Images of one size that are stacked in front give patches at the same positions.
    """
    every = windows(image, patch)
    tops, lefts = (torch.randint(size, (count,), generator=generator).to(image.device) for size in every.shape[-4:-2])
    return every[..., tops, lefts, :, :].flatten(-2)


def windows(image: Tensor, patch: int) -> Tensor:
    """Every patch, a view: (…, height, width) -> (…, height − patch + 1, width − patch + 1, patch, patch)."""
    return image.unfold(-2, patch, 1).unfold(-2, patch, 1)
