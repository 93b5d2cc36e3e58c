"""Samples to learn from, in batches, and their sources: what `models.training.Training` draws from.

Sources that see images are in utils.sources.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from models.processes import process_count, process_number


class Batch(NamedTuple):
    """The samples of a training step, one a row; of several processes, the share of this one."""

    X: Tensor  # (N, m)
    mask: Tensor | None  # of the known values, (N, m); None if nothing is known of them
    targets: tuple[Tensor, ...]  # the values that a loss compares with
    size: float  # samples of all processes / number of processes: gradients are means over the processes


class Samples(NamedTuple):
    """The samples of an epoch, one a row; see Batch."""

    X: Tensor
    mask: Tensor | None = None
    targets: tuple[Tensor, ...] = ()

    def batches(self, size: int) -> Iterator[Batch]:
        """`size` samples at a time, of all processes together."""
        for start in range(0, len(self.X), size):
            end = min(start + size, len(self.X))
            rows = slice(start + process_number(), end, process_count())
            mask = None if self.mask is None else self.mask[rows]
            targets = tuple(target[rows] for target in self.targets)
            yield Batch(self.X[rows], mask, targets, (end - start) / process_count())


class Source:
    """A source of samples, with a random state that can be saved.

    Args:
        seed: of the draws.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, count: int) -> Samples:
        """Draws `count` samples."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        """What the next draws depend on."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from there."""
        self.generator.set_state(state["generator"])


class Rows(Source):
    """The rows of X (N, m) in a new random order, again and again."""

    def __init__(self, X: Tensor, seed: int = 0) -> None:
        super().__init__(seed)
        self.X = X

    def draw(self, count: int) -> Samples:
        """See Source."""
        orders = [torch.randperm(len(self.X), generator=self.generator) for _ in range(-(-count // len(self.X)))]
        return Samples(self.X[torch.cat(orders)[:count].to(self.X.device)])


class Drawn(Source):
    """Samples that a function draws: a number -> so many rows (number, m), or Samples. Its state cannot be saved."""

    def __init__(self, function: Callable[[int], Tensor | Samples]) -> None:
        super().__init__(0)
        self.function = function

    def draw(self, count: int) -> Samples:
        """See Source."""
        drawn = self.function(count)
        return Samples(drawn) if isinstance(drawn, Tensor) else drawn
