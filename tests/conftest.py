"""Fixtures of tests in several rooms, and how they share the processor."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import main_lena
from data.dictionary import load_dictionary
from data.formats import save_pixels
from data.images import load_image, to_pixels
from tests.helpers import PUBLISHED

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes: see .pytest.ini
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start


def as_published(settings):
    """Settings whose defaults are the published ones: who edits main_lena.py finds all tests as they were."""
    published = settings(**PUBLISHED)
    fields = [
        (f.name, f.type, dataclasses.field(default=getattr(published, f.name), metadata=f.metadata))
        for f in dataclasses.fields(settings)
    ]
    return dataclasses.make_dataclass(settings.__name__, fields, bases=(settings,), frozen=True)


main_lena.Settings = as_published(main_lena.Settings)


@pytest.fixture
def code(tmp_path):
    """Something that PyTorch saves, and that makes the file "was here" when it is unpickled."""

    class Code:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was here",)

    return Code()


@pytest.fixture
def compiler(monkeypatch):
    """What PyTorch is asked to compile from now on, in order."""
    asked, compile_function = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda each, **how: asked.append(each) or compile_function(each, **how))
    return asked


@pytest.fixture(scope="module")
def A():
    return load_dictionary()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A file with a piece of a photograph, whose sides are no multiples of a patch's."""
    path = tmp_path_factory.mktemp("image") / "piece.png"
    save_pixels(to_pixels(load_image("camera")[60:130, 180:233], np.uint8), path)
    return path


@pytest.fixture(scope="module")
def noisy():
    """A piece of a photograph with salt and pepper on a tenth of its pixels."""
    clean = load_image("camera")[100:228, 200:328]
    spots = np.random.default_rng(0).random(clean.shape)
    return torch.from_numpy(np.where(spots < 0.1, np.float32(spots < 0.05), clean))
