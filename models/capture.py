"""A training step on a GPU as one launch: captured once as a CUDA graph, then replayed for every batch."""

import gc
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from models.samples import Batch

Step = Callable[[Batch], tuple[Tensor, Tensor]]  # see Training.step


class Captured:
    """A step that is captured as one CUDA graph and then replayed: one launch, where a step has thousands.

    The first `WARM_UP` batches take the step plainly, on a stream of their own, as PyTorch asks for. Smaller batches,
    and all batches if the step cannot be captured, take it plainly too.

    Args:
        step: see `Training.step`.
        capture: see `cuda_graph`.
    """

    WARM_UP = 3

    def __init__(self, step: Step, capture: Callable[[Callable], Callable] | None = None) -> None:
        self.step = step
        self.capture = cuda_graph if capture is None else capture
        self.plain = 0  # batches that took the step plainly
        self.replay = None

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Training.step`."""
        if self.replay is None and self.plain == self.WARM_UP:
            self._capture(batch)
        if self.replay is None or batch.X.shape != self.batch.X.shape:
            self.plain += 1
            return _aside(self.step, batch)
        for fixed, new in zip(_tensors(self.batch), _tensors(batch), strict=True):
            fixed.copy_(new)
        return self.replay()

    def _capture(self, batch: Batch) -> None:
        mask = None if batch.mask is None else batch.mask.clone()
        self.batch = Batch(batch.X.clone(), mask, tuple(target.clone() for target in batch.targets), batch.size)
        try:
            self.replay = self.capture(lambda: self.step(self.batch))
        except Exception as error:  # PyTorch has no common name for what cannot be captured
            print(f"training is not captured as a CUDA graph ({type(error).__name__})", file=sys.stderr)


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


def _aside(step: Step, batch: Batch) -> tuple[Tensor, Tensor]:
    """Takes a step on another stream than the default one, on which nothing can be captured."""
    if not batch.X.is_cuda:
        return step(batch)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        results = step(batch)
    torch.cuda.current_stream().wait_stream(stream)
    return results


def _tensors(batch: Batch) -> list[Tensor]:
    return [batch.X, *(() if batch.mask is None else (batch.mask,)), *batch.targets]
