"""Metrics of a restored image, and the time that it took."""

import itertools
import math
import time

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from data.images import Image


def psnr(restored: Image | Tensor, clean: Image | Tensor) -> float:
    """Peak signal-to-noise ratio in dB of an image with values in [0, 1]; infinite for equal ones."""
    return decibels(squared_error(torch.as_tensor(restored), torch.as_tensor(clean)).item())


def squared_error(restored: Tensor, clean: Tensor) -> Tensor:
    """The mean squared error, (), float64, where the images are."""
    return (restored.double() - clean.double()).square().mean()


def decibels(error: float) -> float:
    """PSNR in dB of an image with values in [0, 1] whose mean squared error is this; infinite for none."""
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


class Laps:
    """Seconds of what is done between two marks, then between the next two, …; a GPU's by its own clock. Nothing is
    read from a GPU before `totals`, so that it need not wait."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.times = []

    def mark(self) -> None:
        """Starts a lap, or ends it."""
        if self.on_gpu:
            self.times.append(torch.cuda.Event(enable_timing=True))
            self.times[-1].record()
        else:
            self.times.append(time.perf_counter())

    def totals(self) -> list[float]:
        """Of the first lap, of the first two, …"""
        pairs = zip(self.times[::2], self.times[1::2], strict=True)
        if self.on_gpu:
            torch.cuda.synchronize()
            return list(itertools.accumulate(start.elapsed_time(stop) / 1000 for start, stop in pairs))
        return list(itertools.accumulate(stop - start for start, stop in pairs))
