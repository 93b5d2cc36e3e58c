"""Fixtures of tests in several rooms, and how they share the processor."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import main_lena
from data.dictionary import load_dictionary
from data.images import load_image
from tests.helpers import PUBLISHED

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes: see .pytest.ini
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start


def as_published(settings):
    """Settings whose defaults are the published ones: who edits main_lena.py finds all tests as they were."""
    published = settings(**{name: value for name, value in PUBLISHED.items()})
    fields = [(f.name, f.type, replaced(f, getattr(published, f.name))) for f in dataclasses.fields(settings)]
    return dataclasses.make_dataclass(settings.__name__, fields, bases=(settings,), frozen=True)


def replaced(field, default):
    """The field with another default."""
    return dataclasses.field(default=default, metadata=field.metadata)


main_lena.Settings = as_published(main_lena.Settings)


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


@pytest.fixture
def compiler(monkeypatch):
    """What PyTorch is asked to compile from now on, in order."""
    asked, compile_function = [], torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: (asked.append(function), compile_function(function, **options))[1]
    )
    return asked


@pytest.fixture(scope="module")
def A():
    """The shipped dictionary."""
    return load_dictionary()


@pytest.fixture(scope="module")
def noisy():
    """A piece of a photograph with salt and pepper on a tenth of its pixels."""
    clean = load_image("camera")[100:228, 200:328]
    spots = np.random.default_rng(0).random(clean.shape)
    return torch.from_numpy(np.where(spots < 0.1, np.float32(spots < 0.05), clean))
