"""Samples to learn from, in batches, and their sources; the processes that share them; a step on them as one launch.

Sources that see images are in utils.sources. torchrun starts several processes, which then train together.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
Step = Callable[["Samples", float], tuple[Tensor, Tensor]]  # see Training.step


class Samples(NamedTuple):
    """The samples of an epoch or of a step, one a row."""

    X: Tensor  # (N, m)
    mask: Tensor | None = None  # of the known values, (N, m); None if nothing is known of them
    targets: tuple[Tensor, ...] = ()  # the values that a loss compares with

    def each(self, function: Callable[[Tensor], Tensor]) -> "Samples":
        """The values of a function of all tensors."""
        mask = None if self.mask is None else function(self.mask)
        return Samples(function(self.X), mask, tuple(map(function, self.targets)))

    def at(self, rows: slice | Tensor) -> "Samples":
        """The samples in these rows."""
        return self.each(lambda part: part[rows])

    @classmethod
    def of(cls, parts: Sequence["Samples"]) -> "Samples":
        """The samples of all parts."""
        X, masks, targets = zip(*parts, strict=True)
        mask = None if masks[0] is None else torch.cat(masks)
        return cls(torch.cat(X), mask, tuple(map(torch.cat, zip(*targets, strict=True))))

    def batches(self, size: int) -> Iterator[tuple["Samples", float]]:
        """`size` samples at a time, of all processes together: the share of this one, and the mean size of a share, as
        gradients are means over the processes."""
        for start in range(0, len(self.X), size):
            end = min(start + size, len(self.X))
            share = self.at(slice(start + process_number(), end, process_count()))
            yield share, (end - start) / process_count()


class Source:
    """A source of samples, whose draws begin with a seed, with a random state that can be saved."""

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
    """The rows of X (N, m), or of samples, in a new random order, again and again."""

    def __init__(self, X: Tensor | Samples, seed: int = 0) -> None:
        super().__init__(seed)
        self.samples = Samples(X) if isinstance(X, Tensor) else X

    def draw(self, count: int) -> Samples:
        """See Source."""
        X = self.samples.X
        orders = [torch.randperm(len(X), generator=self.generator) for _ in range(-(-count // len(X)))]
        return self.samples.at(torch.cat(orders)[:count].to(X.device))


class Drawn(Source):
    """Samples that a function draws: a number -> so many rows (number, m), or Samples. Its state cannot be saved."""

    def __init__(self, function: Callable[[int], Tensor | Samples]) -> None:
        super().__init__(0)
        self.function = function

    def draw(self, count: int) -> Samples:
        """See Source."""
        drawn = self.function(count)
        return Samples(drawn) if isinstance(drawn, Tensor) else drawn


class Captured:
    """A step that is captured as one CUDA graph and then replayed: one launch, where a step has thousands.

    The first `WARM_UP` batches take the step plainly, on a stream of their own, as PyTorch asks for. Smaller batches,
    and all batches if the step cannot be captured, take it plainly too.
    """

    WARM_UP = 3

    def __init__(self, step: Step) -> None:
        self.step = step
        self.plain = 0  # batches that took the step plainly
        self.replay = None

    def __call__(self, batch: Samples, size: float) -> tuple[Tensor, Tensor]:
        """See `Training.step`."""
        if self.replay is None and self.plain == self.WARM_UP:
            self.batch = batch.each(torch.clone)
            try:
                self.replay = cuda_graph(lambda: self.step(self.batch, size))
            except Exception as error:  # PyTorch has no common name for what cannot be captured
                print(f"training is not captured as a CUDA graph ({type(error).__name__})", file=sys.stderr)
        if self.replay is None or batch.X.shape != self.batch.X.shape:
            self.plain += 1
            return _aside(self.step, batch, size)
        for fixed, new in zip(_tensors(self.batch), _tensors(batch), strict=True):
            fixed.copy_(new)
        return self.replay()


def cuda_graph(step: Callable[[], tuple[Tensor, ...]]) -> Callable[[], tuple[Tensor, ...]]:
    """Captures a step as a CUDA graph; what is returned replays it, and copies its results."""
    graph = torch.cuda.CUDAGraph()
    gc.collect()
    gc.disable()  # to free what earlier trainings left would end the capture
    try:
        with torch.cuda.graph(graph):
            results = step()
    finally:
        gc.enable()

    def replay() -> tuple[Tensor, ...]:
        graph.replay()
        return tuple(result.clone() for result in results)

    return replay


def _aside(step: Step, batch: Samples, size: float) -> tuple[Tensor, Tensor]:
    """Takes a step on another stream than the default one, on which nothing can be captured."""
    if not batch.X.is_cuda:
        return step(batch, size)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        results = step(batch, size)
    torch.cuda.current_stream().wait_stream(stream)
    return results


def _tensors(batch: Samples) -> list[Tensor]:
    return [batch.X, *(() if batch.mask is None else (batch.mask,)), *batch.targets]


@contextmanager
def joined() -> Iterator[None]:
    """Joins the processes that torchrun started, for the length of the block; does nothing in any other process."""
    launched = dist.is_torchelastic_launched()
    if launched:
        dist.init_process_group()
    try:
        yield
    finally:
        if launched:
            dist.destroy_process_group()


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_number() -> int:
    """The number of this process, from 0. Process 0 alone writes files and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


def number_on_machine() -> int:
    """The number of this process on its machine, from 0. Number 0 prints; each number has a GPU of its own."""
    return dist.get_node_local_rank(fallback_rank=0)


def from_first(make: Callable[[], T]) -> T:
    """In every process, what `make` returns in process 0: the others may not see its files."""
    if not dist.is_initialized():
        return make()
    made = [make() if process_number() == 0 else None]
    dist.broadcast_object_list(made)
    return made[0]
