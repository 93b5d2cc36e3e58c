"""A plain residual convolutional network, trained on the same clean and noisy images as the supervised D-LADMM.

`python -m utils.studies.rivals.cnn` trains one and writes it to the checkpoint folder; a stopped training goes on after
its last finished epoch when the same command comes again. `python -m utils.studies.networks` trains all that are
compared.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from data.damage import DAMAGES
from models.samples import Batch, Source
from models.training import Training
from utils.evaluation.records import EpochRecord
from utils.reporting.progress import Progress, with_bar
from utils.running.checkpoints import DESCRIPTION, SUFFIX
from utils.running.devices import DEVICES, pick_device
from utils.running.errors import UserError, script
from utils.running.files import FolderLock, check_folder, replace_file
from utils.running.provenance import Run
from utils.running.settings import at_least, between, one_of, parse_settings, setting
from utils.sources.clean import NoisyAndCleanPatches

NAME = "cnn"  # of the file
# What is learned from in a step, in pixels and patches, and the peak rate of Adam; chosen on the validation images.
SIDE, BATCH_SIZE, LEARNING_RATE, SEED = 40, 32, 1e-2, 1126


@dataclass(frozen=True)
class Settings:
    """What to learn from, and for how long."""

    corruption: str = setting("salt_and_pepper", "the noise to remove", one_of(DAMAGES))
    noise_rate: float = setting(0.1, "probability that a pixel is corrupted", between(0, 1))
    training_rates: tuple[float, ...] = setting((), "lowest and highest rate of the noise", between(1e-4, 1))
    epochs: int = setting(40, "epochs of training", at_least(1))
    patches_per_epoch: int = setting(5_000, "patches drawn afresh for every epoch", at_least(1))
    checkpoint_dir: str = setting("checkpoints", "folder of the trained network")
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))


class ResidualCNN(nn.Module):
    """X − R(X), R: convolutions of 3 x 3 with batch normalisation and rectifiers between, as in DnCNN.

    Zhang, Zuo, Chen, Meng & Zhang, Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising (IEEE
    Transactions on Image Processing 26, 2017, section III). Theirs has 17 or 20 layers of 64 channels, and learns from
    the squared error, as its noise is Gaussian.

    Args:
        layers: convolutions, 2 or more.
        channels: of every layer but the last.
    """

    def __init__(self, layers: int = 8, channels: int = 16) -> None:
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


def train(network: ResidualCNN, source: Source, settings: Settings, progress: Progress) -> None:
    """Trains the network in place on the mean of |restored − clean| over all pixels, with Adam.

    An interrupted training goes on after its last finished epoch.
    """

    def losses(batch: Batch) -> Tensor:
        noisy, clean = (rows.view(-1, 1, SIDE, SIDE) for rows in (batch.X, batch.targets[0]))
        return (network(noisy) - clean).abs().mean(dim=(1, 2, 3)).sum()[None]

    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
    training = Training(
        network, source, losses, settings.epochs, settings.patches_per_epoch, BATCH_SIZE, optimizer=optimizer
    )
    history, _ = progress.resume(NAME, training)
    for epoch in with_bar(training, NAME, history):
        history.append(EpochRecord("supervised", len(network.noise), epoch.number, epoch.loss, None))
        progress.save(NAME, training, history, seconds=0.0)  # nobody asks how long it took


def main(argv: Sequence[str] | None = None) -> None:
    """Trains a network and writes it."""
    settings = parse_settings(Settings, __doc__, argv, folders=("checkpoint_dir",))
    with script():
        folder, rate = check_folder(settings.checkpoint_dir), settings.training_rates or settings.noise_rate
        device = pick_device(settings.device)
        source = NoisyAndCleanPatches(SIDE, settings.corruption, rate, SEED, device=device)
        run = Run(asdict(settings), source.inputs(), device, command="utils.studies.rivals.cnn")
        torch.manual_seed(SEED)
        network = ResidualCNN().to(device)
        torch.backends.cudnn.allow_tf32 = False  # on a GPU too the convolutions are those of float32
        with FolderLock(folder):
            progress = Progress(settings.checkpoint_dir, run)
            train(network, source, settings, progress)
            description = json.dumps({"settings": run.settings, "made_by": run.as_json()})
            weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
            replace_file(folder / f"{NAME}{SUFFIX}", save(weights, {DESCRIPTION: description}))
            progress.remove()


def load_cnn(path: Path) -> ResidualCNN:
    """The network that `main` wrote.

    Raises:
        UserError: there is no such file, or it holds no such network.
    """
    network = ResidualCNN()
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError):
        raise UserError(f"{str(path)!r} holds no residual network; allowed: one of utils.studies.rivals.cnn") from None
    return network.eval()


if __name__ == "__main__":
    main()
