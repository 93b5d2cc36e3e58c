"""Errors: what the user can mend ends the program with one line and an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from utils.running.processes import joined, number_on_machine


def fail(message: str, code: int = 2) -> NoReturn:
    """Ends the program with one line on standard error, of one process on a machine. Exit code 2 is for bad input."""
    if number_on_machine() == 0:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def bad_input_ends_here() -> Iterator[None]:
    """Turns a ValueError about the input, raised in the block, into one line and exit code 2."""
    try:
        yield
    except ValueError as error:
        fail(str(error))


@contextmanager
def script() -> Iterator[None]:
    """Surrounds every command: joins the processes that torchrun started, and turns what stops it into one line.

    The exit code is 1 for numbers that are not finite and for files that cannot be read or written, 130 for Ctrl-C.
    """
    try:
        with joined():
            yield
    except KeyboardInterrupt:
        fail("interrupted; a training goes on after its last finished epoch if the same command is given again", 130)
    except FloatingPointError as error:
        fail(f"{error}; the epochs before it are kept", 1)
    except OSError as error:
        name = error.filename or "a file"
        fail(f"{name} cannot be read or written ({error.strerror}); earlier results are as they were", 1)
