"""Fixtures of tests in several rooms."""

from pathlib import Path

import pytest


class Code:
    """What a checkpoint must not run: when it is unpickled it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def code(tmp_path):
    """Something that PyTorch saves, and that makes the file "was here" if its code runs."""
    return Code(tmp_path / "was here")
