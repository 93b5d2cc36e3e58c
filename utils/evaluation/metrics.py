"""Metrics of a restored image, as scikit-image defines them, and the time that it took."""

import time

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def psnr(restored: np.ndarray, clean: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of images with values in [0, 1]; infinite for equal ones."""
    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(clean, restored, data_range=1))


def ssim(restored: np.ndarray, clean: np.ndarray) -> float:
    """Structural similarity of images with values in [0, 1], grey or with channels last."""
    return float(structural_similarity(clean, restored, data_range=1, channel_axis=-1 if clean.ndim == 3 else None))


class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds until now."""
        return time.perf_counter() - self.started
