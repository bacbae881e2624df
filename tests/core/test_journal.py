"""The autosave journal: whole records, bit for bit, whatever kills the program."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from napari_medzoo import journal as journal_module
from napari_medzoo.changes import Change, difference, joined
from napari_medzoo.edit_log import Edit, edit_of
from napari_medzoo.errors import MedzooError
from napari_medzoo.journal import BACKLOG, Journal, find_unsaved, journal_folder, labels_key, read_journal
from napari_medzoo.labels import Label, LabelTable

SHAPE = (17, 13, 11)
TABLE = LabelTable("test", (Label(2, "white", (1, 2, 3)), Label(7, "lesion", (4, 5, 6))))


def labels(dtype=np.uint16) -> np.ndarray:
    return np.random.default_rng(0).choice([0, 2, 7], size=SHAPE).astype(dtype)


def action(data: np.ndarray, number: int) -> tuple[list[Edit], Change]:
    """The `number`-th of a fixed sequence of actions, made in `data`."""
    before = data.copy()
    random = np.random.default_rng(1000 + number)
    corner = [int(random.integers(0, size - 3)) for size in data.shape]
    data[tuple(slice(at, at + 3) for at in corner)] = random.choice([0, 2, 7])
    change = difference(before, data)
    return [edit_of(f"action {number}", change, TABLE, "tester")], change


def after(number: int, dtype=np.uint16) -> np.ndarray:
    """The labels after actions 0 to number - 1."""
    data = labels(dtype)
    for each in range(number):
        action(data, each)
    return data


def written(folder: Path, count: int, dtype=np.uint16) -> Journal:
    data = labels(dtype)
    made = Journal(data.copy(), "my labels", folder)
    for number in range(count):
        made.append(*action(data, number))
    return made


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, ">i2"])
def test_what_was_done_comes_back_in_order_with_who_and_what(tmp_path, dtype):
    written(tmp_path, 5, dtype).close()
    (found,) = find_unsaved(labels(dtype), tmp_path)
    assert [edit.action for edit in found.edits] == [f"action {i}" for i in range(5)]
    assert (found.name, found.edits[0].who) == ("my labels", "tester")
    restored = found.restored(labels(dtype))
    np.testing.assert_array_equal(restored, after(5, dtype))
    assert restored.dtype == np.dtype(dtype)


def test_a_flushed_journal_is_on_disk_and_is_nobody_elses_while_it_is_written(tmp_path):
    made = written(tmp_path, 3)
    assert made.flush(timeout=30)
    (path,) = tmp_path.iterdir()
    assert len(read_journal(path)[1].changes) == 3
    assert find_unsaved(labels(), tmp_path) == [], "its writer is alive"
    made.close()
    assert len(find_unsaved(labels(), tmp_path)) == 1


def test_saving_removes_it_and_an_untouched_one_leaves_no_file(tmp_path):
    made = written(tmp_path, 3)
    made.flush()
    made.remove()
    Journal(labels(), "untouched", tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_other_labels_are_not_offered_it_and_the_same_in_another_voxel_order_are(tmp_path):
    written(tmp_path, 1).close()
    other = labels()
    other[0, 0, 0] += 1
    assert find_unsaved(other, tmp_path) == []
    assert find_unsaved(labels(np.uint8), tmp_path) == []
    assert find_unsaved(np.asfortranarray(labels()), tmp_path)
    assert labels_key(labels()[::-1][::-1]) == labels_key(labels())
    (found,) = find_unsaved(labels(), tmp_path)
    with pytest.raises(MedzooError, match="does not belong"):
        found.restored(np.full_like(labels(), 5))


def test_a_file_cut_at_any_byte_gives_the_records_before_the_cut(tmp_path):
    written(tmp_path, 3).close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    ends = [at for at in range(first, len(whole) + 1) if whole[at : at + 4] in (b"MZR1", b"")]
    assert len(ends) == 4
    for cut in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:cut])
        count = max(sum(cut >= end for end in ends) - 1, 0)
        unsaved = read_journal(path)[1]
        assert len(unsaved.changes) == len(unsaved.edits) == count
        np.testing.assert_array_equal(unsaved.restored(labels()), after(count))
    damaged = bytearray(whole)
    damaged[ends[1] + 40] ^= 1
    path.write_bytes(damaged)
    assert len(read_journal(path)[1].changes) == 1


def test_a_slow_disk_blocks_nobody_and_loses_nothing(tmp_path, monkeypatch):
    let_go, entered = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        entered.set()
        assert let_go.wait(30)

    monkeypatch.setattr(journal_module.os, "fsync", slow)
    made = written(tmp_path, 1)
    assert entered.wait(30)
    data = after(1)
    for number in range(1, 3 * BACKLOG):
        made.append(*action(data, number))  # returns, although the disk does not
    let_go.set()
    made.close()
    (found,) = find_unsaved(labels(), tmp_path)
    assert len(found.changes) <= BACKLOG + 1, "the backlog is bounded"
    assert [edit.action for edit in found.edits] == [f"action {i}" for i in range(3 * BACKLOG)]
    np.testing.assert_array_equal(found.restored(labels()), after(3 * BACKLOG))


def test_what_a_full_disk_refused_is_written_with_the_next(tmp_path, monkeypatch):
    made = written(tmp_path, 2)
    made.flush()
    data = after(2)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "fsync", _disk_full)
        made.append(*action(data, 2))
        made.flush()
        assert "No space left" in made.problem
    made.append(*action(data, 3))
    made.flush()
    assert made.problem == ""
    made.close()
    (found,) = find_unsaved(labels(), tmp_path)
    np.testing.assert_array_equal(found.restored(labels()), after(4))
    assert [edit.action for edit in found.edits] == [f"action {i}" for i in range(4)]


def _disk_full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


CHILD = """
import sys
from pathlib import Path
from tests.core.test_journal import action, labels
from napari_medzoo.journal import Journal

data = labels()
journal = Journal(data.copy(), "my labels", Path(sys.argv[1]))
number = 0
while True:
    done = action(data, number)
    number += 1
    print(number, flush=True)  # the action is made and seen, and not yet on disk
    journal.append(*done)
    journal.flush()
"""


@pytest.mark.parametrize("kill_after", [1, 6, 25])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_program_loses_at_most_its_last_action(tmp_path, kill_after):
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root)
    seen = 0
    assert child.stdout is not None
    while seen < kill_after:
        seen = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    seen = max([seen, *map(int, child.stdout.read().split())])
    assert child.wait(30) == -signal.SIGKILL
    found = find_unsaved(labels(), tmp_path)
    count = len(found[0].edits) if found else 0
    assert seen - 1 <= count <= seen
    if found:
        np.testing.assert_array_equal(found[0].restored(labels()), after(count))


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDZOO_STATE", str(tmp_path))
    assert journal_folder() == tmp_path
    monkeypatch.delenv("MEDZOO_STATE")
    assert "napari-medzoo" in str(journal_folder())


def test_changes_join_to_what_they_do_one_after_the_other():
    data = labels()
    before = data.copy()
    changes = [action(data, number)[1] for number in range(8)]
    whole = changes[0]
    for change in changes[1:]:
        whole = joined(whole, change)
    assert whole.same_as(difference(before, data))
    back = data.copy()
    whole.inverse.apply(back)
    np.testing.assert_array_equal(back, before)
    assert len(joined(whole, whole.inverse)) == 0
    assert sum(whole.gained().values()) == sum(whole.lost().values()) == len(whole)


def test_a_difference_in_a_box_looks_nowhere_else():
    before, after_ = labels(), labels()
    after_[1, 1, 1] += 1
    after_[9, 9, 9] += 1
    change = difference(before, after_, (slice(5, 17), slice(5, 13), slice(5, 11)))
    assert change.indices.tolist() == [np.ravel_multi_index((9, 9, 9), SHAPE)]
