"""D-LADMM's own methods in utils.studies.comparison: trained networks at several strides, and the plain command."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch

from data.images import Image, to_image, to_pixels
from data.masks import FindMask
from models import DLADMM
from utils.evaluation.observation import Observation
from utils.evaluation.restoration import detect, grid_for, restored_image
from utils.restore.learning import Learning
from utils.restore.remedies import by_network
from utils.restore.restoring import restore
from utils.running.checkpoints import SUFFIX
from utils.sources.patches import NoisyAndCleanPatches, NoisyPatches, PatchSource, RecorruptedPatches
from utils.studies.rivals import SEEDS, Method

NETWORK, FILE = "dladmm_d15", f"dladmm_d15{SUFFIX}"
SPECKS, RANDOM, BLOCKS, MIXED = "salt_and_pepper", "random_valued", "missing_blocks", "gaussian_and_impulses"


def restored(network: DLADMM, noisy: Image, stride: int, learns: str = "", find_mask: FindMask | None = None) -> Image:
    """What a network restores; where positions are known, the corrupted pixels alone are replaced. If it learns a
    damage, it first goes on learning on the image."""
    replaced = "all" if find_mask is None else "corrupted"
    seen = Observation(noisy, grid_for(network, noisy.shape, stride), torch.device("cpu"), find_mask, replaced)
    if learns:
        learning = Learning(network, seen, learns)
        deque(learning, maxlen=0)
        network = learning.network
    return restored_image(network, seen.grid, seen.pixels, seen.mask, replaced).numpy()


def with_detector(network: DLADMM, detector: DLADMM, noisy: Image, stride: int, learns: str = "") -> Image:
    """The same where another network finds the corrupted pixels."""
    detection = detect(noisy, by_network(detector, noisy))
    return detection.mixed(restored(network, noisy, stride, learns, lambda _: detection.mask))


def plainly(network: DLADMM, noisy: Image) -> Image:
    """What `python -m utils.restore` makes of an image that is stored with 8 bits. It reads its networks itself."""
    return to_image(restore(to_pixels(noisy, np.uint8)).pixels)


def methods_of(
    title: str, name: str, damage: str, strides: Mapping[int, Sequence[str]], positions: str = "no", learns: str = "",
    key: str = "", source: type[PatchSource] = NoisyAndCleanPatches,
) -> list[Method]:  # fmt: skip
    """A method for each stride of a network, with its experiments. The network was trained for the damage; its name is
    that of its folder of checkpoints, and their key by default, or of the file that main_lena.py trains on Lena."""
    of_lena, detector = name.startswith(NETWORK), [f"noise_rates/{FILE}"] if positions == "detected" else []
    known = source.knowledge(damage, "shipped")
    if learns:
        title, known["training_data"] = f"{title}, learned on the image", f"{known['training_data']} and the noisy"
    return [
        Method(
            f"{key or name}_{stride}", f"D-LADMM, {title}, stride {stride}",
            partial(with_detector if detector else restored, stride=stride, learns=learns), positions=positions,
            experiments=tuple(experiments), images=("lena",) if of_lena else (),
            seeds=SEEDS[:1] if of_lena or learns else SEEDS, knows=known, colours=True,
            networks=(f"{name}{SUFFIX}" if of_lena else f"{name}/{FILE}", *detector),
        )
        for stride, experiments in strides.items()
    ]  # fmt: skip


ALL, RATES, CLIPPED = "trained at 1 to 50 %", "noise_rates", ("clipped_5", "clipped_15", "clipped_30")
DETECTED = f"detected positions, {ALL}"
METHODS = [
    Method(
        "plain", "D-LADMM, plain command", plainly, seeds=SEEDS[:1], networks=(f"specks/{FILE}",),
        knows={"training_data": "other images", "clean_targets": "yes"}, colours=True,
    ),
    *methods_of("unsupervised", NETWORK, SPECKS, {16: [SPECKS]}, key="unsupervised", source=NoisyPatches),
    *methods_of(
        "self-supervised", f"{NETWORK}_self_supervised", SPECKS, {16: [SPECKS], 4: [SPECKS]}, key="self_supervised",
        source=RecorruptedPatches,
    ),
    *methods_of("trained at 10 %", "supervised", SPECKS, {16: [SPECKS, RATES], 4: [SPECKS, "colour"]}),
    *methods_of(ALL, RATES, SPECKS, {16: [SPECKS, RATES], 8: [SPECKS, *CLIPPED], 4: [SPECKS, RATES]}),
    *methods_of(ALL, RATES, SPECKS, {4: [SPECKS]}, learns=SPECKS, key="noise_rates_learned"),
    *methods_of(
        f"positions, {ALL}", "positions", SPECKS, {16: [SPECKS, RATES, BLOCKS], 8: CLIPPED, 4: [SPECKS, BLOCKS]}, "yes"
    ),
    *methods_of(
        DETECTED, "positions", SPECKS, {16: [SPECKS, RATES], 8: [SPECKS, *CLIPPED], 4: [SPECKS, RATES, "colour"]},
        "detected", key="detected",
    ),
    *methods_of(DETECTED, "positions", SPECKS, {4: [SPECKS]}, "detected", SPECKS, "detected_learned"),
    *methods_of("trained at 20 %", RANDOM, RANDOM, dict.fromkeys((16, 8, 4), [RANDOM])),
    *methods_of("blocks of 2 to 30 %", BLOCKS, BLOCKS, dict.fromkeys((16, 4), [BLOCKS]), "yes"),
    *methods_of("trained at 2 to 30 %", MIXED, MIXED, dict.fromkeys((16, 8, 4), ["mixed"])),
]  # fmt: skip
