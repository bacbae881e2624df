"""An autosave journal: every action on labels is on disk before the next one, and a killed program loses at most one.

A journal is a file in the person's state folder, named after the content of the labels at their opening. It begins with
a line of JSON; each record that follows has a length and a checksum, so that one which was cut off is recognised and
those before it count. Records are compressed and written (with fsync) in a thread, so that painting never waits; more
than `BACKLOG` of them waiting for a slow disk are joined to one.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from numpy.typing import NDArray
from platformdirs import user_state_path

from napari_medzoo.changes import Change, joined
from napari_medzoo.edit_log import Edit
from napari_medzoo.errors import MedzooError

BACKLOG = 32
ENDING = ".journal"
_RECORD = struct.Struct("<4sIII")  # mark, bytes of JSON, bytes of voxels, checksum of both
_MARK = b"MZR1"
_in_use: set[Path] = set()  # journals that this process writes


def journal_folder() -> Path:
    """``$MEDZOO_STATE``, else ``journals`` in the person's state folder."""
    return Path(os.environ.get("MEDZOO_STATE") or user_state_path("napari-medzoo", appauthor=False) / "journals")


def labels_key(data: NDArray[Any]) -> str:
    """What tells labels from others: sha256 of shape, dtype and every voxel ``(X, Y, Z)``, whatever the file's name."""
    digest = hashlib.sha256(f"{data.shape} {data.dtype.str}".encode())
    for part in data:  # part by part, because a layer may show its file's voxels in another order, as a view
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


class Journal:
    """Writes what happens to one array of labels.

    Parameters
    ----------
    original : numpy.ndarray
        ``(X, Y, Z)``, the labels before the first action; must not change any more.
    name : str
        What the person knows the labels by.
    folder : pathlib.Path, optional
        By default `journal_folder`.

    Attributes
    ----------
    problem : str
        Why the last record could not be written (a full disk), else empty.
    """

    def __init__(self, original: NDArray[Any], name: str, folder: Path | None = None) -> None:
        self.problem = ""
        self._original: NDArray[Any] | None = original
        self._dtype = original.dtype
        self._name = name
        self._folder = folder or journal_folder()
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._waiting: deque[tuple[list[Edit], Change]] = deque()
        self._changed = threading.Condition()
        self._writing = self._closed = False
        self._thread: threading.Thread | None = None

    def append(self, edits: Sequence[Edit], change: Change) -> None:
        """Take a change and what it was to the person; returns at once."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the journal is closed")
            if len(self._waiting) >= BACKLOG:
                former, before = self._waiting.pop()
                self._waiting.append(([*former, *edits], joined(before, change)))
            else:
                self._waiting.append((list(edits), change))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="medzoo journal", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything is on disk; False if that took longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)

    def close(self) -> None:
        """Write what waits and leave the file, to be offered when the labels are opened again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._file is not None:
            self._file.close()
        _in_use.discard(self._path or Path())

    def remove(self) -> None:
        """Close and delete the file: the labels are saved, or nobody wants the changes."""
        with self._changed:
            self._waiting.clear()
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _work(self) -> None:
        held: tuple[list[Edit], Change] | None = None  # what a full disk refused goes with the next
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                edits, change = self._waiting.popleft()
                self._writing = True
            if held is not None:
                edits, change = [*held[0], *edits], joined(held[1], change)
            try:
                self._write(edits, change)
                self.problem, held = "", None
            except OSError as error:  # shown by whoever asks; painting goes on
                held = (edits, change)
                self.problem = f"Changes cannot be kept for the case of a crash ({error.strerror}); save soon."
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _write(self, edits: Sequence[Edit], change: Change) -> None:
        if self._file is None:
            self._file = self._begin()
        header = json.dumps([edit.model_dump() for edit in edits]).encode()
        voxels = zlib.compress(_packed(change, self._dtype), level=1)
        start = self._file.tell()
        try:
            self._file.write(_RECORD.pack(_MARK, len(header), len(voxels), zlib.crc32(header + voxels)))
            self._file.write(header + voxels)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            # Half a record would hide all that follow.
            self._file.seek(start)
            self._file.truncate()
            raise

    def _begin(self) -> BinaryIO:
        assert self._original is not None
        data = self._original
        key = labels_key(data)
        me = psutil.Process()
        about = {
            "key": key,
            "name": self._name,
            "dtype": data.dtype.str,
            "shape": data.shape,
            "pid": me.pid,
            "started": me.create_time(),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self._path = self._folder / f"{key[:16]}-{now}-{me.pid}{ENDING}"
        _in_use.add(self._path)
        file = self._path.open("xb")
        file.write(json.dumps(about).encode() + b"\n")
        self._original = None
        return file


@dataclass(frozen=True, eq=False)
class Unsaved:
    """What a journal holds.

    Attributes
    ----------
    path : pathlib.Path
    name : str
        What the labels were called.
    edits : tuple of Edit
        What was done, in order.
    changes : tuple of Change
        One a record.
    """

    path: Path
    name: str
    edits: tuple[Edit, ...]
    changes: tuple[Change, ...]

    def restored(self, original: NDArray[Any]) -> NDArray[Any]:
        """The labels as they were after the last action that was written.

        Parameters
        ----------
        original : numpy.ndarray
            ``(X, Y, Z)`` as at the opening.

        Raises
        ------
        MedzooError
            If the journal does not fit these labels.
        """
        data = np.array(original, order="C")
        for change in self.changes:
            inside = not len(change) or change.indices[-1] < data.size
            if not inside or not np.array_equal(data.ravel()[change.indices], change.old):
                raise MedzooError(f"{self.path}: does not belong to these labels; throw it away.")
            change.apply(data)
        return data


def find_unsaved(data: NDArray[Any], folder: Path | None = None) -> list[Unsaved]:
    """Journals of these labels that no running program writes, newest first.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` as opened.
    folder : pathlib.Path, optional
        By default `journal_folder`.
    """
    folder = folder or journal_folder()
    if not folder.is_dir() or not any(folder.glob(f"*{ENDING}")):
        return []
    key = labels_key(data)
    found = []
    for path in sorted(folder.glob(f"{key[:16]}-*{ENDING}"), key=lambda path: path.name, reverse=True):
        about, unsaved = read_journal(path)
        if about.get("key") == key and unsaved.changes and path not in _in_use and not _still_writes(about):
            found.append(unsaved)
    return found


def read_journal(path: Path) -> tuple[dict[str, Any], Unsaved]:
    """What a journal says of itself, and its whole records; a record that was cut off ends it."""
    content = path.read_bytes()
    first, _, rest = content.partition(b"\n")
    try:
        about = json.loads(first)
    except ValueError:  # cut off in its first line: nothing was recorded
        return {}, Unsaved(path, "", (), ())
    edits: list[Edit] = []
    changes: list[Change] = []
    at = 0
    while len(rest) - at >= _RECORD.size:
        mark, header_size, voxel_size, checksum = _RECORD.unpack_from(rest, at)
        body = rest[at + _RECORD.size : at + _RECORD.size + header_size + voxel_size]
        if mark != _MARK or zlib.crc32(body) != checksum:
            break
        edits += [Edit.model_validate(entry) for entry in json.loads(body[:header_size])]
        changes.append(_unpacked(zlib.decompress(body[header_size:]), np.dtype(about["dtype"])))
        at += _RECORD.size + header_size + voxel_size
    return about, Unsaved(path, about["name"], tuple(edits), tuple(changes))


def _still_writes(about: dict[str, Any]) -> bool:
    """Whether the program that began a journal still runs (its number may have passed to another since)."""
    if about["pid"] == os.getpid():
        return False
    try:
        return abs(psutil.Process(about["pid"]).create_time() - about["started"]) < 1
    except psutil.Error:
        return False


def _packed(change: Change, dtype: np.dtype[Any]) -> bytes:
    # Steps between neighbouring voxels are mostly ones, which compress to nothing.
    steps = np.diff(change.indices, prepend=0).astype("<i8")
    values = np.concatenate([change.old, change.new]).astype(dtype)  # concatenate forgets another byte order
    return struct.pack("<Q", len(change)) + steps.tobytes() + values.tobytes()


def _unpacked(content: bytes, dtype: np.dtype[Any]) -> Change:
    count = struct.unpack_from("<Q", content)[0]
    steps = np.frombuffer(content, "<i8", count, 8)
    values = np.frombuffer(content, dtype, 2 * count, 8 + 8 * count)
    return Change(np.cumsum(steps, dtype=np.int64), values[:count], values[count:])
