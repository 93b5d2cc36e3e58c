"""Checkpoints: a trained network in a file, with everything that it takes to build it again."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from models import DLADMM
from models.functions import FUNCTIONS, Function

# 11 bits of a weight are enough, see tests/test_trained.py, and halve the files in the repository.
PRECISION = torch.float16


def save_network(network: DLADMM, path: Path, settings: dict, made_by: str = "") -> None:
    """Writes the weights, A, B, f, g and, for the record, the settings of the run and what it was: Run.as_json.

    `load_network` brings the network back. Weights are rounded to 11 bits: by at most 2⁻¹¹ of a weight, or 2⁻²⁵ of the
    largest one in its tensor.
    """
    problem = network.problem
    buffer = io.BytesIO()  # PyTorch would turn a full disk into a RuntimeError
    torch.save(
        {
            "A": problem.A.cpu().clone(),  # without the marks of a compilation, which would go into the file
            "B": None if problem.B is None else problem.B.cpu().clone(),
            "f": _description(problem.f),
            "g": _description(problem.g),
            "depth": len(network.layers),
            "activation": network.activation,
            "restored": network.restored,
            "weights": {name: _packed(tensor.cpu()) for name, tensor in network.layers.state_dict().items()},
            "settings": settings,
            "made_by": made_by,
        },
        buffer,
    )
    path.write_bytes(buffer.getvalue())


def load_network(path: Path) -> DLADMM:
    """The network that `save_network` wrote, on the CPU. Only tensors and plain values are read; no code can run.

    Raises:
        ValueError: there is no such file, or it holds no such network.
    """
    with reading(path, "a checkpoint of main_lena.py"):
        saved = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(saved, dict):
            raise TypeError("it holds no table")
        f, g = (FUNCTIONS[name](**arguments) for name, arguments in (saved["f"], saved["g"]))
        choices = {name: saved[name] for name in ("activation", "restored")}
        network = DLADMM(saved["A"], saved["depth"], B=saved["B"], f=f, g=g, **choices)
        network.layers.load_state_dict({name: _unpacked(*parts) for name, parts in saved["weights"].items()})
    return network


@contextmanager
def reading(path: Path, allowed: str) -> Iterator[None]:
    """Turns whatever a broken or foreign file does to who reads it with PyTorch into a ValueError of one line."""
    try:
        yield
    except Exception as error:  # PyTorch's reader of a broken file has failed in a dozen ways, assertions among them
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"checkpoint {str(path)!r} cannot be read ({reason}); allowed: {allowed}") from None


def load_settings(path: Path) -> dict:
    """The settings of the run that trained the network of a checkpoint that `load_network` reads.

    Raises:
        ValueError: there are none in it.
    """
    with reading(path, "a checkpoint of main_lena.py"):
        return dict(torch.load(path, weights_only=True, map_location="cpu")["settings"])


def _packed(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor in units of its largest entry, rounded, and that entry: no range of values is too large or small."""
    largest = tensor.abs().max().clamp(min=torch.finfo(tensor.dtype).tiny)
    return (tensor / largest).to(PRECISION), largest


def _unpacked(rounded: Tensor, largest: Tensor) -> Tensor:
    return rounded.to(largest.dtype) * largest


def _description(function: Function) -> tuple[str, dict]:
    name = next(name for name, kind in FUNCTIONS.items() if type(function) is kind)
    return name, function.arguments()
