"""Processes: the one that a script usually is, or several on one machine or many, which torchrun starts."""

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
    """Which of them this is, from 0: process 0 alone writes files and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


def number_on_machine() -> int:
    """Which of the processes on this machine this is, from 0; that one speaks for the machine, each has its own GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def shared(module: nn.Module) -> nn.Module:
    """The module, whose gradients are the means over all processes from here on if there are several."""
    # The last layer's E has no part in some losses.
    return DistributedDataParallel(module, find_unused_parameters=True) if dist.is_initialized() else module


def summed(value: Tensor) -> Tensor:
    """The sum of the processes' values, in place."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in process 0, in every process: the others may not see its files."""
    if not dist.is_initialized():
        return make()
    made = [make() if process_number() == 0 else None]
    dist.broadcast_object_list(made)
    return made[0]
