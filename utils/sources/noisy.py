"""Unsupervised training: patches of the noisy image, and nothing else."""

import torch
from torch import Tensor

from data.patches import channels_first
from models.samples import Samples
from utils.evaluation.observation import patch_masks
from utils.evaluation.records import SideInformation
from utils.sources.base import PatchSource, patches_of_all_channels


class NoisyPatches(PatchSource):
    """Patches from everywhere in the noisy image, of all its channels.

    Args:
        noisy: values in [0, 1], (height, width) or (height, width, channels).
        patch: side of a patch in pixels.
        seed: of the draws.
        mask: of the known pixels, of the image's shape; None if nothing is known of them.
    """

    def __init__(self, noisy: Tensor, patch: int, seed: int, mask: Tensor | None = None) -> None:
        super().__init__(seed)
        known = [noisy] if mask is None else [noisy, mask]
        self.planes = torch.stack([channels_first(plane) for plane in known])  # (1 or 2, channels, height, width)
        self.patch = patch

    @staticmethod
    def side_information(noise: str, images: str) -> SideInformation:
        """See PatchSource."""
        return SideInformation(training_data="the noisy image")

    def draw(self, count: int) -> Samples:
        """See Source."""
        X, *mask = patches_of_all_channels(self.planes, self.patch, count, self.generator)
        return Samples(X, *map(patch_masks, mask))
