"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_medzoo.errors import MedzooError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def replacing(path: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """Write a file under a temporary name and move it into place once it is whole.

    The temporary path has the file's own name in a hidden folder beside it, on the same disk, so that
    moving is one rename and companions (the ``.img`` of a ``.hdr``, the ``.zraw`` of an ``.mhd``) that are
    written next to it refer to each other by their final names and move along. When the block raises, or is
    cancelled, nothing of it stays.

    Parameters
    ----------
    path : path
        The file to come; its folder must exist.
    overwrite : bool
        Whether files that are already there (companions included) may be replaced.

    Yields
    ------
    pathlib.Path
        Where to write.

    Raises
    ------
    MedzooError
        If the file exists and may not be replaced, its folder is missing, nothing may be written there, or
        the disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise MedzooError(f"{path}: is a folder; give the name of a file to write.")
    if not overwrite:
        refuse_existing(path)
    if not path.parent.is_dir():
        raise MedzooError(f"{path}: its folder does not exist; create it or choose another place.")
    with _explained(path):
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with _explained(path):
            yield folder / path.name
            _move_into_place(folder, path, overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move_into_place(folder: Path, path: Path, overwrite: bool) -> None:
    # The named file goes last: whoever sees it finds its companions too.
    files = sorted(folder.iterdir(), key=lambda file: file.name == path.name)
    targets = [path.parent / file.name for file in files]
    if not overwrite:
        for target in targets:
            refuse_existing(target)
    new = [target for target in targets if not target.exists()]
    try:
        for file, target in zip(files, targets, strict=True):
            file.replace(target)  # os.replace: atomic within one disk
    except OSError:
        for target in new:
            target.unlink(missing_ok=True)
        raise


def refuse_existing(path: Path) -> None:
    """Raise a `MedzooError` if there is anything at `path`."""
    if os.path.lexists(path):
        raise MedzooError(f"{path}: exists already; choose another name or allow overwriting (--overwrite).")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing `path` into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MedzooError(
                f"{path}: could not be written, the disk is full; free some space or choose another disk."
            ) from error
        if error.errno in _FORBIDDEN:
            raise MedzooError(
                f"{path}: could not be written, its folder is read-only for you; choose another folder."
            ) from error
        reason = error.strerror or str(error)
        raise MedzooError(f"{path}: could not be written ({reason}); choose another folder or name.") from error
