"""Files of a run: each is written beside its place, forced to disk and renamed; their description (.json) comes last.

So a reader finds every file whole at any time, and a description never stands beside older files than its own.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from filelock import FileLock, Timeout

from utils.running.errors import UserError
from utils.running.provenance import digest


def check_folder(name: str | Path) -> Path:
    """The folder of that name, which need not exist yet. Nothing may be in its way, and it has to be writable."""
    folder = Path(name)
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
    except OSError as error:
        raise UserError(f"folder {str(name)!r} cannot be used: {error.strerror}") from None
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"folder {str(name)!r} cannot be used: {existing} is no folder that may be written to")
    return folder


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two names, through links and folders, are those of one file, which need not exist."""
    one, other = Path(one), Path(other)
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()


@contextmanager
def locked(*folders: Path) -> Iterator[None]:
    """Folders that only this run may use on this machine until the block ends, or its process does, however it ends."""
    with ExitStack() as held:
        for folder in dict.fromkeys(path.resolve() for path in folders):
            path = Path(gettempdir(), f"dladmm-{os.getuid()}-{digest(bytes(folder))}.lock")
            try:
                held.enter_context(FileLock(path, blocking=False))
                held.callback(path.unlink, missing_ok=True)  # before the lock is released
            except Timeout:
                used = f"folder {str(folder)!r} is in use by another run"
                raise UserError(f"{used}; allowed: another folder, or later") from None
        yield


def replace_file(path: Path, content: bytes) -> None:
    """Gives the file that content at once: a reader finds the old or the new content, whatever happens."""
    with all_or_nothing(path.parent) as (scratch,):
        (scratch / path.name).write_bytes(content)


@contextmanager
def all_or_nothing(*folders: Path, obsolete: Sequence[Path] = ()) -> Iterator[list[Path]]:
    """Gives a scratch folder for each folder, made if it is missing. When the block ends well their files move there,
    and an earlier run's obsolete files are removed unless it wrote such a name; otherwise all stays as it was."""
    with ExitStack() as stack:
        try:
            scratches = []
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
                scratch = TemporaryDirectory(prefix=".unfinished-", dir=folder, ignore_cleanup_errors=True)
                scratches.append(Path(stack.enter_context(scratch)))
            yield scratches
            pairs = zip(scratches, folders, strict=True)
            written = {folder / path.name: path for scratch, folder in pairs for path in sorted(scratch.iterdir())}
            for path in written.values():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
            for path in set(obsolete) - written.keys():
                path.unlink(missing_ok=True)
            for place in sorted(written, key=lambda path: path.suffix == ".json"):
                os.replace(written[place], place)
        except OSError as error:
            if error.errno is None:
                raise
            name = error.filename or folders[0]
            raise UserError(f"{name} cannot be written ({error.strerror}); earlier results are as they were") from error
