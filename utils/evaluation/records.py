"""The rows of the tables: dataclasses whose fields are the columns. None stands where a method has no such figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models import DLADMM


@dataclass(frozen=True)
class SideInformation:
    """What a method was given besides the corrupted image that it restores."""

    training_data: str = "none"  # what it learned from
    clean_targets: str = "no"  # whether clean images took part in the training
    known_positions: str = "no"  # whether it was told which pixels are corrupted
    noise_model: str = "none"  # the kind of corruption that it was told


@dataclass(frozen=True, kw_only=True)
class Result:
    """A method in the table of results."""

    method: str
    training: str | None = None  # of a network: a name in utils.training.sources.TRAININGS
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
        """The method in words."""
        return TITLES[self.method].format(depth=self.depth, training=in_words(self.training))


def in_words(training: str | None) -> str:
    """The name of a training in words: self-supervised."""
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
    """The state after a layer, or an iteration of LADMM, on an out-of-distribution input; see models.safeguard."""

    input: str
    method: str  # safeguarded, unguarded or ladmm
    layer: int
    objective: float  # mean over the patches
    gap: float  # certified duality gap, mean over the patches
    replaced: float | None = None  # share of the patches whose update was LADMM's in place of the layer's


@dataclass(frozen=True)
class SyntheticRecord:
    """The state after a layer or an iteration on synthetic test samples."""

    method: str  # ladmm or dladmm
    activation: str
    trained_on: str
    alpha: float
    beta: float
    iteration: int
    objective: float  # mean over the samples
    nmse: float  # of Z and E in dB; Z = 0 and E = 0 have 0 dB


@dataclass(frozen=True)
class ConvergenceRecord:
    """The state after a layer or an iteration, in utils.convergent; means over the test samples."""

    data: str
    method: str
    trained_on: str  # a name in models.losses.LOSSES; empty for what is not trained
    beta: float | None  # of LADMM
    layer: int
    objective: float
    above: float  # the objective less that of the solution
    gap: float  # certified duality gap
    distance: float  # ‖A Z − A Z*‖ to the solution Z*
    psnr: float | None  # dB, of restored images


@dataclass(frozen=True)
class AblationRecord:
    """A network trained with one combination of choices and one seed; see utils.ablations."""

    training: str
    loss: str
    initialization: str
    activation: str
    atoms: str  # shipped, or of length 1
    depth: int
    seed: int
    psnr: float  # dB
    objective: float  # of the last layer, mean over the patches
    seconds: float  # of an epoch of training, median of all but the first


@dataclass(frozen=True)
class AtomsRecord:
    """Classical LADMM after some iterations; see utils.ablations."""

    atoms: str  # shipped, or of length 1
    alpha: float
    beta: float
    iteration: int
    seed: int
    psnr: float  # dB


@dataclass(frozen=True)
class NetworkRecord:
    """A network in the checkpoint folder; see utils.networks."""

    name: str
    purpose: str
    command: str
    minutes: float | None
    code: str  # digest of the code that trained it


@dataclass(frozen=True)
class ComparisonRecord:
    """A test image restored by a method; see utils.comparison."""

    experiment: str
    corruption: str
    noise_rate: float
    seed: int  # of the corruption
    image: str
    method: str
    side_information: SideInformation
    psnr: float  # dB
    ssim: float
    seconds: float  # to restore, without training


class Classical(NamedTuple):
    """What the methods that learn nothing restored, LADMM to convergence last, and the iterations of LADMM."""

    restorations: list[Restoration]
    trace: list[LADMMRecord]


class Learned(NamedTuple):
    """A trained network, what it restored, its epochs and its layers; the name is that of its files."""

    name: str
    network: DLADMM
    restoration: Restoration
    history: list[EpochRecord]
    layers: list[LayerRecord]


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
