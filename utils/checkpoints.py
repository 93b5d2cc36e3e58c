"""Checkpoints: a trained network in a file, with everything that it takes to build it again."""

from pathlib import Path

import torch

from models import DLADMM


def save_network(network: DLADMM, path: Path, settings: dict) -> None:
    """Writes the weights, A, B, α and the settings of the run. The network comes back with `load_network`."""
    problem = network.problem
    torch.save(
        {
            "A": problem.A.cpu(),
            "B": None if problem.B is None else problem.B.cpu(),
            "alpha": problem.alpha,
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
    network = DLADMM(saved["A"], saved["depth"], saved["alpha"], saved["B"], activation=saved["activation"])
    network.layers.load_state_dict(saved["weights"])
    return network
