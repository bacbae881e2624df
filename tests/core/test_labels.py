"""Labels, tables and segmentations as types."""

import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import BACKGROUND, Label, LabelTable, Segmentation
from napari_medzoo.space import Grid


def table(*indices: int) -> LabelTable:
    return LabelTable("made", tuple(Label(index, f"label {index}", (index, 0, 0)) for index in indices))


def test_a_table_begins_with_the_background_and_ascends():
    made = table(7, 3)
    assert made.indices == (0, 3, 7)
    assert made[0] == BACKGROUND
    assert [label.name for label in made.foreground] == ["label 3", "label 7"]
    assert len(made) == 3
    assert 3 in made
    assert 4 not in made


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ((Label(1, "a", (0, 0, 0)), Label(1, "b", (0, 0, 0))), "index 1 twice"),
        ((Label(1, "a", (0, 0, 0)), Label(2, "a", (0, 0, 0))), "name 'a' twice"),
        ((Label(-1, "a", (0, 0, 0)),), "negative index -1"),
    ],
)
def test_an_ambiguous_table_is_refused(labels, what):
    with pytest.raises(MedzooError, match=what):
        LabelTable("made", labels)


def test_looking_up_what_is_not_there_says_so():
    with pytest.raises(MedzooError, match="no index 9"):
        table(3)[9]
    with pytest.raises(MedzooError, match="no label named 'x'"):
        table(3).by_name("x")
    assert table(3).by_name("label 3").index == 3


def test_a_subset_keeps_the_background():
    assert table(3, 5, 7).subset([7]).indices == (0, 7)


def test_volumes_use_the_affine_and_list_absent_labels():
    grid = Grid((2, 3, 4), np.diag([2.0, -1.5, 3.0, 1]))
    data = np.zeros(grid.shape, dtype=np.uint8)
    data[0] = 5
    made = Segmentation(data, grid, table(3, 5))
    assert made.volumes_ml() == pytest.approx({3: 0.0, 5: 12 * 9 / 1000})


def test_values_outside_the_table_are_listed():
    data = np.array([0, 3, 4, 9], dtype=np.uint8).reshape(4, 1, 1)
    assert Segmentation(data, Grid((4, 1, 1), np.eye(4)), table(3)).unknown_indices() == (4, 9)


def test_a_segmentation_must_be_integers_of_the_grids_shape():
    grid = Grid((2, 2, 2), np.eye(4))
    with pytest.raises(MedzooError, match="shape"):
        Segmentation(np.zeros((2, 2, 3), dtype=np.uint8), grid, table(3))
    with pytest.raises(MedzooError, match="integers"):
        Segmentation(np.zeros((2, 2, 2), dtype=np.float32), grid, table(3))
