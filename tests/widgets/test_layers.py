"""Scans and labels as napari layers: values, affine, colours, and the exact way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_segmentation, read_volume
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo, Volume
from napari_medzoo.widgets.label_names import label_colormap
from napari_medzoo.widgets.layers import (
    oblique_degrees,
    oblique_note,
    segmentation_from_layer,
    segmentation_layer,
    volume_from_layer,
    volume_layer,
)
from napari_medzoo.widgets.view import center_on, show_plane

GRIDS = ("identity", "anisotropic", "flipped", "permuted", "oblique", "awkward")
THALAMUS, PUTAMEN = 10, 51


def volume_on(grid: Grid) -> Volume:
    """A scan whose every voxel has a value of its own."""
    data = np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape)
    return Volume(data, grid, "t1w", FileInfo(Path("head_T1w.nii.gz"), "nifti", 1, 2), ("repaired",))


def labels_on(grid: Grid) -> Segmentation:
    data = np.zeros(grid.shape, dtype=np.uint16)
    data[2:5, 1:4, 3] = THALAMUS
    data[7, 2, 1:6] = PUTAMEN
    return Segmentation(
        data, grid, LABEL_TABLES["aseg"].subset([THALAMUS, PUTAMEN]), {"model": "tiny"}, ("look twice",)
    )


def layer_of(layer_tuple) -> Layer:
    return Layer.create(*layer_tuple)


@pytest.mark.parametrize("name", GRIDS)
def test_every_voxel_of_a_layer_lies_where_the_file_says(awkward_grids, name):
    volume = volume_on(awkward_grids[name])
    layer = layer_of(volume_layer(volume))
    indices = np.argwhere(np.ones(layer.data.shape, dtype=bool))
    world = np.array([layer.data_to_world(index) for index in indices[::17]])
    at_file = np.rint(volume.grid.to_index(world)).astype(int)
    np.testing.assert_allclose(volume.grid.to_world(at_file), world, atol=1e-4)
    np.testing.assert_array_equal(layer.data[tuple(indices[::17].T)], volume.data[tuple(at_file.T)])
    assert "".join(nib.aff2axcodes(layer.affine.affine_matrix)) == "RAS"
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3


@pytest.mark.parametrize("name", GRIDS)
def test_a_scan_comes_back_from_its_layer_exactly(awkward_grids, name):
    volume = volume_on(awkward_grids[name])
    back = volume_from_layer(layer_of(volume_layer(volume)))
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_array_equal(back.grid.affine, volume.grid.affine)
    assert (back.modality, back.file, back.warnings) == (volume.modality, volume.file, volume.warnings)


@pytest.mark.parametrize("name", GRIDS)
def test_labels_come_back_from_their_layer_exactly(awkward_grids, name):
    labels = labels_on(awkward_grids[name])
    layer = layer_of(segmentation_layer(labels))
    back = segmentation_from_layer(layer)
    np.testing.assert_array_equal(back.data, labels.data)
    assert back.data.dtype == labels.data.dtype
    np.testing.assert_array_equal(back.grid.affine, labels.grid.affine)
    assert (back.table, back.provenance, back.warnings) == (labels.table, labels.provenance, labels.warnings)


def test_the_scan_is_shared_and_the_labels_are_copied(awkward_grids):
    volume, labels = volume_on(awkward_grids["awkward"]), labels_on(awkward_grids["awkward"])
    assert np.shares_memory(layer_of(volume_layer(volume)).data, volume.data)
    layer = layer_of(segmentation_layer(labels))
    layer.data[:] = PUTAMEN
    assert (labels.data == 0).any()
    assert (segmentation_from_layer(layer).data == PUTAMEN).all(), "painting must come back"


def test_a_layer_moved_in_napari_moves_its_scan(awkward_grids):
    volume = volume_on(awkward_grids["awkward"])
    layer = layer_of(volume_layer(volume))
    move = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, -0.2, 0.3), (5, -7, 11))
    layer.affine = move @ layer.affine.affine_matrix
    back = volume_from_layer(layer)
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.grid.affine, move @ volume.grid.affine, atol=1e-9)


def test_a_foreign_layer_is_taken_as_it_lies_and_says_so():
    data = np.arange(24.0).reshape(2, 3, 4)
    layer = Image(data, scale=(2, 3, 4), translate=(10, 20, 30), units=("um", "mm", "pixel"))
    back = volume_from_layer(layer)
    np.testing.assert_array_equal(back.data, data)
    np.testing.assert_allclose(np.diag(back.grid.affine), (0.002, 3, 4, 1))
    np.testing.assert_allclose(back.grid.affine[:3, 3], (0.01, 20, 30))
    assert "not opened by MedZoo" in back.warnings[0]


def test_painted_labels_without_a_table_get_one_from_their_colours():
    layer = Labels(np.array([[[0, 3], [3, 8]]], dtype=np.uint8))
    layer.features = {"index": [0, 3], "name": ["background", "lesion"]}
    table = segmentation_from_layer(layer).table
    assert [(label.index, label.name) for label in table.foreground] == [(3, "lesion"), (8, "label 8")]
    np.testing.assert_allclose(np.array(table[3].color) / 255, layer.get_color(3)[:3], atol=0.003)


@pytest.mark.parametrize(
    "layer",
    [
        Image(np.zeros((4, 5)), name="flat"),
        Image(np.zeros((2, 4, 5, 6)), name="moving"),
        Image(np.zeros((4, 5, 3), dtype=np.uint8), rgb=True, name="photograph"),
    ],
    ids=lambda layer: layer.name,
)
def test_what_is_not_one_3d_scan_is_refused_by_name(layer):
    with pytest.raises(MedzooError, match=layer.name):
        volume_from_layer(layer)


def test_voxels_without_a_value_become_zero_with_a_warning():
    layer = Image(np.array([[[1.0, np.nan], [np.inf, 2.0]]]), contrast_limits=(0, 2))
    back = volume_from_layer(layer)
    np.testing.assert_array_equal(back.data, [[[1, 0], [0, 2]]])
    assert any("finite" in text for text in back.warnings)


def test_colours_are_the_tables_and_strangers_glare(awkward_grids):
    labels = labels_on(awkward_grids["identity"])
    layer = layer_of(segmentation_layer(labels))
    for label in labels.table.foreground:
        np.testing.assert_allclose(layer.get_color(label.index), np.array([*label.color, 255]) / 255, atol=1e-6)
    assert layer.get_color(0) is None or layer.get_color(0)[3] == 0
    mapped = label_colormap(labels.table).map(np.array([0, THALAMUS, 999]))
    np.testing.assert_allclose(mapped[:, 3], (0, 1, 1))
    np.testing.assert_allclose(mapped[2], (1, 0, 1, 1))


def test_the_name_of_a_structure_shows_under_the_pointer(awkward_grids):
    labels = labels_on(awkward_grids["permuted"])
    viewer = ViewerModel()
    layer = viewer.add_layer(layer_of(segmentation_layer(labels)))
    where = labels.grid.to_world([[3, 2, 3]])[0]
    show_plane(viewer)
    center_on(viewer, where)
    viewer.mouse_over_canvas = True
    viewer.cursor.position = tuple(where)
    viewer.layers.selection.active = layer
    assert "Left-Thalamus" in str(viewer._calc_status_from_cursor())


def test_a_flat_scan_can_be_shown():
    layer = layer_of(volume_layer(Volume(np.full((3, 4, 5), 7, np.uint8), Grid((3, 4, 5), np.eye(4)))))
    assert layer.contrast_limits[0] < layer.contrast_limits[1]


def test_oblique_scans_are_told_with_their_angle(awkward_grids):
    straight = volume_on(awkward_grids["permuted"])
    assert oblique_note([straight]) == ""
    turned = Grid((8, 8, 8), nib.affines.from_matvec(nib.eulerangles.euler2mat(np.radians(12), 0, 0)))
    assert oblique_degrees(turned) == pytest.approx(12, abs=1e-6)
    note = oblique_note([straight, replace(volume_on(turned), file=FileInfo(Path("tilted.nii"), "nifti"))])
    assert "tilted.nii (12°)" in note
    assert straight.name not in note


def test_all_orientations_of_one_head_give_the_same_layer(data_dir):
    paths = sorted((data_dir / "orientations").glob("*.nii.gz"))
    assert len(paths) == 24
    first = layer_of(volume_layer(read_volume(paths[0])))
    for path in paths[1:]:
        layer = layer_of(volume_layer(read_volume(path)))
        np.testing.assert_array_equal(layer.data, first.data, err_msg=path.name)
        np.testing.assert_allclose(layer.affine.affine_matrix, first.affine.affine_matrix, atol=1e-3, err_msg=path.name)


def test_a_real_label_file_keeps_values_names_and_colours(data_dir):
    labels = read_segmentation(data_dir / "structures" / "fsaverage" / "aseg.mgz")
    layer = layer_of(segmentation_layer(labels))
    back = segmentation_from_layer(layer)
    np.testing.assert_array_equal(back.data, labels.data)
    assert back.grid.same_as(labels.grid)
    names = dict(zip(layer.features["index"], layer.features["name"], strict=True))
    assert names[17] == "Left-Hippocampus"
    np.testing.assert_allclose(layer.get_color(17)[:3], np.array([220, 216, 20]) / 255, atol=1e-6)
