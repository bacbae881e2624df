"""What is seen of a labels layer: one colour map for each action, no voxel touched."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels, Layer

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.widgets import label_display as display
from napari_medzoo.widgets.layers import segmentation_from_layer, segmentation_layer

HIPPOCAMPUS, THALAMUS, AMYGDALA = 17, 10, 18


def our_layer(grid) -> Labels:
    data = np.zeros(grid.shape, dtype=np.uint16)
    data[1:4, 2:5, 1:3] = HIPPOCAMPUS
    data[5:7, 1, 3], data[8, 3, 4] = THALAMUS, AMYGDALA
    table = LABEL_TABLES["aseg"].subset([HIPPOCAMPUS, THALAMUS, AMYGDALA])
    return Layer.create(*segmentation_layer(Segmentation(data, grid, table)))


def foreign_layer() -> Labels:
    data = np.zeros((8, 9, 7), dtype=np.int32)
    data[1:3, 2:4, 3], data[4, 4, 4], data[6:, 6:, :] = 3, 5, 100_000
    return Labels(data)


@pytest.fixture(params=["ours", "foreign"])
def layer(request, awkward_grids) -> Labels:
    return our_layer(awkward_grids["awkward"]) if request.param == "ours" else foreign_layer()


def alphas(layer: Labels) -> dict[int, float]:
    return {int(i): float(layer.colormap.map(int(i))[3]) for i in np.unique(layer.data) if i}


def rgbs(layer: Labels) -> dict[int, tuple[float, ...]]:
    return {int(i): tuple(np.round(layer.colormap.map(int(i))[:3], 2)) for i in np.unique(layer.data) if i}


def test_solo_and_back_keeps_what_was_hidden_and_every_colour(layer):
    first, second, third = [int(i) for i in np.unique(layer.data) if i]
    before, voxels = rgbs(layer), layer.data
    display.show_class(layer, second, False)
    display.fade_class(layer, third, 0.25)
    display.solo(layer, first)
    assert alphas(layer) == {first: 1.0, second: 0.0, third: 0.0}
    display.solo(layer, second)
    assert alphas(layer) == {first: 0.0, second: 1.0, third: 0.0}, "also of a hidden one"
    display.solo(layer, None)
    assert alphas(layer) == {first: 1.0, second: 0.0, third: 0.25}
    display.show_classes(layer, [first, second, third], True)
    assert alphas(layer) == {first: 1.0, second: 1.0, third: 0.25}
    assert rgbs(layer) == before
    assert layer.data is voxels


def test_each_action_draws_once(layer):
    display.solo(layer, None)
    draws = []
    layer.events.set_data.connect(draws.append)
    for action in (
        lambda: display.solo(layer, 3),
        lambda: display.show_class(layer, 3, False),
        lambda: display.fade_class(layer, 3, 0.5),
        lambda: display.recolour_all(layer, {3: (1, 2, 3), 5: (4, 5, 6)}),
    ):
        draws.clear()
        action()
        assert len(draws) == 1


def test_unnamed_values_are_hidden_by_a_solo_and_glare_otherwise(awkward_grids):
    layer = our_layer(awkward_grids["flipped"])
    layer.data[0, 0, 0] = 999
    display.solo(layer, THALAMUS)
    assert layer.colormap.map(999)[3] == 0
    display.solo(layer, None)
    np.testing.assert_allclose(layer.colormap.map(999), (1, 0, 1, 1))


def test_names_and_colours_go_along_when_labels_are_saved(layer):
    index = int(layer.data.max())
    display.solo(layer, int(layer.data[layer.data > 0].min()))
    display.recolour(layer, index, (12, 34, 56))
    display.rename(layer, index, "my region")
    label = segmentation_from_layer(layer, display.table_of(layer)).table[index]
    assert (label.name, label.color) == ("my region", (12, 34, 56))
    saved = segmentation_from_layer(layer).table[index]
    assert (saved.name, saved.color) == ("my region", (12, 34, 56))
    assert "my region" in set(layer.features["name"])


def test_two_classes_cannot_have_one_name(awkward_grids):
    layer = our_layer(awkward_grids["identity"])
    with pytest.raises(MedzooError, match="twice"):
        display.rename(layer, THALAMUS, layer.metadata["medzoo"]["table"][AMYGDALA].name)
    assert display.table_of(layer)[THALAMUS].name == LABEL_TABLES["aseg"][THALAMUS].name


def test_a_foreign_layer_keeps_its_measurements_and_follows_a_shuffle():
    layer = foreign_layer()
    layer.features = {"index": [3, 5, 100_000], "area": [4, 1, 28]}
    display.rename(layer, 5, "spot")
    assert set(layer.features.columns) == {"index", "area"}
    assert display.table_of(layer)[5].name == "spot"
    layer.new_colormap(seed=7)
    shuffled = rgbs(layer)
    display.show_class(layer, 3, False)
    assert rgbs(layer) == shuffled
    assert display.table_of(layer)[5].name == "spot"


@pytest.mark.parametrize("name", ["anisotropic", "oblique", "awkward"])
def test_the_middle_of_a_class_lies_in_it(awkward_grids, name):
    grid = awkward_grids[name]
    layer = our_layer(grid)
    for index in (HIPPOCAMPUS, THALAMUS, AMYGDALA):
        voxel = np.rint(grid.to_index([display.class_middle(layer, index)])[0]).astype(int)
        assert segmentation_from_layer(layer).data[tuple(voxel)] == index
    assert display.class_middle(layer, 4242) is None


def test_outlines():
    layer = foreign_layer()
    display.outline(layer, 3)
    assert layer.contour == 3
    display.outline(layer, 0)
    assert layer.contour == 0
