"""Restoring an image of any size with a trained network, and finding the corrupted pixels by what one changes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from data.damage import DAMAGES
from data.images import Image
from data.masks import Mask
from data.patches import PatchGrid, patch_side
from models import DLADMM
from models.training import compile_layers
from utils.evaluation.observation import patch_masks, replace_pixels
from utils.evaluation.solvers import restore_patches
from utils.running.devices import RESTORING, pick_compiled

BAND = {"cpu": 4096, "cuda": 65_536}  # patches that are cut out at once: bounds the memory that a restoration takes
AROUND = 31  # pixels; side of the square in which kept black and white pixels are counted


def grid_for(network: DLADMM, shape: tuple[int, ...], stride: int = 0) -> PatchGrid:
    """The patches of an image of that shape that the network restores; stride 0 stands for half the side of a patch."""
    side = patch_side(len(network.problem.A))
    return PatchGrid(shape, side, stride or (side + 1) // 2)


@torch.no_grad()
def restored_image(
    network: DLADMM,
    grid: PatchGrid,
    image: Tensor,
    mask: Tensor | None = None,  # of the known pixels, of the image's shape
    replace: str = "all",  # a name in `REPLACE` of utils.evaluation.observation
    after_band: Callable[[int], object] = lambda rows: None,  # is told how many further rows are restored
) -> Tensor:
    """The image that the network's last layer restores, values in [0, 1]. For a large one the layers are compiled."""

    def solve(X: Tensor, X_mask: Tensor | None = None) -> Tensor:
        if X_mask is None or replace == "all":
            return restore_patches(network, X, None if X_mask is None else patch_masks(X_mask))
        damaged = (X_mask == 0).any(dim=1)  # of the others nothing is replaced
        restored = X.clone()
        if damaged.any():
            restored[damaged] = restore_patches(network, X[damaged], patch_masks(X_mask[damaged]))
        return restored

    if pick_compiled("auto", RESTORING * len(grid) * len(network.layers), image.device):
        compile_layers(network)
    bands, masks = [], () if mask is None else (mask,)
    for band in grid.process(solve, image, *masks, batch=BAND[image.device.type]):
        bands.append(band)
        after_band(len(band))
    return replace_pixels(torch.cat(bands), image, mask, replace)


class Detection(NamedTuple):
    """The black and white pixels of an image that a network takes for corrupted, and what it puts there."""

    mask: Mask  # of the known pixels
    restored: Image  # the image as that network restores it
    doubt: np.ndarray  # 0 to 1: the share of the black and white pixels around that are kept

    def mixed(self, restored: Image) -> Image:
        """The image that a network for known positions restores, mixed with this one's in the share of the doubt.

        Where black and white are colours of the photograph as well, some corrupted pixels are missed, and some good
        ones are taken for corrupted. The network for known positions relies on the mask, the detecting one does not.
        """
        return np.where(self.mask == 0, restored + self.doubt * (self.restored - restored), restored)


def detect(noisy: Image, restored: Image) -> Detection:
    """Takes black and white pixels for corrupted that a network for unknown positions changes: it gave `restored`.

    It sees their surroundings, so a burnt sky and a black border are kept; of thin lines and letters some strokes are
    lost. A pixel that it changes by less than its tolerance (data.damage) is hardly wrong, whether it was hit or not.
    """
    extreme = (noisy == 0) | (noisy == 1)
    kept = extreme & (np.abs(restored - noisy) < DAMAGES["salt_and_pepper"].tolerance)
    of_kept, of_extremes = (uniform_filter(np.float64(chosen), AROUND, axes=(0, 1)) for chosen in (kept, extreme))
    doubt = np.divide(of_kept, of_extremes, out=np.zeros_like(of_kept), where=extreme)
    return Detection(np.float32(~extreme | kept), restored, doubt.astype(np.float32))
