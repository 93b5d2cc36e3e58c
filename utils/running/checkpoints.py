"""Checkpoints: a trained network in a file, with everything that it takes to build it again.

The format is safetensors: named tensors and a text, here JSON. A file holds data alone, so that no code in it can run.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models import DLADMM
from models.detector import Detector
from models.errors import InvalidArgument
from models.functions import FUNCTIONS
from models.operators import Convolution
from utils.running.errors import UserError

SUFFIX = ".safetensors"
PRECISION = torch.float16  # 11 bits of a weight are enough, see tests/test_trained.py, and halve the files
DESCRIPTION = "dladmm"  # the entry of the file's text


def save_network(network: DLADMM, path: Path | str, settings: dict[str, Any], made_by: str = "") -> None:
    """Writes the weights, A, B, f, g and, for the record, the settings of the run and the text of its provenance.

    Weights are rounded to 11 bits: by at most 2⁻¹¹ of a weight, or 2⁻²⁵ of the largest one in its tensor. An f or g
    that has no line in `FUNCTIONS` raises InvalidArgument.
    """
    problem = network.problem
    tensors = {"A": problem.A} | ({} if problem.B is None else {"B": problem.B})
    description = {
        "depth": len(network.layers),
        "activation": network.activation,
        "restored": network.restored,
        "weights": network.weights,
        "relaxation": [layer.relaxation for layer in network.layers],
        "settings": settings,
        "made_by": made_by,
    }
    names = {cls: name for name, cls in FUNCTIONS.items()}
    for part, function in (("f", problem.f), ("g", problem.g)):
        if type(function) not in names:
            given = f"{type(function).__name__} has no line in models.functions.FUNCTIONS, by which it could be loaded"
            raise InvalidArgument(f"{given}; allowed: {', '.join(FUNCTIONS)}")
        description[part] = names[type(function)], vars(function)
    for name, tensor in network.layers.state_dict().items():
        # In units of its largest entry, which is saved beside it: no range of values is too large or too small.
        scale = tensor.abs().max().clamp(min=torch.finfo(tensor.dtype).tiny)
        tensors |= {f"weights.{name}": (tensor / scale).to(PRECISION), f"scales.{name}": scale}
    # A clone has no marks of a compilation, and no memory that it shares with others.
    on_cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    Path(path).write_bytes(save(on_cpu, {DESCRIPTION: json.dumps(description)}))


def load_network(path: Path | str) -> DLADMM:
    """The network that `save_network` wrote, on the CPU; UserError if there is none. Convergent weights come back as
    free ones of the same values."""
    tensors, description = _read(path)
    try:
        choices = {name: description[name] for name in ("depth", "activation", "restored", "weights")}
        (f, of_f), (g, of_g) = description["f"], description["g"]
        A = Convolution(tensors["A"]) if tensors["A"].ndim == 4 else tensors["A"]
        network = DLADMM(A, B=tensors.get("B"), f=FUNCTIONS[f](**of_f), g=FUNCTIONS[g](**of_g), **choices)
        scales, saved = (_below(part, tensors) for part in ("scales.", "weights."))
        weights = {name: tensor.to(scales[name].dtype) * scales[name] for name, tensor in saved.items()}
        network.layers.load_state_dict(weights)  # of another depth or activation it has other names or shapes
        relaxations = description.get("relaxation", [1.0] * network.depth)
        for layer, relaxation in zip(network.layers, relaxations, strict=True):
            layer.relaxation = float(relaxation)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    return network.free()


def save_detector(detector: Detector, path: Path | str, settings: dict[str, Any], made_by: str = "") -> None:
    """Writes a detector, as `save_network` does a D-LADMM; its weights are rounded to 11 bits."""
    weights = {name: tensor.detach().cpu().contiguous().to(PRECISION) for name, tensor in detector.state_dict().items()}
    description = {"detector": detector.choices, "settings": settings, "made_by": made_by}
    Path(path).write_bytes(save(weights, {DESCRIPTION: json.dumps(description)}))


def load_detector(path: Path | str) -> Detector:
    """The detector that `save_detector` wrote, on the CPU; errors: see `load_network`."""
    weights, description = _read(path)
    try:
        detector = Detector(**description["detector"])
        detector.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise _unreadable(path, str(error)) from None
    return detector


def load_description(path: Path) -> dict[str, Any]:
    """What the network of a checkpoint is, and how it was made; errors: see `load_network`."""
    return _read(path, with_tensors=False)[1]


def load_settings(path: Path) -> dict[str, Any]:
    """The settings of the run that trained the network of a checkpoint; errors: see `load_network`."""
    return load_description(path)["settings"]


def _read(path: Path, with_tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in a file, or none, and its description."""
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get(DESCRIPTION, "null"))
            tensors = {name: file.get_tensor(name) for name in (file.keys() if with_tensors else ())}
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(description, dict) or not isinstance(description.get("settings"), dict):
        raise _unreadable(path, "it holds no description with settings")
    if not all(tensor.dtype in (torch.float16, torch.float32, torch.float64) for tensor in tensors.values()):
        raise _unreadable(path, "it holds other numbers than floats")
    return tensors, description


def _below(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}


def _unreadable(path: Path, reason: object) -> UserError:
    reason = " ".join(str(reason).split())
    return UserError(f"checkpoint {str(path)!r} cannot be read ({reason}); allowed: a checkpoint of main_lena.py")
