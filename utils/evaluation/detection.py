"""Finding the corrupted pixels with a network: what it changes is noise."""

import numpy as np
import torch

from data.masks import UNCHANGED, FindMask
from models import DLADMM
from utils.evaluation.restoration import grid_for, restored_image


def changed_extremes(network: DLADMM) -> FindMask:
    """Black and white pixels are taken for corrupted if a network for unknown positions changes them.

    It sees their surroundings, so a burnt sky, a black border and letters are kept. A pixel that it changes by less
    than data.masks.UNCHANGED is hardly wrong, whether it was hit or not.

    Args:
        network: trained with unknown positions.
    """

    def find_mask(noisy: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(noisy).to(network.problem.A.device)
        restored = restored_image(network, grid_for(network, noisy.shape), pixels).cpu().numpy()
        between = (noisy > 0) & (noisy < 1)
        return np.float32(between | (np.abs(restored - noisy) < UNCHANGED["salt_and_pepper"]))

    return find_mask
