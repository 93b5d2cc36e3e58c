"""Claims about the rooms: imports point one way, none in a circle, and the mathematics needs PyTorch alone."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.helpers import ROOT

# fmt: off
ROOMS = {  # what a room may import from
    "utils.studies": {
        "main_lena", "models", "data", "utils.studies", "utils.restore", "utils.sources", "utils.evaluation",
        "utils.reporting", "utils.running",
    },
    "main_lena": {"models", "data", "utils.sources", "utils.evaluation", "utils.reporting", "utils.running"},
    "utils.restore": {"models", "data", "utils.restore", "utils.sources", "utils.evaluation", "utils.running"},
    "utils.reporting": {"models", "data", "utils.reporting", "utils.evaluation", "utils.running"},
    "utils.sources": {"models", "data", "utils.sources", "utils.evaluation", "utils.running"},
    "utils.evaluation": {"models", "data", "utils.evaluation", "utils.running"},
    "utils.running": {"models", "data", "utils.running"},
    "utils": set(),
    "models": {"models"},
    "data": {"data"},
}
# fmt: on
# Lines of a room, docstrings and blank ones too. What is added to the house is paid for with what it makes superfluous.
BUDGET = {
    "main_lena": 210,
    "models": 2049,
    "data": 1649,
    "utils.sources": 416,
    "utils.evaluation": 403,
    "utils.reporting": 537,
    "utils.running": 617,
    "utils.restore": 808,
    "utils.studies": 2308,
}  # fmt: skip
FILES = [ROOT / "main_lena.py", *(path for room in ("models", "data", "utils") for path in (ROOT / room).rglob("*.py"))]


def name_of(path):
    """The module in a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def room_of(module):
    """The room that a module belongs to."""
    parts = module.split(".")
    below = ".".join(parts[:2])
    return below if below in ROOMS else parts[0]


def imports(path):
    """The modules of ours that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(MODULES)


def test_every_file_is_found():
    assert {"main_lena", "models.dladmm", "data.images", "utils.restore.learning"} <= set(MODULES)
    assert "models.problem" in imports(MODULES["models.dladmm"])


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module):
    allowed = ROOMS[room_of(module)]
    for imported in imports(MODULES[module]):
        assert room_of(imported) in allowed, f"{module} imports {imported}"


def test_no_imports_in_a_circle():
    graph = {module: imports(path) - {module} for module, path in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_every_room_says_what_it_is_for():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_gradients_go_backward_in_one_place():
    """There is one training loop."""
    calls = [path.name for path in FILES for _ in range(path.read_text(encoding="utf-8").count(".backward("))]
    assert calls == ["training.py"]


def lines(*paths):
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


@pytest.mark.parametrize("room", BUDGET)
def test_a_room_keeps_its_budget_of_lines(room):
    found = lines(*(path for module, path in MODULES.items() if f"{module}.".startswith(f"{room}.")))
    assert 0 < found <= BUDGET[room]


def test_the_house_keeps_its_budget_of_lines():
    assert sum(BUDGET.values()) <= 8997
    assert lines(*FILES) <= 8998 and lines(*(ROOT / "tests").rglob("*.py")) <= 5924


def test_functions_and_files_are_short():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 50, (path, node.name)


ALONE = """
import sys
for name in BLOCKED:
    sys.modules[name] = None  # to import it fails

import torch
from models import DLADMM, Problem, ladmm

A, X = torch.randn(6, 9), torch.randn(20, 6)
network = DLADMM(A, 3, 0.4, activation="piecewise_linear")
before = network.problem.objective(network(X)[-1], X).mean()
network.fit(X, epochs=2, samples_per_epoch=100, batch_size=20, progress=True)
assert network.problem.objective(network(X)[-1], X).mean() < before
assert Problem(A, 0.4).gap(next(ladmm(Problem(A, 0.4), X, 1.0)), X).shape == (20,)
"""


def test_models_need_pytorch_alone():
    required = (ROOT / "requirements.txt").read_text().split()
    packages = {line.split("==")[0] for line in required} - {"torch", "filelock"}  # PyTorch needs filelock itself
    blocked = packages | {"PIL", "skimage", "sklearn", "data", "utils", "main_lena"}
    code = ALONE.replace("BLOCKED", repr(blocked))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
