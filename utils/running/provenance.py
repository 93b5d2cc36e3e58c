"""Provenance: a description of what made a result, which is saved with the result."""

import ast
import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from models.samples import process_count

ROOT = Path(__file__).parents[2]
SHARED, APART = ("models", "data", "utils"), ("utils/studies", "utils/restore")
PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "pillow", "matplotlib")


class Run:
    """Everything that the results of a run depend on. The same run has the same results, apart from the seconds.

    Args:
        settings: hyperparameters and seeds. Folders are left out.
        inputs: what was read from files, by name: tensors, or None.
        device: where it computes.
        compiled: whether its training is compiled.
        precision: of the products in its training, a name in models.training.PRECISIONS.
        command: the module that is run.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        inputs: dict[str, torch.Tensor | None] | None = None,
        device: torch.device | str = "cpu",
        compiled: bool = False,
        precision: str = "float32",
        command: str = "main_lena",
    ) -> None:
        self.code = {"command": command, "digest": digest_of_code(command)}
        self.settings = {name: value for name, value in settings.items() if not name.endswith("_dir")}
        read = {name: data for name, data in (inputs or {}).items() if data is not None}
        self.inputs = {name: digest(data.cpu().numpy().tobytes()) for name, data in read.items()}
        self.machine = {"processes": process_count(), "threads": torch.get_num_threads(), "type": platform.machine()}
        self.machine |= {"device": str(device), "compiled": compiled, "precision": precision}
        self.versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}

    def as_json(self) -> str:
        """The description, in a fixed order."""
        return json.dumps(vars(self), indent=2) + "\n"

    @property
    def name(self) -> str:
        """Eight characters that stand for this description."""
        return digest(self.as_json().encode())

    @property
    def title(self) -> str:
        """The line in a picture that says where it is from."""
        return f"run {self.name}, see run.json"

    def as_markdown(self) -> str:
        """The description, for the end of a Markdown file."""
        return f"Run {self.name}:\n\n```json\n{self.as_json()}```\n"

    def differences(self, other: str) -> list[str]:
        """The differences from another run, whose `as_json` is `other`: texts such as "seed (1, now 2)"."""
        ours, theirs = _flat(json.loads(self.as_json())), _flat(json.loads(other))
        return [
            f"{name} ({theirs.get(name)}, now {ours.get(name)})"
            for name in ours | theirs
            if ours.get(name) != theirs.get(name)
        ]


def is_description(path: Path) -> bool:
    """Whether the file holds the description of a run."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    parts = content.values() if isinstance(content, dict) else ()
    return all(isinstance(part, dict) for part in parts) and {"settings", "versions"} <= set(content)


def digest_of_code(command: str) -> str:
    """Eight characters that stand for the names and the code of the modules that a command may use.

    These are main_lena.py and all in models/, data/ and utils/ apart from utils/studies/ and utils/restore/, and all in
    and below the folder of the command if that is further down: utils/studies/rivals/ for utils.studies.rivals.cnn.
    Comments, docstrings and the layout do not count, nor does the version of Python: results are those of the code as
    long as it does the same.

    Args:
        command: the name of the module, such as main_lena or utils.studies.comparison.
    """
    *folder, _ = command.split(".")
    modules = {ROOT / "main_lena.py", *_modules_below(*SHARED)} - _modules_below(*APART)
    if len(folder) > 1:
        modules |= _modules_below("/".join(folder))
    code = {path.relative_to(ROOT).as_posix(): _code_of(path) for path in modules}
    return digest(json.dumps(code, sort_keys=True).encode())


def _modules_below(*folders: str) -> set[Path]:
    return {path for folder in folders for path in (ROOT / folder).rglob("*.py")}


def _code_of(path: Path) -> list:
    """The code of a module without comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return _syntax(tree)


def _syntax(node: Any) -> Any:
    """A syntax tree as lists and texts, the same in every version of Python: parts that are empty are left out."""
    if isinstance(node, list):
        return [_syntax(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    return [type(node).__name__, *([k, _syntax(v)] for k, v in ast.iter_fields(node) if v not in (None, []))]


def digest(content: bytes) -> str:
    """Eight characters of SHA-256."""
    return hashlib.sha256(content).hexdigest()[:8]


def _flat(described: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        name if part == "settings" else f"{name} of the {part}": value
        for part, values in described.items()
        for name, value in values.items()
    }
