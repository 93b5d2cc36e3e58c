"""Checkpoints: a trained network in a file, with everything that it takes to build it again."""

from pathlib import Path

import torch

from models import DLADMM
from models.functions import FUNCTIONS, Function


def save_network(network: DLADMM, path: Path, settings: dict) -> None:
    """Writes the weights, A, B, f, g and the settings of the run. The network comes back with `load_network`."""
    problem = network.problem
    torch.save(
        {
            "A": problem.A.cpu(),
            "B": None if problem.B is None else problem.B.cpu(),
            "f": _description(problem.f),
            "g": _description(problem.g),
            "depth": len(network.layers),
            "activation": settings["activation"],
            "weights": {name: tensor.cpu() for name, tensor in network.layers.state_dict().items()},
            "settings": settings,
        },
        path,
    )


def load_network(path: Path) -> DLADMM:
    """The network that `save_network` wrote, on the CPU. Only tensors and plain values are read; no code can run."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    f, g = (FUNCTIONS[name](**arguments) for name, arguments in (saved["f"], saved["g"]))
    network = DLADMM(saved["A"], saved["depth"], B=saved["B"], f=f, g=g, activation=saved["activation"])
    network.layers.load_state_dict(saved["weights"])
    return network


def _description(function: Function) -> tuple[str, dict]:
    name = next(name for name, kind in FUNCTIONS.items() if type(function) is kind)
    return name, function.arguments()
