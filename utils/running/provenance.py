"""Provenance: what made a result. It stands beside the result, in a file of the same name that ends in .json."""

import hashlib
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from models.samples import process_count

ROOT = Path(__file__).parents[2]
CODE = ("main_lena.py", "models", "data", "utils", "tests/benchmarks", "requirements.txt")
PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "pillow", "matplotlib")

Provenance = dict[str, Any]  # what JSON knows


def provenance(
    module: str,  # that is run, and that shows the results: main_lena, utils.studies.comparison
    settings: dict[str, Any],  # hyperparameters and seeds; folders are left out
    inputs: dict[str, torch.Tensor | bytes | None] | None = None,  # what was read from files, by name
    device: torch.device | str = "cpu",
    compiled: bool = False,  # its training, see utils.running.devices
    precision: str = "float32",  # of its training, likewise
) -> Provenance:
    """What the results of a run depend on. The same run has the same results, apart from the seconds."""
    machine = {"processes": process_count(), "threads": torch.get_num_threads(), "type": platform.machine()}
    return {
        "module": module,
        **code(),
        "settings": json.loads(json.dumps({k: v for k, v in settings.items() if not k.endswith("_dir")})),
        "inputs": {name: digest(content) for name, content in (inputs or {}).items() if content is not None},
        "machine": machine | {"device": str(device), "compiled": compiled, "precision": precision},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def code() -> dict[str, str]:
    """The commit of the code, and a digest of what was changed since; both empty where there is no Git."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("diff", "HEAD", "--", *CODE)
    return {"commit": commit, "changes": digest(changes.encode()) if changes else ""}


def name_of(made_by: Provenance) -> str:
    """Eight characters that stand for a run."""
    return digest(as_json(made_by).encode())


def as_json(made_by: Provenance) -> str:
    """The text of the file that describes a result."""
    return json.dumps(made_by, indent=2, ensure_ascii=False) + "\n"


def read_provenance(path: Path) -> Provenance | None:
    """What such a file says; None if it is missing or is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and {"settings", "versions"} <= set(content) else None


def digest(content: torch.Tensor | bytes) -> str:
    """Eight characters of SHA-256."""
    data = content.cpu().numpy().tobytes() if isinstance(content, torch.Tensor) else content
    return hashlib.sha256(data).hexdigest()[:8]


def _git(*words: str) -> str:
    try:
        return subprocess.check_output(["git", *words], cwd=ROOT, stderr=subprocess.DEVNULL, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
