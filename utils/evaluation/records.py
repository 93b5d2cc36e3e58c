"""The rows of the tables: dataclasses whose fields are the columns. None stands where a method has no such figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models import DLADMM


@dataclass(frozen=True)
class SideInformation:
    """What a method knows besides the corrupted image that it restores."""

    training_data: str = "none"  # what it learned from
    clean_targets: str = "no"  # whether clean images took part in the training
    known_positions: str = "no"  # whether it knows which pixels are corrupted
    noise_model: str = "none"  # the corruption that it assumes, a name in data.damage.DAMAGES


@dataclass(frozen=True, kw_only=True)
class Result:
    """A method in the table of results."""

    method: str
    training: str | None = None  # of a network: a name in main_lena.SOURCES
    depth: int | None = None  # layers or iterations
    side_information: SideInformation = SideInformation()
    training_loss: float | None = None  # at the last layer, mean over the last epoch
    objective: float | None = None  # f(Z) + g(E) at the feasible point, mean over the patches of the image
    psnr: float | None = None  # dB
    ssim: float | None = None
    seconds: float | None = None  # of restoring; for a network also of training, with a PSNR in every epoch
    gap: float | None = None  # certified duality gap, mean over the patches
    ladmm_same_objective: int | None = None  # LADMM iterations to this objective; None if it never gets there
    ladmm_same_psnr: int | None = None  # LADMM iterations to this PSNR, likewise

    @property
    def title(self) -> str:
        """The method as tables and figures name it."""
        return TITLES[self.method].format(depth=self.depth, training=in_words(self.training))


def in_words(training: str | None) -> str:
    """The name of a training as text shows it: self-supervised for self_supervised."""
    return (training or "").replace("_", "-")


TITLES = {
    "noisy": "noisy",
    "median": "3 x 3 median",
    "ladmm": "LADMM, {depth} iterations",
    "untrained": "D-LADMM, d = {depth}, untrained",
    "dladmm": "D-LADMM, d = {depth}, {training}",
}


class Restoration(NamedTuple):
    """An image that a method restored, values in [0, 1], and the method's row in the table."""

    image: np.ndarray
    result: Result


@dataclass(frozen=True)
class EpochRecord:
    """An epoch of training. Here and below the PSNR is None if there is no clean image."""

    training: str
    depth: int
    epoch: int
    loss: float  # at the last layer, mean over the epoch
    psnr: float | None  # dB, of the image to restore; nothing depends on it


@dataclass(frozen=True)
class LayerRecord:
    """The state after a layer of a network."""

    training: str
    depth: int
    layer: int
    objective: float  # mean over the patches
    psnr: float | None  # dB
    gap: float  # certified duality gap, mean over the patches


@dataclass(frozen=True)
class LADMMRecord:
    """The state after an iteration of classical LADMM; see LayerRecord."""

    iteration: int
    objective: float
    psnr: float | None
    gap: float


@dataclass(frozen=True)
class SafeguardRecord:
    """The state after a layer, or an iteration of LADMM, on an out-of-distribution input; see models.convergence."""

    input: str
    method: str  # safeguarded, unguarded or ladmm
    layer: int
    objective: float  # mean over the patches
    gap: float  # certified duality gap, mean over the patches
    replaced: float | None = None  # share of the patches whose update was LADMM's in place of the layer's


class Classical(NamedTuple):
    """What the methods that learn nothing restored, LADMM to convergence last, and the iterations of LADMM."""

    restorations: list[Restoration]
    trace: list[LADMMRecord]


class Learned(NamedTuple):
    """A trained network, what it restored, its epochs and its layers."""

    name: str  # of its files
    network: DLADMM
    restoration: Restoration
    history: list[EpochRecord]
    layers: list[LayerRecord]
    epoch_seconds: list[float]  # of drawing samples and of all steps, for every epoch of this process


def equivalent_iterations(
    trace: Sequence[LADMMRecord], objective: float, psnr: float | None
) -> tuple[int | None, int | None]:
    """The iterations after which LADMM first has an objective as low, and a PSNR as high; None for never.

    Args:
        trace: LADMM's iterations.
        objective: to be reached.
        psnr: to be reached, in dB; None if there is no clean image.
    """
    return (
        next((record.iteration for record in trace if record.objective <= objective), None),
        next((record.iteration for record in trace if psnr is not None and record.psnr >= psnr), None),
    )
