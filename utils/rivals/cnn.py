"""A plain residual convolutional network, trained on the same clean and noisy images as the supervised D-LADMM.

`python -m utils.rivals.cnn` trains one and writes it to the checkpoint folder; a stopped training goes on after its
last finished epoch when the same command is given again. `python -m utils.networks` trains all that are compared.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.corruption import CORRUPTIONS
from data.patches import PatchGrid
from utils.evaluation.observation import Observation
from utils.evaluation.records import EpochRecord
from utils.running.checkpoints import DESCRIPTION, SUFFIX, load_settings
from utils.running.errors import NotFiniteError, UserError, script
from utils.running.files import FolderLock, all_or_nothing, check_folder
from utils.running.provenance import Run
from utils.running.settings import at_least, between, one_of, parse_settings, positive, setting
from utils.training.optimization import one_cycle
from utils.training.progress import Progress, TrainingProgress
from utils.training.samples import Source
from utils.training.sources import NoisyAndCleanPatches

NAME = "cnn"  # of the file


@dataclass(frozen=True)
class Settings:
    """What to learn from and how; the choices were made on the validation images."""

    corruption: str = setting("salt_and_pepper", "the noise to remove", one_of([c for c in CORRUPTIONS if c != "none"]))
    noise_rate: float = setting(0.1, "probability that a pixel is corrupted", between(0, 1))
    training_rates: tuple[float, ...] = setting(
        (), "lowest and highest rate of the noise; none: noise_rate", between(1e-4, 1)
    )
    training_images: str = setting("shipped", "shipped, or a folder of clean photographs")
    layers: int = setting(8, "convolutions", at_least(2))
    channels: int = setting(16, "of every layer but the last", at_least(1))
    side: int = setting(40, "of a training patch, in pixels", at_least(1))
    epochs: int = setting(40, "epochs of training", at_least(1))
    patches_per_epoch: int = setting(5_000, "patches drawn afresh for every epoch", at_least(1))
    batch_size: int = setting(32, "patches in a training step", at_least(1))
    learning_rate: float = setting(1e-2, "of Adam, at its peak", positive)
    seed: int = setting(1126, "seed of the weights, the patches and the noise", at_least(0))
    checkpoint_dir: str = setting("checkpoints", "folder of the trained network")

    image: ClassVar[str] = "lena"  # to restore: not to be learned from
    positions: ClassVar[str] = "unknown"


class ResidualCNN(nn.Module):
    """X − R(X), R: convolutions of 3 x 3 with batch normalisation and rectifiers between, as in DnCNN.

    Zhang, Zuo, Chen, Meng & Zhang, Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising (IEEE
    Transactions on Image Processing 26, 2017, section III). Theirs has 17 or 20 layers of 64 channels, and learns from
    the squared error, as its noise is Gaussian.

    Args:
        layers: convolutions, 2 or more.
        channels: of every layer but the last.
    """

    def __init__(self, layers: int, channels: int) -> None:
        super().__init__()
        parts = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(layers - 2):
            parts += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]
            parts += [nn.ReLU(inplace=True)]
        parts += [nn.Conv2d(channels, 1, 3, padding=1)]
        self.noise = nn.Sequential(*parts).to(memory_format=torch.channels_last)

    def forward(self, X: Tensor) -> Tensor:
        """Images (N, 1, height, width) -> restored ones."""
        return X - self.noise(X)

    @torch.no_grad()
    def restore(self, noisy: np.ndarray) -> np.ndarray:
        """The restored image, of a grey one with values in [0, 1]."""
        return self.eval()(torch.from_numpy(noisy)[None, None])[0, 0].clamp(0, 1).numpy()


def train(network: ResidualCNN, samples: Source, settings: Settings, progress: TrainingProgress) -> Iterator[float]:
    """Trains the network in place on ‖restored − clean‖₁ with Adam; yields the mean loss of a pixel after every epoch.

    The learning rate rises in a line and falls like a cosine, as for D-LADMM.

    Raises:
        NotFiniteError: the loss is not finite.
    """
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, fused=True)
    batches = -(-settings.patches_per_epoch // settings.batch_size)
    schedule = one_cycle(optimizer, settings.epochs * batches)
    finished = progress.resume(network=network, optimizer=optimizer, schedule=schedule, samples=samples)
    for epoch in range(finished + 1, settings.epochs + 1):
        total = 0.0
        for batch in samples.draw(settings.patches_per_epoch).batches(settings.batch_size):
            noisy, clean = (rows.view(-1, 1, settings.side, settings.side) for rows in (batch.X, *batch.targets))
            loss = (network(noisy) - clean).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += len(noisy) * loss.item()
        if not math.isfinite(total):
            raise NotFiniteError(f"the loss is {total} in epoch {epoch}; the epochs before it are kept")
        yield total / settings.patches_per_epoch


def main(argv: Sequence[str] | None = None) -> None:
    """Trains a network and writes it."""
    settings = parse_settings(Settings, __doc__, argv, folders=("checkpoint_dir",))
    with script():
        folder = check_folder(settings.checkpoint_dir)
        shape = settings.side, settings.side
        unseen = Observation(np.zeros(shape, np.float32), PatchGrid(shape, *shape), torch.device("cpu"))
        samples = NoisyAndCleanPatches(unseen, settings)  # they depend on the side of the patches alone
        run = Run(asdict(settings), samples.inputs(), command="utils.rivals.cnn")
        torch.manual_seed(settings.seed)
        network = ResidualCNN(settings.layers, settings.channels)
        with FolderLock(folder):
            progress = Progress(settings.checkpoint_dir, run)
            own = progress.training(NAME)
            for loss in own.bar(train(network, samples, settings, own), settings.epochs):
                own.finish_epoch(EpochRecord("supervised", settings.layers, len(own.history) + 1, loss, None))
            description = {"settings": run.settings, "made_by": run.as_json()}
            weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
            with all_or_nothing(folder) as (written,):
                save_file(weights, written / f"{NAME}{SUFFIX}", {DESCRIPTION: json.dumps(description)})
            progress.remove()


def load_cnn(path: Path) -> ResidualCNN:
    """The network that `main` wrote.

    Raises:
        UserError: there is no such file, or it holds no such network.
    """
    settings = load_settings(path)
    try:
        network = ResidualCNN(settings["layers"], settings["channels"])
        network.load_state_dict(load_file(path))
    except (KeyError, RuntimeError, SafetensorError):
        raise UserError(
            f"checkpoint {str(path)!r} holds no residual network; allowed: one of utils.rivals.cnn"
        ) from None
    return network.eval()


if __name__ == "__main__":
    main()
