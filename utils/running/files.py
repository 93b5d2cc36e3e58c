"""Files of a run: they appear whole, and all together when the run has succeeded, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from utils.running.errors import bad_input_ends_here
from utils.running.processes import process_number

SCRATCH = ".unfinished-"
LOCK = ".lock"


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


@contextmanager
def run_folders(results_dir: str, checkpoint_dir: str, image: str) -> Iterator[None]:
    """The folders of a run, which are its own until the block ends; of several processes, the first has them for all.

    A folder that cannot be used, or that the image to restore is in, ends the program: see utils.running.errors.
    """
    with bad_input_ends_here():
        folders = [check_folder(results_dir), check_folder(checkpoint_dir)]
        if Path(image).is_file() and Path(image).resolve().parent == folders[0].resolve():
            raise ValueError(f"image {image!r} is in {results_dir!r}, where a run replaces files; allowed: elsewhere")
        lock = FolderLock(*(folders if process_number() == 0 else ()))
    with lock:
        yield


class FolderLock:
    """Folders that only this run may use until its `with` block ends, or its process does, however it ends.

    They are made if they are missing, and removed again if nothing was written to them.

    Raises:
        ValueError: another run uses one of them.
    """

    def __init__(self, *folders: Path) -> None:
        self.made, self.held = [], []
        for folder in dict.fromkeys(path.absolute() for path in folders):
            self.made += [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
            if lock is None:
                self.__exit__()
                raise ValueError(f"folder {str(folder)!r} is in use by another run; allowed: another folder, or later")
            self.held.append(lock)
            _remove_scratch(folder)

    def __enter__(self) -> None:
        """The folders are locked already."""

    def __exit__(self, *error: object) -> None:
        """Leaves them to others."""
        for lock in self.held:
            _remove_lock_file(lock)
        for folder in sorted(self.made, reverse=True):  # a folder before the one that it is in
            with suppress(OSError):
                folder.rmdir()
        for lock in self.held:
            lock.release()


def replace_file(path: Path, content: bytes) -> None:
    """Gives the file that content at once: a reader finds the old or the new content, whatever happens."""
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
    """Gives a scratch folder. When the block ends well its files move into `folder`, otherwise they vanish.

    Args:
        folder: is made if it is missing.
        obsolete: globs of an earlier run's files. They are removed from `folder` unless the block wrote such a name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
    in_use = _lock(scratch)
    try:
        yield scratch
        written = {path.name for path in scratch.iterdir()} - {LOCK}
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
        _remove_lock_file(in_use)
        in_use.release()
        shutil.rmtree(scratch, ignore_errors=True)


def _lock(folder: Path) -> FileLock | None:
    """A lock that ends with this process, however it ends; None if another process holds it."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _remove_lock_file(lock: FileLock) -> None:
    """While the lock is held: a process that has opened the file in the meantime notices, and tries again."""
    with suppress(OSError):  # Windows does not remove an open file
        os.unlink(lock.lock_file)


def _remove_scratch(folder: Path) -> None:
    """Removes what runs that were killed have left."""
    for path in folder.glob(f"{SCRATCH}*"):
        if path.is_file():
            path.unlink()
        elif (lock := _lock(path)) is not None:
            lock.release()
            shutil.rmtree(path)


def _to_disk(path: Path) -> None:
    """Waits until the disk has the file, or the names in the folder."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no such call for folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
