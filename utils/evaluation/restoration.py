"""Restoring an image of any size with a trained network: patches in batches, bands from top to bottom."""

from collections.abc import Iterator

import torch
from torch import Tensor

from data.patches import PatchGrid, patch_side
from models import DLADMM
from models.training import compile_layers
from utils.evaluation.observation import patch_masks, replace_pixels
from utils.evaluation.solvers import restore_patches
from utils.running.devices import RESTORING, pick_compiled

BAND = {"cpu": 4096, "cuda": 65_536}  # patches that are cut out at once: bounds the memory that a restoration takes


def grid_for(network: DLADMM, shape: tuple[int, ...], stride: int = 0) -> PatchGrid:
    """The patches of an image that the network restores.

    Args:
        network: gives the side of a patch.
        shape: (height, width) or (height, width, channels).
        stride: pixels from one patch to the next; 0 stands for half the side of a patch.

    Raises:
        InvalidInput: the network restores no square patches, the image is smaller than one, or the stride leaves gaps.
    """
    side = patch_side(len(network.problem.A))
    return PatchGrid(shape, side, stride or (side + 1) // 2)


@torch.no_grad()
def restored_bands(
    network: DLADMM, grid: PatchGrid, image: Tensor, mask: Tensor | None, replace: str = "all"
) -> Iterator[Tensor]:
    """Yields the image that the network's last layer restores, band after band from top to bottom, in [0, 1].

    For a large image the network's layers are compiled.

    Args:
        network: restores the grid's patches.
        grid: the patches.
        image: the corrupted image, of the grid's shape, values in [0, 1].
        mask: of the known pixels, of the grid's shape; None if positions are unknown.
        replace: which pixels, one of `REPLACE` in utils.evaluation.observation.
    """

    def solve(X: Tensor, X_mask: Tensor | None = None) -> Tensor:
        if X_mask is None:
            return restore_patches(network, X)
        if replace == "all":
            return restore_patches(network, X, patch_masks(X_mask))
        damaged = (X_mask == 0).any(dim=1)  # of the others nothing is replaced
        if not damaged.any():
            return X
        restored = X.clone()
        restored[damaged] = restore_patches(network, X[damaged], patch_masks(X_mask[damaged]))
        return restored

    if pick_compiled("auto", RESTORING * len(grid) * len(network.layers), image.device):
        compile_layers(network)
    start, images = 0, [image] if mask is None else [image, mask]
    for band in grid.process(solve, *images, batch=BAND[image.device.type]):
        rows = slice(start, start + len(band))
        start += len(band)
        yield replace_pixels(band, image[rows], None if mask is None else mask[rows], replace)


def restored_image(
    network: DLADMM, grid: PatchGrid, image: Tensor, mask: Tensor | None = None, replace: str = "all"
) -> Tensor:
    """The whole image at once; see `restored_bands`."""
    return torch.cat(list(restored_bands(network, grid, image, mask, replace)))
