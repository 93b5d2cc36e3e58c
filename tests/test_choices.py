"""Claims about extending: to add a choice is a function or class and a line in its table, nothing else."""

import numpy as np
import torch
from torch import nn

import main_lena
from data.damage import DAMAGES, Damage
from data.formats import save_pixels
from data.images import load_image, to_pixels
from data.masks import MASKS
from models.activations import ACTIVATIONS
from models.layer import INITIALIZATIONS
from models.losses import LOSSES, Loss
from models.samples import Samples
from tests.helpers import rows
from utils.sources import SOURCES
from utils.sources.patches import NoisyPatches

CALLED = set()


def called(name, function):
    return lambda *given, **named: CALLED.add(name) or function(*given, **named)


def transposed(problem, beta):
    scale = beta * torch.linalg.matrix_norm(problem.A, "fro") ** 2
    return problem.A / scale, torch.full_like(problem.A[0], (1 / scale).item())


class Clipped(nn.Module):
    def __init__(self, function, step):
        super().__init__()
        self.bound = nn.Parameter(torch.full_like(step, 0.1))

    def forward(self, v, function):
        CALLED.add("activation")
        return torch.minimum(torch.maximum(v, -self.bound), self.bound)


def brightness(problem, state, X, mask, level):
    """A loss with a target that no other training has."""
    return (state.AZ.mean(dim=1) - level).square()


class Stripes(Damage):
    def corrupt(self, image, rate, seed):
        CALLED.add("corruption")
        return np.where(np.arange(len(image))[:, None] % 9 == seed % 9, np.float32(0), image)


class WithMeans(NoisyPatches):
    targets, loss = ("level",), "brightness"

    @staticmethod
    def knowledge(noise, images):
        return {"training_data": "means"}

    def draw(self, count):
        CALLED.add("training")
        X, mask, _ = super().draw(count)
        return Samples(X, mask, (X.mean(dim=1),))


def test_a_choice_of_ones_own_of_every_kind_is_a_line_and_is_trained_with(tmp_path, monkeypatch):
    monkeypatch.setitem(INITIALIZATIONS, "transposed", called("initialization", transposed))
    monkeypatch.setitem(ACTIVATIONS, "clipped", Clipped)
    monkeypatch.setitem(LOSSES, "brightness", Loss(called("loss", brightness), targets=("level",)))
    monkeypatch.setitem(DAMAGES, "stripes", Stripes())
    monkeypatch.setitem(MASKS, "dark", called("mask", lambda noisy: np.float32(noisy > 0.02)))
    monkeypatch.setitem(SOURCES, "means", lambda s, seen: WithMeans(seen.pixels, seen.grid.patch, s.seed, seen.mask))
    monkeypatch.setattr(WithMeans, "after_epoch", lambda source, image, done: CALLED.add(done))
    monkeypatch.chdir(tmp_path)
    save_pixels(to_pixels(load_image("camera")[60:108, 180:228], np.uint8), tmp_path / "piece.png")
    choices = "--initialization transposed --activation clipped --corruption stripes --positions dark --training means"
    short = "--epochs 2 --patches-per-epoch 100 --batch-size 50 --ladmm-max-iterations 20 --safeguard-layers 3"
    main_lena.main(f"--image piece.png --depths 2 --results-dir r --checkpoint-dir c {choices} {short}".split())
    choices = {"initialization", "activation", "loss", "corruption", "mask", "training"}
    assert choices | {0.5, 1.0} == CALLED  # after these parts of the epochs
    learned = rows(tmp_path / "r" / "results.csv")[-1]
    assert learned["training_data"] == "means" and learned["known_positions"] == "yes"
    history = [float(row["loss"]) for row in rows(tmp_path / "r" / "history.csv")]
    assert len(history) == 2 and history[1] < history[0]
