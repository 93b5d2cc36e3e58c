"""Scripts: what surrounds every main that trains or writes."""

from collections.abc import Iterator
from contextlib import contextmanager

from utils.command_line import fail
from utils.processes import joined


@contextmanager
def script() -> Iterator[None]:
    """Joins the processes that torchrun started, if any; turns what can go wrong, through no fault of the code, into
    one line: exit code 1, or 130 for Ctrl-C."""
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
