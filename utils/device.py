"""Devices: where tensors live and matrices are multiplied."""

import torch

DEVICES = ("auto", "cpu", "cuda")


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one and the CPU elsewhere.

    Raises:
        ValueError: CUDA is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is cuda, and this machine has none; allowed here: auto, cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
