"""Files of a run: each appears whole, and all together when the run has succeeded, or not at all.

New files are written to a scratch folder inside the folder that they are for. When all are on the disk, a list of what
is to be moved is written beside them. Then they are renamed one by one, run.json last. A process that is killed
meanwhile leaves the list, and the next run in one of these folders finishes it before anything else.

So readers find every file whole at any time. During the renaming, for some milliseconds, or after a kill until the next
run, they can find files of two runs side by side. Every file names its run, and run.json names the old one until all
others are new.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from utils.running.errors import DiskError, UserError

SCRATCH = ".unfinished-"
LOCK, MOVES, LAST = ".lock", ".moves.json", "run.json"


def check_folder(name: str) -> Path:
    """The folder of that name, which need not exist yet.

    Raises:
        UserError: something is in its way, or may not be written to.
    """
    folder = Path(name)
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
    except OSError as error:
        raise UserError(f"folder {name!r} cannot be used: {error.strerror}") from None
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"folder {name!r} cannot be used: {existing} is no folder that may be written to")
    return folder


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two names, through links and folders, are those of one file; a file that is not there is no other."""
    one, other = Path(one), Path(other)
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()


class FolderLock:
    """Folders that only this run may use until its `with` block ends, or its process does, however it ends.

    They are made if they are missing, and removed again if nothing was written to them.

    Raises:
        UserError: another run uses one of them.
    """

    def __init__(self, *folders: Path) -> None:
        self.made, self.held = [], []
        for folder in dict.fromkeys(path.absolute() for path in folders):
            self.made += [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
            if lock is None:
                self.__exit__()
                raise UserError(f"folder {str(folder)!r} is in use by another run; allowed: another folder, or later")
            self.held.append(lock)
        for clear in (_finish_moves, _remove_scratch):
            for folder in folders:
                clear(folder)

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
    """Gives the file that content at once: a reader finds the old or the new content, whatever happens.

    Raises:
        DiskError: it cannot be written.
    """
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
            raise DiskError(str(path), error) from error
        raise
    _to_disk(path.parent)


@contextmanager
def all_or_nothing(*folders: Path, obsolete: Sequence[Path] = ()) -> Iterator[list[Path]]:
    """Gives a scratch folder for each folder. When the block ends well their files move there, otherwise they vanish.

    Args:
        folders: are made if they are missing.
        obsolete: an earlier run's files, which are removed unless the block wrote such a name.

    Raises:
        DiskError: a file cannot be written.
    """
    with ExitStack() as stack:
        try:
            scratches = [stack.enter_context(_scratch(folder)) for folder in folders]
            yield scratches
            moves = [
                (path.absolute(), folder.absolute() / path.name)
                for scratch, folder in zip(scratches, folders, strict=True)
                for path in sorted(scratch.iterdir())
                if path.name != LOCK
            ]
            moves.sort(key=lambda move: move[1].name == LAST)
            for source, _ in moves:
                _to_disk(source)
            written = {target for _, target in moves}
            removed = [path.absolute() for path in obsolete if path.absolute() not in written]
            listed = {"moves": [[str(a), str(b)] for a, b in moves], "removed": [str(path) for path in removed]}
            for scratch in scratches:
                replace_file(scratch / MOVES, json.dumps(listed).encode())
            _finish(scratches[0] / MOVES)
        except OSError as error:
            if error.errno is None:
                raise
            raise DiskError(str(error.filename or folders[0]), error) from error


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
    in_use = _lock(scratch)
    try:
        yield scratch
    finally:
        _remove_lock_file(in_use)
        in_use.release()
        shutil.rmtree(scratch, ignore_errors=True)


def _finish(listed: Path) -> None:
    """Moves and removes what is listed, as far as it is not done yet."""
    content = json.loads(listed.read_text(encoding="utf-8"))
    folders = set()
    for source, target in content["moves"]:
        with suppress(FileNotFoundError):  # moved before the process was killed
            os.replace(source, target)
        folders.add(Path(target).parent)
    for name in content["removed"]:
        Path(name).unlink(missing_ok=True)
    for folder in folders:
        _to_disk(folder)


def _finish_moves(folder: Path) -> None:
    """Finishes what runs that were killed have listed."""
    for listed in folder.glob(f"{SCRATCH}*/{MOVES}"):
        if (lock := _lock(listed.parent)) is not None:
            _finish(listed)
            lock.release()


def _remove_scratch(folder: Path) -> None:
    """Removes what runs that were killed have left."""
    for path in folder.glob(f"{SCRATCH}*"):
        if path.is_file():
            path.unlink()
        elif (lock := _lock(path)) is not None:
            lock.release()
            shutil.rmtree(path)


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


def _to_disk(path: Path) -> None:
    """Waits until the disk has the file, or the names in the folder."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no such call for folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
