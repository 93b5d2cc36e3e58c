"""Errors: what the user can mend is one line and exit code 2. A mistake in code keeps its traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from data.errors import InvalidInput
from models.errors import InvalidArgument, TrainingError
from models.samples import joined, number_on_machine

TRAINING_GOES_ON = "a training goes on after its last finished epoch if the same command is given again"


class UserError(ValueError):
    """Something that the user can mend. The message names the value, and says what is allowed."""


MENDABLE = (UserError, InvalidArgument, InvalidInput, TrainingError)


def complain(message: str) -> None:
    """Says in one line on standard error what went wrong; one process on a machine does it."""
    if number_on_machine() == 0:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)


def fail(message: str, code: int = 2) -> NoReturn:
    """Ends the program, and says why."""
    complain(message)
    sys.exit(code)


@contextmanager
def script(then: str = TRAINING_GOES_ON) -> Iterator[None]:
    """Surrounds every command: joins the processes that torchrun started, and turns what the user can mend into a line,
    with the exit code 2. After Ctrl-C the line says what is `then`, and the exit code is 130."""
    try:
        with joined():
            yield
    except MENDABLE as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(f"interrupted; {then}", 130)
