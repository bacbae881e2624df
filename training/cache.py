"""Folders that appear whole or not at all, and what tells whether a file has changed."""

from __future__ import annotations

import errno
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import SUFFIXES, suffix_of
from napari_medzoo.io.nifti import pair_paths

ABANDONED_SECONDS = 3600
"""A half-made folder that nobody has written to for so long was left by a process that was killed."""


def stamps(path: Path, data: Path) -> list[tuple[str, int, int]]:
    """Name below the data folder, bytes, and nanoseconds of the last change of the file(s) that a scan consists of."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())  # a DICOM series
    elif SUFFIXES.get(suffix_of(path).lower()) == "analyze":
        files = list(pair_paths(path))
    stamps = []
    for file in files:
        name = file.relative_to(data) if file.is_relative_to(data) else file
        status = file.stat()
        stamps.append((name.as_posix(), status.st_size, status.st_mtime_ns))
    return stamps


@contextmanager
def whole_folder(folder: Path, last: str) -> Iterator[Path]:
    """A folder that is moved to its name once it is whole; when the block raises nothing of it stays.

    Parameters
    ----------
    folder : pathlib.Path
        The folder to come; those above it are made where they are absent.
    last : str
        The file by which a whole folder is known: where another process was faster, its folder stays.

    Yields
    ------
    pathlib.Path
        Where to write.

    Raises
    ------
    MedzooError
        If the disk is full or nothing may be written there.
    """
    with _explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for leftover in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed
            changed = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
            if time.time() - changed > ABANDONED_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        temporary.chmod(0o755)  # others may use the cache
    try:
        with _explained(folder):
            yield temporary
            try:
                temporary.rename(folder)
            except OSError:
                if not (folder / last).is_file():  # else another process was faster: its content is the same
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise MedzooError(
            f"{folder}: the prepared cases could not be written ({reason}); free some space or choose another folder."
        ) from error
