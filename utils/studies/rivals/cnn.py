"""A small DnCNN that two cores can train: 8 layers of 16 channels, 15,000 parameters. It learns from the clean and
noisy images that the supervised D-LADMM learns from, and once more for four times the epochs."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from data.images import Image
from models.samples import Samples
from models.training import Training
from utils.evaluation.metrics import Stopwatch
from utils.running.checkpoints import DESCRIPTION, SUFFIX
from utils.running.devices import pick_device
from utils.running.files import replace_file
from utils.running.provenance import as_json, provenance
from utils.running.resume import Progress, epoch_bar
from utils.sources.patches import NoisyAndCleanPatches
from utils.studies.rivals import Method, Recipe

FAMILY, NAME = "network", "cnn"  # of the file
# What is learned from in a step, in pixels and patches, and the peak rate of Adam; chosen on the validation images.
SIDE, BATCH_SIZE, LEARNING_RATE, SEED = 40, 32, 1e-2, 1126


@dataclass(frozen=True)
class Settings:
    """What to learn from, and for how long."""

    corruption: str = "salt_and_pepper"  # the noise to remove
    noise_rate: float = 0.1
    training_rates: tuple[float, ...] = ()  # lowest and highest rate of the noise; none: it has one rate
    epochs: int = 40
    patches_per_epoch: int = 5_000
    device: str = "auto"  # where to compute, see utils.running.devices


class ResidualCNN(nn.Module):
    """X − R(X), R: convolutions of 3 x 3 with batch normalisation and rectifiers between, as in DnCNN.

    Zhang, Zuo, Chen, Meng & Zhang, Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising (IEEE
    Transactions on Image Processing 26, 2017, section III). Theirs has 17 or 20 layers of 64 channels, and learns from
    the squared error, as its noise is Gaussian.
    """

    def __init__(self, layers: int = 8, channels: int = 16) -> None:
        super().__init__()
        parts = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(layers - 2):
            hidden = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            parts += [hidden, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        self.noise = nn.Sequential(*parts, nn.Conv2d(channels, 1, 3, padding=1)).to(memory_format=torch.channels_last)

    def forward(self, X: Tensor) -> Tensor:
        """Images (N, 1, height, width) -> restored ones."""
        return X - self.noise(X)

    @torch.no_grad()
    def restore(self, noisy: Image) -> Image:
        """The restored image, of a grey one with values in [0, 1]."""
        return self.eval()(torch.from_numpy(noisy)[None, None])[0, 0].clamp(0, 1).numpy()


def train(settings: Settings, folder: Path) -> float:
    """Trains a network on the mean of |restored − clean| over all pixels, and writes it to the folder: see Recipe."""
    device, rate = pick_device(settings.device), settings.training_rates or settings.noise_rate
    source = NoisyAndCleanPatches(SIDE, settings.corruption, rate, SEED, device=device)
    made_by, watch = provenance(__name__, asdict(settings), source.inputs(), device), Stopwatch()
    torch.manual_seed(SEED)
    network = ResidualCNN().to(device)
    torch.backends.cudnn.allow_tf32 = False  # on a GPU too the convolutions are those of float32

    def losses(batch: Samples) -> Tensor:
        noisy, clean = (rows.view(-1, 1, SIDE, SIDE) for rows in (batch.X, batch.targets[0]))
        return (network(noisy) - clean).abs().mean(dim=(1, 2, 3)).sum()[None]

    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
    schedule = settings.epochs, settings.patches_per_epoch, BATCH_SIZE
    training = Training(network, source, losses, *schedule, optimizer=optimizer)
    progress = Progress(str(folder), made_by)
    _, seconds_before = progress.resume(NAME, training)
    for _ in epoch_bar(training, NAME):
        progress.save(NAME, training, [], seconds_before + watch.seconds())
    description = json.dumps({"settings": made_by["settings"], "made_by": as_json(made_by)})
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    replace_file(folder / f"{NAME}{SUFFIX}", save(weights, {DESCRIPTION: description}))
    progress.remove()
    return seconds_before + watch.seconds()


@cache
def load_cnn(path: Path) -> ResidualCNN:
    """The network that `train` wrote."""
    network = ResidualCNN()
    network.load_state_dict(load_file(path))
    return network.eval()


ALL_RATES, RANDOM_VALUED = {"training_rates": (0.01, 0.5)}, {"corruption": "random_valued", "noise_rate": 0.2}
AGAIN = "the same, four times as long"
NETWORKS = {
    "cnn": Recipe("1 to 50 % salt and pepper", Settings(epochs=70, **ALL_RATES), train, NAME),
    "cnn_four_times": Recipe(AGAIN, Settings(epochs=280, **ALL_RATES), train, NAME),
    "cnn_random_valued": Recipe("20 % random-valued impulses", Settings(epochs=145, **RANDOM_VALUED), train, NAME),
    "cnn_random_valued_four_times": Recipe(AGAIN, Settings(epochs=580, **RANDOM_VALUED), train, NAME),
}
METHODS = [
    Method(
        name, f"residual {title}", ResidualCNN.restore, damages=(settings.corruption,), readme=f"small {title}",
        networks=(f"{name}/{NAME}{SUFFIX}",), load=load_cnn,
        knows=NoisyAndCleanPatches.knowledge(settings.corruption, "shipped"),
    )
    for name, (purpose, settings, *_) in NETWORKS.items()
    for title in ["CNN, four times the epochs" if purpose == AGAIN else "CNN"]
]  # fmt: skip
