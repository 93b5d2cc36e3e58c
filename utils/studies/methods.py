"""The methods that utils.studies.comparison compares: networks in the checkpoint folder, and baselines.

Weights of the baselines are chosen on the validation images, which no row shows.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from data.damage import DAMAGES
from data.images import VALIDATION_IMAGES, load_image
from models import DLADMM
from utils.evaluation.detection import detect
from utils.evaluation.metrics import psnr
from utils.evaluation.observation import Observation
from utils.evaluation.records import SideInformation
from utils.evaluation.restoration import grid_for, restored_image
from utils.restore.learning import Learning
from utils.running.checkpoints import SUFFIX, load_network, load_settings
from utils.running.provenance import digest, digest_of_code
from utils.sources.base import PatchSource
from utils.sources.clean import NoisyAndCleanPatches
from utils.sources.noisy import NoisyPatches
from utils.sources.recorrupted import RecorruptedPatches
from utils.studies import plain_command
from utils.studies.kept import Keep, fresh
from utils.studies.rivals import cnn

SEEDS = (1126, 1, 2)  # of the corruptions; with the first one all choices are made
# Of the centre-weighted median, from which the validation images choose.
SCALES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
CHECKPOINTS, NETWORK = Path("checkpoints"), "dladmm_d15"
LENAS_OWN = (NETWORK, f"{NETWORK}_self_supervised")  # which main_lena.py trains on the noisy Lena
DETECTOR = f"noise_rates/{NETWORK}{SUFFIX}"
CNN_FOLDERS = {"salt_and_pepper": "cnn", "random_valued": "cnn_random_valued"}  # by the noise of their training
# By the setting of main_lena.py that a checkpoint has.
TRAININGS: dict[str, type[PatchSource]] = {
    "unsupervised": NoisyPatches,
    "self_supervised": RecorruptedPatches,
    "supervised": NoisyAndCleanPatches,
}

Restore = Callable[[np.ndarray], np.ndarray]  # noisy image -> restored image, values in [0, 1]


def depends_on(pattern: str) -> dict[str, Any]:
    """What the rows of the plain command and of networks depend on besides the shared code, in digests.

    Args:
        pattern: of the networks in the folder of checkpoints.
    """
    files = {path.relative_to(CHECKPOINTS).as_posix(): path for path in sorted(CHECKPOINTS.glob(f"{pattern}{SUFFIX}"))}
    networks = {name: digest(path.read_bytes()) for name, path in files.items()}
    return {"networks": networks, "restore": digest_of_code("utils.restore.__main__")}


def best_weight(
    restore: Callable[[float, np.ndarray], np.ndarray],
    weights: Sequence[float],
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
) -> float:
    """The weight with the highest mean PSNR of restore(weight, noisy) over pairs of a noisy and a clean image."""
    return max(weights, key=lambda weight: sum(psnr(restore(weight, noisy), clean) for noisy, clean in pairs))


class Method(NamedTuple):
    """A way to restore an image, what it knows besides that image, and the images and noise seeds that it is for.

    The weight is the one that was chosen on the validation images, if it has one. No images stand for all of them.
    """

    name: str
    side_information: SideInformation
    restore: Restore
    images: Sequence[str] = ()
    seeds: Sequence[int] = SEEDS
    weight: float | None = None


class Case(NamedTuple):
    """A corruption at a rate."""

    corruption: str
    rate: float

    def corrupt(self, image: np.ndarray, seed: int = SEEDS[0]) -> np.ndarray:
        """The corrupted image."""
        return DAMAGES[self.corruption].corrupt(image, self.rate, seed)

    def best(self, restore: Callable[..., np.ndarray], weights: Sequence[float]) -> float:
        """The weight with the highest mean PSNR of restore(weight, noisy) over details of the validation images."""
        details = [load_image(name)[20:276, 128:384] for name in VALIDATION_IMAGES]
        return best_weight(restore, weights, [(self.corrupt(clean), clean) for clean in details])


@dataclass(frozen=True)
class Baseline:
    """A method for grey images that learns nothing; the channels of a colour image are restored one by one.

    Attributes:
        name: in the tables.
        restore: (noisy) -> restored image, or (weight, noisy) if there are weights.
        weights: from which the validation images choose, for every noise anew.
        positions: whether it knows the corrupted pixels; `restore` has an argument find_mask then.
    """

    name: str
    restore: Callable[..., np.ndarray]
    weights: Sequence[float] = ()
    positions: bool = False

    def methods(self, case: Case, keep: Keep = fresh) -> list[Method]:
        """The method for this noise, with a weight that is kept."""
        untouched = DAMAGES[case.corruption].untouched
        restore = partial(self.restore, find_mask=untouched) if self.positions else self.restore
        information, weight = SideInformation(known_positions="yes" if self.positions else "no"), None
        if self.weights:
            weight = keep((self.name, *case), lambda: case.best(restore, self.weights))
            restore, information = partial(restore, weight), replace(information, noise_model=case.corruption)
        return [Method(self.name, information, partial(by_channel, restore), weight=weight)]


@dataclass(frozen=True)
class TrainedCNN:
    """The plain residual network that was trained for the noise; its folder of checkpoints has this ending."""

    name: str
    ending: str = ""

    def methods(self, case: Case, keep: Keep = fresh) -> list[Method]:
        """The method for this noise, which has no weight to keep."""
        path = CHECKPOINTS / f"{CNN_FOLDERS[case.corruption]}{self.ending}" / f"{cnn.NAME}{SUFFIX}"
        return [Method(self.name, side_information(path), partial(by_channel, cnn.load_cnn(path).restore))]


class PlainCommand:
    """`python -m utils.restore` without options, which chooses among the trained networks by what it finds."""

    name = f"D-LADMM, {plain_command.NAME}"

    def counted_names(self) -> list[str]:
        """The name of the method, whose wins and losses are counted."""
        return [self.name]

    def methods(self, case: Case, keep: Keep = fresh) -> list[Method]:
        """The method, which is the same for every noise; with the first seed alone, as it takes several seconds."""
        information = SideInformation("other images", clean_targets="yes")
        return [Method(self.name, information, plain_command.restored_plainly, seeds=SEEDS[:1])]


def by_channel(restore: Restore, noisy: np.ndarray) -> np.ndarray:
    """The image restored by a method for grey ones: each channel of (height, width, channels) by itself."""
    return restore(noisy) if noisy.ndim == 2 else np.stack([restore(c) for c in np.moveaxis(noisy, 2, 0)], axis=2)


@dataclass(frozen=True)
class Network:
    """D-LADMM, d = 15, from a file in the folder of checkpoints: a method for each stride.

    Where positions are known, or the network for all noise rates detects them, only corrupted pixels are replaced.

    Attributes:
        name: in the tables.
        file: of the network, without its ending.
        strides: in pixels.
        counted: those whose wins and losses are counted.
        positions: of the corrupted pixels: "no", "yes" for known ones, or "detected".
        learns: whether it knows the noise and goes on learning on each noisy image, as with `utils.restore --learn`.
    """

    name: str
    file: str
    strides: Sequence[int]
    counted: Sequence[int] = ()
    positions: str = "no"
    learns: bool = False

    def title(self, stride: int) -> str:
        """The name of the method with that stride."""
        return f"D-LADMM, {self.name}{', learned on the image' if self.learns else ''}, stride {stride}"

    def counted_names(self) -> list[str]:
        """The names of the methods whose wins and losses are counted."""
        return [self.title(stride) for stride in self.counted]

    def methods(self, case: Case, keep: Keep = fresh) -> list[Method]:
        """The methods for this noise, which have no weight to keep."""
        path = CHECKPOINTS / f"{self.file}{SUFFIX}"
        network, information = load_network(path), replace(side_information(path), known_positions=self.positions)
        of_lena = information.training_data == "the noisy image"
        if self.learns:  # a minute for every image
            information = replace(information, training_data=f"{information.training_data} and the noisy")
        images, seeds = ("lena",) if of_lena else (), SEEDS[:1] if of_lena or self.learns else SEEDS
        detector = load_network(CHECKPOINTS / DETECTOR) if self.positions == "detected" else None
        restore = partial(self._restore, network, detector, case)
        return [Method(self.title(s), information, partial(restore, s), images, seeds) for s in self.strides]

    def _restore(
        self, network: DLADMM, detector: DLADMM | None, case: Case, stride: int, noisy: np.ndarray
    ) -> np.ndarray:
        """The restored image."""
        detection = None
        if detector is not None:
            pixels = torch.from_numpy(noisy)
            detection = detect(noisy, restored_image(detector, grid_for(detector, noisy.shape), pixels).numpy())
        finders = {"no": None, "yes": DAMAGES[case.corruption].untouched, "detected": detection and detection.find_mask}
        replaced = "all" if self.positions == "no" else "corrupted"
        grid = grid_for(network, noisy.shape, stride)
        seen = Observation(noisy, grid, torch.device("cpu"), finders[self.positions], replaced)
        if self.learns:
            learning = Learning(network, seen, case.corruption, SEEDS[0])
            deque(learning, maxlen=0)
            network = learning.network
        restored = restored_image(network, grid, seen.pixels, seen.mask, replaced).numpy()
        return restored if detection is None else detection.mixed(restored)


def side_information(path: Path) -> SideInformation:
    """What the network in a file knows besides the image that it restores, by the settings of its training."""
    settings = {"training": "supervised", "noise": "same", "training_images": "shipped"} | load_settings(path)
    noise = settings["corruption"] if settings["noise"] == "same" else settings["noise"]
    return TRAININGS[settings["training"]].side_information(noise, settings["training_images"])
