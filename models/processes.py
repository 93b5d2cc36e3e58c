"""Processes: usually one; torchrun starts several, on one machine or many, which then train together."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@contextmanager
def joined() -> Iterator[None]:
    """Joins the processes that torchrun started, for the length of the block; does nothing in any other process."""
    if not dist.is_torchelastic_launched():
        yield
        return
    dist.init_process_group()
    try:
        yield
    finally:
        dist.destroy_process_group()


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_number() -> int:
    """The number of this process, from 0. Process 0 alone writes files and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


def number_on_machine() -> int:
    """The number of this process on its machine, from 0. Number 0 prints; each number has a GPU of its own."""
    return int(os.environ.get("LOCAL_RANK", 0))


def share_gradients(module: nn.Module) -> nn.Module:
    """The module. If there are several processes, its gradients become the means over all of them."""
    # Some losses do not depend on the last layer's E.
    return DistributedDataParallel(module, find_unused_parameters=True) if dist.is_initialized() else module


def summed(value: Tensor) -> Tensor:
    """The sum over the processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def from_first(make: Callable[[], T]) -> T:
    """In every process, what `make` returns in process 0: the others may not see its files."""
    if not dist.is_initialized():
        return make()
    made = [make() if process_number() == 0 else None]
    dist.broadcast_object_list(made)
    return made[0]
