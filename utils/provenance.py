"""Provenance: what made a result, in words that the result carries with it."""

import hashlib
import json
import platform
from importlib.metadata import version
from typing import Any

import torch

from utils.processes import process_count

PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "pillow", "matplotlib")


class Run:
    """Everything that the results of a run depend on: the same run has the same results, but for the seconds it took.

    Args:
        settings: hyperparameters and seeds; folders have no part in it.
        inputs: what was read from files, as tensors or None, by name.
    """

    def __init__(self, settings: dict[str, Any], **inputs: torch.Tensor | None) -> None:
        self.settings = {name: value for name, value in settings.items() if not name.endswith("_dir")}
        self.inputs = {name: digest(data.cpu().numpy().tobytes()) for name, data in inputs.items() if data is not None}
        self.machine = {"processes": process_count(), "threads": torch.get_num_threads(), "type": platform.machine()}
        self.versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}

    def as_json(self) -> str:
        """All of it, in a fixed order."""
        return json.dumps(vars(self), indent=2) + "\n"

    @property
    def name(self) -> str:
        """Eight characters that stand for all of it."""
        return digest(self.as_json().encode())

    @property
    def title(self) -> str:
        """What pictures say of where they are from."""
        return f"run {self.name}, see run.json"

    def as_markdown(self) -> str:
        """All of it, below a table."""
        return f"Run {self.name}:\n\n```json\n{self.as_json()}```\n"

    def differences(self, other: str) -> list[str]:
        """What is different in another run, given `as_json`: "seed (1, now 2)"."""
        ours, theirs = _flat(json.loads(self.as_json())), _flat(json.loads(other))
        return [
            f"{name} ({theirs.get(name)}, now {ours.get(name)})"
            for name in ours | theirs
            if ours.get(name) != theirs.get(name)
        ]


def digest(content: bytes) -> str:
    """Eight characters of SHA-256."""
    return hashlib.sha256(content).hexdigest()[:8]


def _flat(described: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        name if part == "settings" else f"{name} of the {part}": value
        for part, values in described.items()
        for name, value in values.items()
    }
