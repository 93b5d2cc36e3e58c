"""The methods that utils.comparison compares, for every corruption: networks in the checkpoint folder, and others.

Weights of the others are chosen on the validation images, which no row shows.
"""

from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch

from data.corruption import CORRUPTIONS
from data.images import TEST_IMAGES, VALIDATION_IMAGES, load_image
from data.masks import FindMask, black, extremes
from utils.evaluation.detection import detect
from utils.evaluation.metrics import psnr
from utils.evaluation.observation import Observation
from utils.evaluation.records import SideInformation
from utils.evaluation.restoration import grid_for, restored_image
from utils.rivals.classical import converged_ladmm, inpainted, inpainted_and_smoothed, total_variation
from utils.rivals.cnn import NAME as CNN
from utils.rivals.cnn import load_cnn
from utils.rivals.medians import centre_weighted_median, impulse_mask, median, switching_median
from utils.running.checkpoints import SUFFIX, load_network, load_settings
from utils.training.from_image import Learning
from utils.training.sources import TRAININGS, NoisyAndCleanPatches

SEEDS = (1126, 1, 2)  # of the corruptions; with the first one all choices are made
CHECKPOINTS, NETWORK = Path("checkpoints"), "dladmm_d15"
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7)  # of LADMM, from which the validation images choose
TV_WEIGHTS = (0.6, 0.8, 1.0, 1.2, 1.5, 1.8, 2.2, 2.7)  # of the data term, likewise
SCALES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)  # of the centre-weighted median, likewise
SMOOTHING = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)  # of non-local means, likewise
THEIR_OWN = {"images": ("lena",), "seeds": SEEDS[:1]}  # of networks that learned from the noisy Lena
NOTHING, POSITIONS_KNOWN = SideInformation(), SideInformation(known_positions="yes")

Restore = Callable[[np.ndarray], np.ndarray]  # noisy image -> restored image, values in [0, 1]


class Method(NamedTuple):
    """A way to restore an image, what it is given besides that image, and the images and noise seeds that it is for.

    The weight is the one that was chosen on the validation images, if it has one.
    """

    name: str
    side_information: SideInformation
    restore: Restore
    images: Sequence[str] = TEST_IMAGES
    seeds: Sequence[int] = SEEDS
    weight: float | None = None


class Case(NamedTuple):
    """A corruption at a rate."""

    corruption: str
    rate: float

    def corrupt(self, image: np.ndarray, seed: int = SEEDS[0]) -> np.ndarray:
        """The corrupted image."""
        return CORRUPTIONS[self.corruption](image, self.rate, seed)

    def tuned(self, name: str, restore: Callable[..., np.ndarray], weights: Sequence[float], **told: str) -> Method:
        """A method restore(weight, noisy) with the weight that is best for this noise: see `best`."""
        told, weight = SideInformation(noise_model=self.corruption, **told), self.best(restore, weights)
        return Method(name, told, partial(restore, weight), weight=weight)

    def best(self, restore: Callable[..., np.ndarray], weights: Sequence[float]) -> float:
        """The weight with the highest mean PSNR of restore(weight, noisy) over details of the validation images."""
        details = [load_image(name)[20:276, 128:384] for name in VALIDATION_IMAGES]

        def quality(weight: float) -> float:
            return sum(psnr(restore(weight, self.corrupt(clean)), clean) for clean in details)

        return max(weights, key=quality)


def filters(find_mask: FindMask | None = extremes) -> list[Method]:
    """Filters, which learn nothing and have no weight to choose; the last one is told the corrupted pixels."""
    methods = [
        Method("noisy", NOTHING, lambda noisy: noisy),
        Method("3 x 3 median", NOTHING, partial(median, 3)),
        Method("5 x 5 median", NOTHING, partial(median, 5)),
    ]
    if find_mask is not None:
        switching = partial(switching_median, find_mask=find_mask)
        methods += [Method("adaptive switching median", POSITIONS_KNOWN, switching)]
    return methods


def variation(case: Case) -> Method:
    """Total variation with the weight that the validation images choose."""
    return case.tuned("total variation, ℓ1 data term", total_variation, TV_WEIGHTS)


def inpainting(find_mask: FindMask = extremes) -> Method:
    """Biharmonic inpainting of the corrupted pixels."""
    return Method("biharmonic inpainting", POSITIONS_KNOWN, partial(inpainted, find_mask))


def ladmm(case: Case, stride: int, positions: bool = False) -> Method:
    """LADMM to convergence, with its α; positions: black and white pixels are known to be corrupted."""
    find_mask = extremes if positions else None
    restore = partial(converged_ladmm, stride=stride, find_mask=find_mask)
    name = f"LADMM to convergence, {'positions, ' if positions else ''}stride {stride}"
    return case.tuned(name, restore, ALPHAS, known_positions="yes" if positions else "no")


def inpainted_impulses(scale: float, noisy: np.ndarray) -> np.ndarray:
    """Biharmonic inpainting of the impulses that the adaptive centre-weighted median finds, with that scale."""
    return inpainted(partial(impulse_mask, scale), noisy)


def cnns(*names: str) -> list[Method]:
    """Plain residual networks by the names of their folders of checkpoints."""
    methods = []
    for name in names:
        path = CHECKPOINTS / name / f"{CNN}{SUFFIX}"
        told = NoisyAndCleanPatches.side_information(SimpleNamespace(**load_settings(path)))
        longer = ", four times as long" if name.endswith("four_times") else ""
        methods.append(Method(f"residual CNN{longer}", told, load_cnn(path).restore))
    return methods


def networks(
    name: str,
    file: str,
    strides: Sequence[int],
    find_mask: FindMask | None = None,
    detector: str = "",
    kind: str = "",
    **only: Sequence[str],
) -> list[Method]:
    """D-LADMM, d = 15, from a file in the folder of checkpoints, with each stride.

    Where positions are known, or another network detects them, only the corrupted pixels are replaced. If it is told
    the kind of noise, the network goes on learning on each noisy image first, as `python -m utils.restore --learn`.

    Args:
        name: in the tables.
        file: of the network, without its ending.
        strides: a method for each.
        find_mask: finds the known pixels.
        detector: file of the network that detects them instead.
        kind: of the noise, to learn on the image.
        only: `images` or `seeds`, if not all.
    """
    paths = [CHECKPOINTS / f"{file}{SUFFIX}" for file in (file, detector) if file]
    trained, *detecting = map(load_network, paths)
    positions = "detected" if detector else "no" if find_mask is None else "yes"

    def restore(stride: int, noisy: np.ndarray) -> np.ndarray:
        network, replaced = deepcopy(trained) if kind else trained, "all" if positions == "no" else "corrupted"
        detection = detect(*detecting, noisy) if detector else None
        find = find_mask if detection is None else detection.find_mask
        given = Observation(noisy, grid_for(network, noisy.shape, stride), torch.device("cpu"), find, replaced)
        if kind:
            deque(Learning(network, given, kind, SEEDS[0]).run(), maxlen=0)
        restored = restored_image(network, given.grid, given.pixels, given.mask, replaced).numpy()
        return restored if detection is None else detection.mixed(restored)

    settings = SimpleNamespace(**({"training_images": "shipped"} | load_settings(paths[0])))
    told = replace(TRAININGS[settings.training].side_information(settings), known_positions=positions)
    if kind:  # a minute for every image
        name, told = f"{name}, learned on the image", replace(told, training_data=f"{told.training_data} and the noisy")
        only |= {"seeds": SEEDS[:1]}
    return [Method(f"D-LADMM, {name}, stride {stride}", told, partial(restore, stride), **only) for stride in strides]


def salt_and_pepper(case: Case) -> list[Method]:
    """The methods for the salt and pepper of the paper."""
    return [
        *filters(),
        variation(case),
        inpainting(),
        *(ladmm(case, stride, positions) for positions in (False, True) for stride in (16, 8)),
        *cnns("cnn", "cnn_four_times"),
        *salt_and_pepper_networks(),
    ]


def salt_and_pepper_networks() -> list[Method]:
    """Trained on the noisy Lena, on clean patches of other images, and on those with known positions."""
    return [
        *networks("unsupervised", NETWORK, (16,), **THEIR_OWN),
        *networks("self-supervised", f"{NETWORK}_self_supervised", (16, 4), **THEIR_OWN),
        *networks("supervised", f"supervised/{NETWORK}", (16, 4)),
        *networks("trained at 1 to 50 %", f"noise_rates/{NETWORK}", (16, 8, 4)),
        *networks("trained at 1 to 50 %", f"noise_rates/{NETWORK}", (4,), kind="salt_and_pepper"),
        *networks_with_positions((16, 4)),
        *networks_that_detect_positions((16, 8, 4)),
        *networks_that_detect_positions((4,), kind="salt_and_pepper"),
    ]


def networks_that_detect_positions(strides: Sequence[int], kind: str = "") -> list[Method]:
    """As `networks_with_positions`, where the network for all noise rates detects the corrupted pixels."""
    name, detector = "detected positions, trained at 1 to 50 %", f"noise_rates/{NETWORK}"
    return networks(name, f"positions/{NETWORK}", strides, detector=detector, kind=kind)


def networks_with_positions(strides: Sequence[int], find_mask: FindMask = extremes) -> list[Method]:
    """Trained on clean patches of other images, with salt and pepper at known positions."""
    return networks("positions, trained at 1 to 50 %", f"positions/{NETWORK}", strides, find_mask)


def random_valued(case: Case) -> list[Method]:
    """The methods for impulses of any grey value."""
    return [
        *filters(find_mask=None),
        case.tuned("adaptive centre-weighted median", centre_weighted_median, SCALES),
        case.tuned("its detector, biharmonic inpainting", inpainted_impulses, SCALES),
        variation(case),
        *(ladmm(case, stride) for stride in (16, 8)),
        *cnns("cnn_random_valued", "cnn_random_valued_four_times"),
        *random_valued_networks(),
    ]


def random_valued_networks() -> list[Method]:
    """Trained on clean patches of other images."""
    return networks("supervised", f"random_valued/{NETWORK}", (16, 8, 4))


def rate(case: Case) -> list[Method]:
    """Networks trained at 10 %, at all rates, and with known positions, beside the other methods."""
    return [
        *filters(),
        variation(case),
        inpainting(),
        *cnns("cnn", "cnn_four_times"),
        *networks("trained at 10 %", f"supervised/{NETWORK}", (16,)),
        *networks("trained at 1 to 50 %", f"noise_rates/{NETWORK}", (16, 4)),
        *networks_with_positions((16,)),
        *networks_that_detect_positions((16, 4)),
    ]


def clipped(case: Case) -> list[Method]:
    """The methods that could take black and white areas for noise."""
    return [
        *filters(),
        inpainting(),
        *cnns("cnn", "cnn_four_times"),
        *networks("trained at 1 to 50 %", f"noise_rates/{NETWORK}", (8,)),
        *networks_with_positions((8,)),
        *networks_that_detect_positions((8,)),
    ]


def missing_blocks(case: Case) -> list[Method]:
    """The methods that fill black blocks. One network was trained with blocks missing, one with single pixels."""
    return [
        *filters(black),
        inpainting(black),
        *networks_with_positions((16, 4), black),
        *networks("blocks of 2 to 30 %", f"missing_blocks/{NETWORK}", (16, 4), black),
    ]


def mixed(case: Case) -> list[Method]:
    """The methods for Gaussian noise below salt and pepper."""
    known = {"known_positions": "yes"}
    return [
        *filters(),
        variation(case),
        case.tuned("biharmonic inpainting, non-local means", inpainted_and_smoothed, SMOOTHING, **known),
        ladmm(case, 8),
        *networks("trained at 2 to 30 %", f"gaussian_and_impulses/{NETWORK}", (16, 8, 4)),
    ]


def colour(case: Case) -> list[Method]:
    """The methods for salt and pepper in colour images; all restore each channel by itself."""
    grey = [variation(case), inpainting(), *cnns("cnn", "cnn_four_times")]
    methods = [
        *filters(),
        *(method._replace(restore=by_channel(method.restore)) for method in grey),
        *networks("supervised", f"supervised/{NETWORK}", (4,)),
        *networks_that_detect_positions((4,)),
    ]
    return [method._replace(images=[name for name in TEST_IMAGES if name != "coins"]) for method in methods]


def by_channel(restore: Restore) -> Restore:
    """A method for grey images, for the channels of an image (height, width, channels)."""
    return lambda noisy: np.stack([restore(channel) for channel in np.moveaxis(noisy, 2, 0)], axis=2)
