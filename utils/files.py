"""Files of a run: a folder's new files appear all together, when the run has succeeded, or not at all; and whole."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SCRATCH = ".unfinished-"


def check_folder(name: str) -> Path:
    """The folder of that name, which need not exist yet.

    Raises:
        ValueError: something is in its way, or may not be written to.
    """
    folder = Path(name)
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
    except OSError as error:
        raise ValueError(f"folder {name!r} cannot be used: {error.strerror}") from None
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"folder {name!r} cannot be used: {existing} is no folder that may be written to")
    return folder


def check_input(name: str, folder: Path) -> None:
    """Refuses an input file in the folder of the outputs, which might take its place.

    Raises:
        ValueError: it is there.
    """
    if Path(name).is_file() and Path(name).resolve().parent == folder.resolve():
        raise ValueError(f"image {name!r} is in {str(folder)!r}, where a run replaces files; allowed: elsewhere")


class FolderLock:
    """Folders that are this run's alone until its `with` block ends, or the process does, however it ends.

    They are made if they are missing, and go again if nothing was written to them.

    Raises:
        ValueError: another run has one of them.
    """

    def __init__(self, *folders: Path) -> None:
        self.made, self.held = [], []
        for folder in dict.fromkeys(path.absolute() for path in folders):
            self.made += [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _lock(folder)
            if descriptor is None:
                self.__exit__()
                raise ValueError(f"folder {str(folder)!r} is in use by another run; allowed: another folder, or later")
            self.held.append(descriptor)
            _remove_scratch(folder)

    def __enter__(self) -> None:
        """They are held already."""

    def __exit__(self, *error: object) -> None:
        """Leaves them to others."""
        for folder in sorted(self.made, reverse=True):  # what is inside of another first
            with suppress(OSError):
                folder.rmdir()
        for descriptor in self.held:
            os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """The file gets that content all at once: whoever reads it, whatever happens, finds the old or the new one."""
    descriptor, scratch = tempfile.mkstemp(prefix=SCRATCH, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException as error:
        os.unlink(scratch)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    _to_disk(path.parent)


@contextmanager
def all_or_nothing(folder: Path, obsolete: Sequence[str] = ()) -> Iterator[Path]:
    """Gives a scratch folder; when the block ends well its files move into `folder`, otherwise they vanish.

    Args:
        folder: is made if it is missing.
        obsolete: globs of the files that go from `folder` unless the block wrote one of that name: an earlier run's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
    in_use = _lock(scratch)
    try:
        yield scratch
        written = {path.name for path in scratch.iterdir()}
        for name in written:
            _to_disk(scratch / name)
        for name in written:
            os.replace(scratch / name, folder / name)
        for path in [path for glob in obsolete for path in folder.glob(glob)]:
            if path.name not in written:
                path.unlink()
        _to_disk(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(folder)) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(in_use)


def _lock(folder: Path) -> int | None:
    """An open folder that is this process's alone until it is closed or the process ends; None if it is another's."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_scratch(folder: Path) -> None:
    """Removes what runs that were killed have left."""
    for path in folder.glob(f"{SCRATCH}*"):
        if path.is_file():
            path.unlink()
        elif (descriptor := _lock(path)) is not None:
            shutil.rmtree(path)
            os.close(descriptor)


def _to_disk(path: Path) -> None:
    """Waits until the disk has the file, or the names in the folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
