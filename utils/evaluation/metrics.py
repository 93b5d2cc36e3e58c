"""Metrics of a restored image, and the time that it took."""

import math
import time

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from data.images import Image


def psnr(restored: Image | Tensor, clean: Image | Tensor) -> float:
    """Peak signal-to-noise ratio in dB of an image with values in [0, 1]; infinite for equal ones."""
    error = (torch.as_tensor(restored).double() - torch.as_tensor(clean).double()).square().mean().item()
    return -10 * math.log10(error) if error else math.inf


def ssim(restored: Image, clean: Image) -> float:
    """Structural similarity, as scikit-image defines it."""
    return float(structural_similarity(clean, restored, data_range=1, channel_axis=-1 if clean.ndim == 3 else None))


class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds until now."""
        return time.perf_counter() - self.started
