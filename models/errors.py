"""The errors that models raise: an argument outside what is allowed, and a training that cannot go on."""

import math
from numbers import Integral, Real

from torch import Tensor


class InvalidArgument(ValueError):
    """An argument that the caller can mend; the message says what is allowed. Others are mistakes in code."""


class TrainingError(ValueError):
    """A loss or a gradient is not finite, or no gradient reaches a layer that has something to learn."""


def check_positive(name: str, value: float) -> None:
    """Refuses what is no finite number > 0."""
    if not isinstance(value, Real | Tensor) or not 0 < value < math.inf:
        raise InvalidArgument(f"{name} is {value!r}; allowed: a finite number > 0")


def check_count(name: str, value: int) -> None:
    """Refuses what is no whole number of 1 or more."""
    if not isinstance(value, Integral) or value < 1:
        raise InvalidArgument(f"{name} is {value!r}; allowed: a whole number, 1 or more")
