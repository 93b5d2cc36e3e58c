"""Training: one optimizer, one schedule, a loss over all layers, fresh patches in every epoch."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from data.images import TRAINING_IMAGES, load_image
from data.patches import random_patches
from models import DLADMM, Problem
from models.losses import LOSSES, SUPERVISED_LOSSES, Loss, check_loss
from utils.tables import Knowledge

# count -> (X,), or (X, targets, ...) with the true values that a loss compares with: tensors of `count` rows, which are
# drawn afresh in every call.
DrawSamples = Callable[[int], tuple[Tensor, ...]]
Corrupt = Callable[..., np.ndarray]  # (image, seed=...) -> corrupted image


def noisy_patches(noisy: Tensor, patch: int, corrupt: Corrupt, seed: int) -> DrawSamples:
    """Patches X from everywhere in the corrupted image (height, width), which is not corrupted again."""
    generator = torch.Generator().manual_seed(seed)
    return lambda count: (random_patches(noisy, patch, count, generator),)


def noisy_and_clean_patches(noisy: Tensor, patch: int, corrupt: Corrupt, seed: int) -> DrawSamples:
    """Pairs of patches, noisy X and clean, as many of each of the `TRAINING_IMAGES`, corrupted afresh in every call.

    Of the corrupted image it takes nothing but its device.
    """
    images = [load_image(name) for name in TRAINING_IMAGES]
    generator = torch.Generator().manual_seed(seed)
    seeds = itertools.count(seed + 1)  # with the seed itself the image to restore was corrupted: its mask is not shown

    def draw(count: int) -> tuple[Tensor, ...]:
        pairs = []
        for number, image in enumerate(images):
            both = torch.from_numpy(np.stack([corrupt(image, seed=next(seeds)), image])).to(noisy.device)
            share = (count + number) // len(images)
            pairs.append(random_patches(both, patch, share, generator))
        X, clean = torch.cat(pairs, dim=1)[:, torch.randperm(count, generator=generator)]
        return X, clean

    return draw


class Training(NamedTuple):
    """Where training patches come from, what the network gets to know by that, and the losses that fit, best first."""

    source: Callable[[Tensor, int, Corrupt, int], DrawSamples]
    knows: Knowledge
    losses: dict[str, Loss]


TRAININGS = {
    "unsupervised": Training(noisy_patches, Knowledge(training_data="the noisy image"), LOSSES),
    "supervised": Training(
        noisy_and_clean_patches,
        Knowledge(training_data="other images", clean_targets="of other images"),
        SUPERVISED_LOSSES,
    ),
}
LOSS_NAMES = ("auto", *(name for training in TRAININGS.values() for name in training.losses))


def pick_loss(name: str, training: Training, problem: Problem) -> Loss:
    """The loss of that name; "auto" is the first that fits the training.

    Raises:
        ValueError: the loss does not fit the training or the problem.
    """
    if name == "auto":
        name = next(iter(training.losses))
    if name not in training.losses:
        raise ValueError(f"loss is {name}; allowed for this training: {', '.join(training.losses)}")
    check_loss(name, problem)
    return training.losses[name]


def layer_weights(depth: int, discount: float) -> list[float]:
    """Weights of the layers' losses, summing to 1: each layer counts `discount` times as much as the one after it."""
    weights = [discount ** (depth - layer) for layer in range(1, depth + 1)]
    return [weight / sum(weights) for weight in weights]


def relative_rates(network: nn.Module, learning_rate: float) -> list[dict]:
    """Adam's parameter groups: the rate of a tensor is `learning_rate` times its root mean square at the start.

    W1, β, W2 and the thresholds differ in size by four orders of magnitude, and a step of Adam moves every entry by
    about the rate: one rate for all would tear up the small ones or leave the large ones where they are.
    """
    groups = defaultdict(list)
    for parameter in network.parameters():
        groups[parameter.detach().square().mean().sqrt().item()].append(parameter)
    return [{"params": parameters, "lr": learning_rate * size} for size, parameters in groups.items()]


def one_cycle(done: float, warm_up: float = 0.1) -> float:
    """Learning rate as a fraction of its peak, with the fraction `done` of training over: a line up, a cosine down."""
    return done / warm_up if done < warm_up else 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def train(
    network: DLADMM,
    draw_samples: DrawSamples,
    loss: Loss,
    epochs: int,
    patches_per_epoch: int,
    batch_size: int,
    learning_rate: float,
    layer_discount: float,
) -> Iterator[float]:
    """Trains the network in place with Adam and a one-cycle rate; yields each epoch's mean loss at the last layer.

    Args:
        draw_samples: gives an epoch's patches, and their targets if the loss takes any.
        loss: one of models.losses; its mean over a batch is weighted over the layers by `layer_weights`.
        epochs: how many times patches are drawn.
        patches_per_epoch: how many each time.
        batch_size: patches in a step.
        learning_rate: the peak, relative to the size of each tensor: see `relative_rates`.
        layer_discount: 0 (the last layer alone) to 1 (all layers alike).
    """
    device = network.problem.A.device
    weights = torch.tensor(layer_weights(len(network.layers), layer_discount)).to(network.problem.A)
    optimizer = torch.optim.Adam(relative_rates(network, learning_rate), betas=(0.9, 0.99), eps=1e-10, fused=True)
    steps = epochs * math.ceil(patches_per_epoch / batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle((step + 1) / (steps + 1)))
    for _ in range(epochs):
        epoch_loss = torch.zeros((), device=device)
        samples = draw_samples(patches_per_epoch)
        for X, *targets in zip(*(part.split(batch_size) for part in samples), strict=True):
            losses = torch.stack([loss(network.problem, state, X, *targets).mean() for state in network(X)])
            optimizer.zero_grad()
            losses.dot(weights).backward()
            optimizer.step()
            schedule.step()
            epoch_loss += losses[-1].detach() * (len(X) / patches_per_epoch)
        yield epoch_loss.item()
