"""Methods that minimise something: total variation, biharmonic inpainting, LADMM to convergence."""

from functools import cache

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from data.dictionary import load_dictionary
from data.masks import FindMask, extremes
from data.patches import PatchGrid, patch_side
from models import Problem
from utils.evaluation.observation import Observation
from utils.evaluation.solvers import solve_to_convergence

BETA, TOLERANCE, MAX_ITERATIONS = 3.0, 0.01, 2000  # of LADMM, as in main_lena.py
dictionary = cache(load_dictionary)


def inpainted(find_mask: FindMask, noisy: np.ndarray) -> np.ndarray:
    """scikit-image's biharmonic inpainting (Damelin & Hoang 2018) of what `find_mask` takes for corrupted."""
    return inpaint_biharmonic(noisy, find_mask(noisy) == 0).clip(0, 1).astype(np.float32)


def total_variation(weight: float, noisy: np.ndarray, iterations: int = 300) -> np.ndarray:
    """Total variation with the ℓ1 data term, for impulses: the u with the least TV(u) + weight ‖u − noisy‖₁.

    Here TV(u) = Σ |∇u|, with forward differences (Nikolova 2004; Chan & Esedoglu 2005). The minimiser is found by the
    primal-dual iteration of Chambolle & Pock (2011, algorithm 1), whose steps σ = τ = 8^-½ suit ‖∇‖² ≤ 8:

        p⁺ = projection of p + σ ∇ū onto |p| ≤ 1 at every pixel,
        u⁺ = noisy + soft threshold of u + τ div p⁺ − noisy at τ · weight,    ū⁺ = 2 u⁺ − u.

    Args:
        weight: of the data term.
        noisy: (height, width), values in [0, 1].
        iterations: how many.
    """
    step = 8**-0.5
    u = extrapolated = noisy
    down, right = np.zeros_like(noisy), np.zeros_like(noisy)
    for _ in range(iterations):
        down[:-1] += step * np.diff(extrapolated, axis=0)
        right[:, :-1] += step * np.diff(extrapolated, axis=1)
        size = np.maximum(1, np.hypot(down, right))
        down, right = down / size, right / size
        divergence = np.diff(down, axis=0, prepend=np.float32(0)) + np.diff(right, axis=1, prepend=np.float32(0))
        difference = u + step * divergence - noisy
        new = noisy + difference - difference.clip(-step * weight, step * weight)
        u, extrapolated = new, 2 * new - u
    return u.clip(0, 1)


def converged_ladmm(alpha: float, noisy: np.ndarray) -> np.ndarray:
    """LADMM with f = alpha ‖·‖₁ until its gap is at most a hundredth of the objective; patches do not overlap."""
    return _ladmm(alpha, noisy, 0)


def converged_ladmm_with_overlap(alpha: float, noisy: np.ndarray) -> np.ndarray:
    """The same with a patch every 8 pixels."""
    return _ladmm(alpha, noisy, 8)


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
