"""Errors: what the user can mend is one line and exit code 2. A mistake in code keeps its traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from data.errors import InvalidInput
from models.errors import InvalidArgument
from utils.running.processes import joined, number_on_machine


class UserError(ValueError):
    """Something that the user can mend. The message says what was given, and what is allowed."""


class DiskError(UserError):
    """A file cannot be written.

    Args:
        name: of the file.
        error: from the operating system, which says why.
    """

    def __init__(self, name: str, error: OSError) -> None:
        super().__init__(f"{name} cannot be written ({error.strerror}); earlier results are as they were")


class NotFiniteError(UserError):
    """A loss or a gradient is not finite."""


def fail(message: str, code: int = 2) -> NoReturn:
    """Ends the program with one line on standard error, of one process on a machine."""
    if number_on_machine() == 0:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def user_errors_end_here() -> Iterator[None]:
    """Turns an error that the user can mend, raised in the block, into one line and exit code 2."""
    try:
        yield
    except (UserError, InvalidArgument, InvalidInput) as error:
        fail(str(error))


@contextmanager
def script(
    then: str = "a training goes on after its last finished epoch if the same command is given again",
) -> Iterator[None]:
    """Surrounds every command: joins the processes that torchrun started; Ctrl-C becomes a line and exit code 130.

    Args:
        then: what that line says of the work so far.
    """
    try:
        with joined(), user_errors_end_here():
            yield
    except KeyboardInterrupt:
        fail(f"interrupted; {then}", 130)
