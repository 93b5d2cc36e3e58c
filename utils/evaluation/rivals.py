"""Other methods to compare with, which learn nothing: functions noisy image -> restored image, values in [0, 1]."""

from functools import cache

import numpy as np
import torch
from scipy.ndimage import median_filter
from skimage.restoration import denoise_tv_chambolle, inpaint_biharmonic

from data.dictionary import load_dictionary
from data.masks import FindMask, extremes
from data.patches import PatchGrid, patch_side
from models import Problem
from utils.evaluation.observation import Observation
from utils.evaluation.solvers import solve_to_convergence

BETA, TOLERANCE, MAX_ITERATIONS = 3.0, 0.01, 2000  # of LADMM, as in main_lena.py
dictionary = cache(load_dictionary)


def median(size: int, noisy: np.ndarray) -> np.ndarray:
    """The median of the size x size square around each pixel."""
    return median_filter(noisy, size=size, axes=(0, 1))


def median_of_extremes(noisy: np.ndarray, find_mask: FindMask = extremes) -> np.ndarray:
    """The 3 x 3 median where the image is corrupted, by default black or white, and the image elsewhere."""
    return np.where(find_mask(noisy) == 0, median(3, noisy), noisy)


def inpaint_extremes(noisy: np.ndarray, find_mask: FindMask = extremes) -> np.ndarray:
    """scikit-image's biharmonic inpainting where the image is corrupted, by default black or white."""
    return inpaint_biharmonic(noisy, find_mask(noisy) == 0).clip(0, 1).astype(np.float32)


def total_variation(weight: float, noisy: np.ndarray) -> np.ndarray:
    """scikit-image's total variation denoising."""
    return denoise_tv_chambolle(noisy, weight).clip(0, 1).astype(np.float32)


def converged_ladmm(alpha: float, noisy: np.ndarray, stride: int = 0) -> np.ndarray:
    """LADMM until its gap is at most a hundredth of the objective.

    Args:
        alpha: weight of f.
        noisy: the image.
        stride: pixels from one patch to the next; 0 stands for the side of a patch, without overlap.
    """
    return _ladmm(alpha, noisy, stride)


def converged_ladmm_of_extremes(alpha: float, noisy: np.ndarray) -> np.ndarray:
    """The same where black and white pixels are known to be corrupted. Only they are replaced."""
    return _ladmm(alpha, noisy, 0, extremes, "corrupted")


def _ladmm(
    alpha: float, noisy: np.ndarray, stride: int, find_mask: FindMask | None = None, replace: str = "all"
) -> np.ndarray:
    side = patch_side(len(dictionary()))
    grid = PatchGrid(noisy.shape, side, stride or side)
    observation = Observation(noisy, grid, torch.device("cpu"), find_mask, replace)
    problem = Problem(dictionary(), alpha).masked(observation.X_mask)
    return observation.image_of(solve_to_convergence(problem, observation.X, BETA, TOLERANCE, MAX_ITERATIONS).patches)
