"""The log of corrections beside a labels file."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from napari_medzoo.changes import difference
from napari_medzoo.edit_log import EditLog, add_to_log, edit_of, log_path, read_log, user_name
from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Label, LabelTable

TABLE = LabelTable("test", (Label(2, "white matter", (1, 2, 3)), Label(7, "Läsion", (4, 5, 6))))


def edit(action: str = "Paint"):
    before = np.zeros((5, 6, 7), dtype=np.uint8)
    before[:2] = 2
    after = before.copy()
    after[1, :2, :3] = 7
    after[4, 0, 0] = 9
    return edit_of(action, difference(before, after), TABLE, "Dr. Özil")


def test_an_edit_says_what_each_class_gained_and_lost():
    made = edit()
    assert (made.who, made.action, made.voxels) == ("Dr. Özil", "Paint", 7)
    assert [(c.index, c.name, c.gained, c.lost) for c in made.classes] == [
        (0, "background", 0, 1),
        (2, "white matter", 0, 6),
        (7, "Läsion", 6, 0),
        (9, "label 9", 1, 0),
    ]
    when = datetime.fromisoformat(made.when)
    assert when.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)


def test_a_second_session_continues_the_log(tmp_path):
    labels = tmp_path / "brain_dseg.nii.gz"
    assert read_log(labels) == EditLog()
    assert add_to_log(labels, [edit("Paint"), edit("Smooth")]) == tmp_path / "brain_dseg_edits.json"
    add_to_log(labels, [edit("Grow")])
    assert [one.action for one in read_log(labels).edits] == ["Paint", "Smooth", "Grow"]
    content = json.loads(log_path(labels).read_text(encoding="utf-8"))
    assert content["edits"][0]["classes"][2]["name"] == "Läsion"
    assert list(tmp_path.iterdir()) == [log_path(labels)]


def test_labels_saved_elsewhere_take_their_history_along(tmp_path):
    add_to_log(tmp_path / "first.nii.gz", [edit("Paint")])
    add_to_log(tmp_path / "second.mgz", [edit("Grow")], before=read_log(tmp_path / "first.nii.gz"))
    assert [one.action for one in read_log(tmp_path / "second.mgz").edits] == ["Paint", "Grow"]


@pytest.mark.parametrize("content", ["", "not JSON", '{"edits": [{"who": 1}]}', '{"tiers": []}'])
def test_a_strangers_file_of_that_name_is_left_alone(tmp_path, content):
    labels = tmp_path / "brain.nii.gz"
    log_path(labels).write_text(content, encoding="utf-8")
    with pytest.raises(MedzooError, match=r"brain_edits\.json: not a log"):
        add_to_log(labels, [edit()])
    assert log_path(labels).read_text(encoding="utf-8") == content


def test_a_person_without_an_account_is_unknown(monkeypatch):
    def nobody() -> str:
        raise KeyError("uid not found")

    assert user_name()
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_name() == "unknown"
