"""Self-supervised training: patches of the noisy image corrupted once more, beside those of the noisy image itself."""

import numpy as np
import torch
from torch import Tensor

from data.damage import DAMAGES, gaussian_deviation, noise_rate, second_rate
from data.patches import channels_first, randomly_turned
from models.losses import IMAGE
from models.samples import Samples
from utils.evaluation.observation import patch_masks
from utils.evaluation.records import SideInformation
from utils.running.errors import UserError
from utils.sources.base import Corrupting, patches_of_all_channels


class RecorruptedPatches(Corrupting):
    """Patches of the noisy image y that are corrupted once more, to y', beside those of y.

    A network that restores y from y' learns to remove the noise without a clean pixel (similar to Noisier2Noise, Moran
    et al. 2020, and Noise2Self, Batson & Royer 2019). Only the corruption is known. It says which values of y can be
    trusted: those that it cannot have made (Damage.untouched). Known positions say so themselves. The second
    corruption has the rate of the noise, see data.damage. Patches come in all symmetries of a square.

    Gaussian noise below impulses is drawn once more, n with the deviation of that in y, and enters y' and the target
    with opposite signs, y + n and y − n: their noises are independent then (Recorrupted-to-Recorrupted, Pang et al.
    2021, section 3).

    Args:
        noisy: y, values in [0, 1], (height, width) or (height, width, channels).
        patch: side of a patch in pixels.
        noise: the kind of noise, a name in data.damage.DAMAGES.
        seed: of the draws and of the second corruption.
        mask: of the known pixels, of the image's shape; None if nothing is known of them.

    Raises:
        UserError: the kind of noise is none.
        InvalidInput: the image has no noise, or too much.
    """

    targets = IMAGE
    restored = "X-BE"
    loss = "absolute_error"

    def __init__(self, noisy: Tensor, patch: int, noise: str, seed: int, mask: Tensor | None = None) -> None:
        super().__init__(seed)
        if noise not in DAMAGES:
            raise UserError(
                f"noise is {noise}, for self_supervised training; allowed: --noise with the kind of noise, or "
                "--training unsupervised"
            )
        damage, pixels = DAMAGES[noise], noisy.cpu().numpy()
        trusted = damage.untouched(pixels) if mask is None else mask.cpu().numpy()
        self.masked = mask is not None
        self.noise_rate = noise_rate(pixels, trusted)
        self.blind_rate = second_rate(self.noise_rate, trust=trusted is not None)
        self.deviation = gaussian_deviation(pixels, trusted) if damage.gaussian else 0.0
        self.impulses = damage.impulses
        self.tolerance = None if self.masked else damage.tolerance
        self.noisy, self.patch = noisy, patch
        self.untouched = None if trusted is None else torch.from_numpy(trusted).to(noisy)
        self.learn_from(None)

    @staticmethod
    def side_information(noise: str, images: str) -> SideInformation:
        """See PatchSource."""
        return SideInformation(training_data="the noisy image", noise_model=noise)

    @property
    def learns_from_restored(self) -> bool:
        """Whether `learn_from` changes anything."""
        return self.tolerance is not None

    def state_dict(self) -> dict:
        """See Source."""
        return super().state_dict() | {"restored": self.restored_image}

    def load_state_dict(self, state: dict) -> None:
        """See Source."""
        super().load_state_dict(state)
        self.learn_from(state["restored"])

    def after_epoch(self, restored: np.ndarray, done: float) -> None:
        """From the middle of the training on, the restored image says more of the noise; see `learn_from`."""
        if done >= 0.5:
            self.learn_from(torch.from_numpy(restored).to(self.noisy))

    def learn_from(self, restored: Tensor | None) -> None:
        """Draws from a restored image, where the noisy one is not trusted.

        Pixels that the restoration has hardly changed (Damage.tolerance) are trusted too. As most of the noise is
        gone from what is corrupted again, the rate is that of the noise also where nothing was trusted before.

        Args:
            restored: of the noisy image's shape, values in [0, 1]; None before there is one.
        """
        self.restored_image = restored if self.learns_from_restored else None
        base, trusted, self.rate = self.noisy, self.untouched, self.blind_rate
        if self.restored_image is not None:
            hardly_changed = (restored - self.noisy).abs() < self.tolerance
            trusted = hardly_changed.to(base) if trusted is None else torch.where(hardly_changed, 1, trusted)
            base, self.rate = torch.where(trusted == 1, self.noisy, restored), self.noise_rate
        trusted = torch.ones_like(base) if trusted is None else trusted
        self.planes = torch.stack([channels_first(plane) for plane in (base, self.noisy, trusted)])

    def draw(self, count: int) -> Samples:
        """See Source."""
        drawn = patches_of_all_channels(self.planes, self.patch, count, self.generator)
        base, observed, trusted = randomly_turned(drawn, self.generator)
        if self.deviation > 0:
            noise = self.deviation * torch.randn(base.shape, generator=self.generator).to(base)
            base, observed = (base + noise).clamp(0, 1), observed - noise
        strip = base.reshape(-1, self.patch).cpu().numpy()  # an image: the patches below each other
        X = torch.from_numpy(self.impulses.corrupt(strip, self.rate, self.next_noise_seed())).to(base).view_as(base)
        mask = patch_masks(trusted * (base == X)) if self.masked else None
        return Samples(X, mask, targets=(observed, trusted))
