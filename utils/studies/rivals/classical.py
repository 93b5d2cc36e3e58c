"""Methods that learn nothing: total variation; biharmonic inpainting of known positions, or of the impulses that the
adaptive centre-weighted median finds ("its detector"); non-local means after that; LADMM to convergence."""

from functools import cache, partial

import numpy as np
import torch
from skimage.restoration import denoise_nl_means

from data import masks
from data.damage import GaussianAndImpulses
from data.dictionary import load_dictionary
from data.images import Image
from data.masks import FindMask, extremes
from data.patches import PatchGrid, patch_side
from main_lena import Settings
from models import Problem
from utils.evaluation.observation import Observation
from utils.evaluation.solvers import solve_to_convergence
from utils.studies.rivals import Method
from utils.studies.rivals.medians import SCALES, impulses

FAMILY = "optimization"
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7)  # of LADMM, from which the validation images choose
TV_WEIGHTS = (0.6, 0.8, 1.0, 1.2, 1.5, 1.8, 2.2, 2.7)  # of the data term, likewise
SMOOTHING = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)  # of non-local means, likewise
SOLVING = Settings().chosen("ladmm_beta", "ladmm_tolerance", "ladmm_max_iterations").values()
dictionary = cache(load_dictionary)


def inpainted(noisy: Image, find_mask: FindMask = extremes) -> Image:
    """Biharmonic inpainting of what `find_mask` takes for corrupted, see data.masks."""
    return masks.inpainted(noisy, find_mask(noisy))


def inpainted_impulses(scale: float, noisy: Image) -> Image:
    """Biharmonic inpainting of the impulses that the adaptive centre-weighted median finds, with that scale."""
    return inpainted(noisy, lambda image: ~impulses(scale, image)[1])


def inpainted_and_smoothed(weight: float, noisy: Image, find_mask: FindMask = extremes) -> Image:
    """Biharmonic inpainting of the corrupted pixels, then scikit-image's non-local means (Buades, Coll & Morel 2005).
    The weight is their h, in standard deviations of the Gaussian noise."""
    deviation = GaussianAndImpulses.DEVIATION
    smoothed = denoise_nl_means(inpainted(noisy, find_mask), 5, 6, h=weight * deviation, sigma=deviation)
    return smoothed.clip(0, 1).astype(np.float32)


def total_variation(weight: float, noisy: Image, iterations: int = 300) -> Image:
    """Total variation with the ℓ1 data term, for impulses: the u with the least TV(u) + weight ‖u − noisy‖₁.

    Here TV(u) = Σ |∇u|, with forward differences (Nikolova 2004; Chan & Esedoglu 2005). The minimiser is found by the
    primal-dual iteration of Chambolle & Pock (2011, algorithm 1), whose steps σ = τ = 8^-½ suit ‖∇‖² ≤ 8:

        p⁺ = projection of p + σ ∇ū onto |p| ≤ 1 at every pixel,
        u⁺ = noisy + soft threshold of u + τ div p⁺ − noisy at τ · weight,    ū⁺ = 2 u⁺ − u.
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


def converged_ladmm(alpha: float, noisy: Image, stride: int = 16, find_mask: FindMask | None = None) -> Image:
    """LADMM with f = alpha ‖·‖₁ to convergence, with the defaults of main_lena.py; where positions are known, the
    corrupted pixels alone are replaced."""
    side, replace = patch_side(len(dictionary())), "all" if find_mask is None else "corrupted"
    seen = Observation(noisy, PatchGrid(noisy.shape, side, stride), torch.device("cpu"), find_mask, replace)
    solution = solve_to_convergence(Problem(dictionary(), alpha), seen.X, seen.X_mask, *SOLVING)
    return seen.image_of(solution.patches)


INPAINTING, LADMM, TWO = "biharmonic inpainting", "LADMM to convergence", ("salt_and_pepper", "random_valued")
overlapping = partial(converged_ladmm, stride=8)
METHODS = [
    Method(
        "inpainted_impulses", f"its detector, {INPAINTING}", inpainted_impulses, SCALES, damages=("random_valued",),
        readme=INPAINTING,
    ),
    Method(
        "total_variation", "total variation, ℓ1 data term", total_variation, TV_WEIGHTS,
        experiments=(*TWO, "noise_rates", "mixed", "colour"),
    ),
    Method(
        "inpainting", INPAINTING, inpainted, positions="yes", damages=("salt_and_pepper", "missing_blocks"),
        readme=INPAINTING,
    ),
    Method(
        "smoothed_inpainting", f"{INPAINTING}, non-local means", inpainted_and_smoothed, SMOOTHING, "yes",
        damages=("gaussian_and_impulses",),
    ),
    Method("ladmm_16", f"{LADMM}, stride 16", converged_ladmm, ALPHAS, experiments=TWO),
    Method(
        "ladmm_8", f"{LADMM}, stride 8", overlapping, ALPHAS, experiments=(*TWO, "mixed"), readme=f"{LADMM}, stride 8",
    ),
    Method("ladmm_16_positions", f"{LADMM}, positions, stride 16", converged_ladmm, ALPHAS, "yes", experiments=TWO[:1]),
    Method(
        "ladmm_8_positions", f"{LADMM}, positions, stride 8", overlapping, ALPHAS, "yes", experiments=TWO[:1],
        readme=f"{LADMM}, stride 8",
    ),
]  # fmt: skip
