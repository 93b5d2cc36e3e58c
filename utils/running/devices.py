"""Devices: where tensors live, and whether networks are compiled for them."""

import torch

from models.processes import number_on_machine
from utils.running.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
COMPILE = ("auto", "yes", "no")
PAYS_FROM = 1_000_000  # Compilation pays off from this many patches × layers in training: it saves 20 µs of each.
RESTORING = 0.15  # what one counts for in restoring, where 3 µs are saved
ON_GPU = 30  # times as many: a step is replayed there (models.capture), and compiling saves 0.7 µs


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one and the CPU elsewhere.

    Raises:
        UserError: CUDA is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, and this machine has none; allowed here: auto, cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", number_on_machine())


def pick_compiled(name: str, work: float, device: torch.device) -> bool:
    """Whether to compile: "auto" compiles where it pays off and works.

    Args:
        name: one of `COMPILE`.
        work: patches × layers, summed over the epochs of all training; those that are restored times `RESTORING`.
        device: where it runs.

    Raises:
        UserError: compilation is asked for, and does not work here.
    """
    pays_from = PAYS_FROM * (ON_GPU if device.type == "cuda" else 1)
    if name == "no" or (name == "auto" and work < pays_from):
        return False
    try:
        torch.compile(lambda v: v + 1)(torch.zeros(1, device=device))
    except Exception as error:  # no compiler, no headers of Python, no room for its files: PyTorch has no common name
        if name == "yes":
            raise UserError(f"compile is yes, and it fails here ({type(error).__name__}); allowed here: no") from error
        return False
    return True
