"""Files of a run: a folder's new files appear all together, when the run has succeeded, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


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


@contextmanager
def all_or_nothing(folder: Path, obsolete: Sequence[str] = ()) -> Iterator[Path]:
    """Gives a scratch folder; when the block ends well its files move into `folder`, otherwise they vanish.

    Args:
        folder: is made if it is missing.
        obsolete: globs of the files that go from `folder` unless the block wrote one of that name: an earlier run's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        yield scratch
        written = {path.name for path in scratch.iterdir()}
        for name in written:
            os.replace(scratch / name, folder / name)
        for path in [path for glob in obsolete for path in folder.glob(glob)]:
            if path.name not in written:
                path.unlink()
    finally:
        shutil.rmtree(scratch)
