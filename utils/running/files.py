"""Files of a run: each appears whole, and all together when the run has succeeded, or not at all.

New files are written to a scratch folder inside the folder that they are for, and forced to disk. Then they are renamed
one by one, obsolete files of an earlier run are removed, and run.json is renamed last. Only where there is no run.json
yet, it goes first, so that the files beside it are known to be a run's.

So readers find every file whole at any time, and when an old run.json has been replaced, nothing of its run is left.
During the renaming, for some milliseconds, files of two runs are side by side: every file names its run, and run.json
still names the old one. If the process is killed then, they stay so until the same command is run again. It repeats the
work and writes all files anew. A training goes on from its last epoch: its saved progress is removed last of all.

A scratch folder exists only for the moment of writing. Killed processes leave theirs. The next run that locks the
folder removes those that are older than an hour: a younger one may be of a command that writes there without a lock.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from utils.running.errors import UserError

SCRATCH, LOCK, RUN = ".unfinished-", ".lock", "run.json"
HOUR = 3600  # seconds


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
    """Whether two names, through links and folders, are those of one file, which need not exist."""
    one, other = Path(one), Path(other)
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()


class FolderLock(ExitStack):
    """Folders that only this run may use until its `with` block ends, or its process does, however it ends.

    They are made if they are missing, and removed again if nothing was written to them.

    Raises:
        UserError: another run uses one of them.
    """

    def __init__(self, *folders: Path) -> None:
        super().__init__()
        with ExitStack() as held:  # if one is in use, those before it are released
            for folder in dict.fromkeys(path.absolute() for path in folders):
                held.enter_context(_locked(folder))
            self.push(held.pop_all())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Makes and locks one folder, and removes what killed processes have left in it."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"folder {str(folder)!r} is in use by another run; allowed: another folder, or later") from None
    try:
        for path in folder.glob(f"{SCRATCH}*"):
            with suppress(FileNotFoundError):  # its process has just removed it
                if time.time() - path.stat().st_mtime > HOUR:
                    shutil.rmtree(path, ignore_errors=True)
        yield
    finally:
        with suppress(OSError):  # Windows does not remove an open file
            os.unlink(lock.lock_file)  # a process that has opened it in the meantime notices, and tries again
        with suppress(OSError):
            for path in made:  # a folder before the one that it is in
                path.rmdir()
        lock.release()


def replace_file(path: Path, content: bytes) -> None:
    """Gives the file that content at once: a reader finds the old or the new content, whatever happens.

    Raises:
        UserError: it cannot be written.
    """
    with all_or_nothing(path.parent) as (scratch,):
        (scratch / path.name).write_bytes(content)


@contextmanager
def all_or_nothing(*folders: Path, obsolete: Sequence[Path] = ()) -> Iterator[list[Path]]:
    """Gives a scratch folder for each folder. When the block ends well their files move there, otherwise they vanish.

    Args:
        folders: are made if they are missing.
        obsolete: an earlier run's files, which are removed unless the block wrote such a name.

    Raises:
        UserError: a file cannot be written.
    """
    with ExitStack() as stack:
        try:
            scratches = []
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
                scratch = TemporaryDirectory(prefix=SCRATCH, dir=folder, ignore_cleanup_errors=True)
                scratches.append(Path(stack.enter_context(scratch)))
            yield scratches
            _move(scratches, folders, obsolete)
        except OSError as error:
            if error.errno is None:
                raise
            name = error.filename or folders[0]
            message = f"{name} cannot be written ({error.strerror}); earlier results are as they were"
            raise UserError(message) from error


def _move(scratches: Sequence[Path], folders: Sequence[Path], obsolete: Sequence[Path]) -> None:
    """Moves files from scratch folders to their folders, and removes obsolete ones, in the order that is said above."""
    pairs = zip(scratches, folders, strict=True)
    written = {folder.absolute() / path.name: path for scratch, folder in pairs for path in sorted(scratch.iterdir())}
    for path in written.values():
        _to_disk(path)
    changed = [*written, *(path.absolute() for path in obsolete if path.absolute() not in written)]
    for path in sorted(changed, key=lambda path: path.name == RUN and (1 if path.exists() else -1)):
        if path in written:
            os.replace(written[path], path)
        else:
            path.unlink(missing_ok=True)
    for folder in folders:
        _to_disk(folder)


def _to_disk(path: Path) -> None:
    """Waits until the disk has the file, or the names in the folder."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no such call for folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
