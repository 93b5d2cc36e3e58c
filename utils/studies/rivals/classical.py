"""Methods that learn nothing: total variation, biharmonic inpainting, non-local means, LADMM to convergence."""

from functools import cache

import numpy as np
import torch
from skimage.restoration import denoise_nl_means

from data import masks
from data.dictionary import load_dictionary
from data.masks import FindMask, extremes
from data.patches import PatchGrid, patch_side
from main_lena import Settings
from models import Problem
from utils.evaluation.observation import Observation
from utils.evaluation.solvers import solve_to_convergence
from utils.studies.rivals.medians import impulses

DEFAULTS = Settings()
BETA, TOLERANCE, MAX_ITERATIONS = DEFAULTS.ladmm_beta, DEFAULTS.ladmm_tolerance, DEFAULTS.ladmm_max_iterations
dictionary = cache(load_dictionary)


def inpainted(noisy: np.ndarray, find_mask: FindMask = extremes) -> np.ndarray:
    """Biharmonic inpainting of what `find_mask` takes for corrupted, see data.masks."""
    return masks.inpainted(noisy, find_mask(noisy))


def inpainted_impulses(scale: float, noisy: np.ndarray) -> np.ndarray:
    """Biharmonic inpainting of the impulses that the adaptive centre-weighted median finds, with that scale."""
    return inpainted(noisy, lambda image: ~impulses(scale, image)[1])


def inpainted_and_smoothed(
    weight: float, noisy: np.ndarray, find_mask: FindMask = extremes, deviation: float = 0.04
) -> np.ndarray:
    """Biharmonic inpainting of the corrupted pixels, then scikit-image's non-local means (Buades, Coll & Morel 2005).

    Args:
        weight: h of non-local means, in standard deviations of the Gaussian noise.
        noisy: (height, width), values in [0, 1].
        find_mask: finds the known pixels.
        deviation: that standard deviation.
    """
    smoothed = denoise_nl_means(inpainted(noisy, find_mask), 5, 6, h=weight * deviation, sigma=deviation)
    return smoothed.clip(0, 1).astype(np.float32)


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


def converged_ladmm(alpha: float, noisy: np.ndarray, stride: int = 16, find_mask: FindMask | None = None) -> np.ndarray:
    """LADMM with f = alpha ‖·‖₁ to convergence, with the defaults of main_lena.py.

    Args:
        alpha: the weight of f.
        noisy: (height, width), values in [0, 1].
        stride: pixels from a patch to the next; they overlap if it is below 16.
        find_mask: finds the known pixels; only the others are replaced then. None if nothing is known.
    """
    side, replace = patch_side(len(dictionary())), "all" if find_mask is None else "corrupted"
    grid = PatchGrid(noisy.shape, side, stride)
    observation = Observation(noisy, grid, torch.device("cpu"), find_mask, replace)
    problem, X, mask = Problem(dictionary(), alpha), observation.X, observation.X_mask
    return observation.image_of(solve_to_convergence(problem, X, mask, BETA, TOLERANCE, MAX_ITERATIONS).patches)
