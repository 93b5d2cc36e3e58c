"""Devices: where tensors live, whether networks are compiled for them, and in which precision they learn."""

import torch

from models.samples import number_on_machine
from models.training import PRECISIONS
from utils.running.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
COMPILE = ("auto", "yes", "no")
PRECISION = ("auto", *PRECISIONS)
PAYS_FROM = 1_000_000  # Compilation pays off from this many patches × layers in training: it saves 20 µs of each.
RESTORING = 0.15  # what one counts for in restoring, where 3 µs are saved
ON_GPU = 30  # times as many: a step is replayed there (models.samples), and compiling saves 0.7 µs


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one and the CPU elsewhere."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, and this machine has none; allowed here: auto, cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", number_on_machine())


def pick_compiled(name: str, work: float, device: torch.device) -> bool:
    """Whether to compile: "auto" compiles where it pays off and works. The name is one of `COMPILE`. The work is the
    sum of patches × layers over the epochs of all training; those that are restored count `RESTORING` times."""
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


def pick_precision(name: str, device: torch.device | str) -> str:
    """The precision of matrix products in training: "auto" rounds their factors to bfloat16 on processors that have
    such products. On a GPU it does not: there launching takes the time, not the products."""
    device = torch.device(device)
    able = device.type != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if name == "bfloat16" and not able:
        raise UserError("precision is bfloat16, and this processor has no such products; allowed here: auto, float32")
    if name == "auto":
        return "bfloat16" if able and device.type == "cpu" else "float32"
    return name
