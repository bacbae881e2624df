"""A scan's layer put elsewhere by hand, and the labels that were made on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from napari.layers import Layer

from napari_medzoo.io import read_segmentation, write_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess.alignment import Pose
from napari_medzoo.preprocess.check import move
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo, Volume
from napari_medzoo.widgets.alignment import placing
from napari_medzoo.widgets.layers import (
    file_of,
    grid_of,
    segmentation_from_layer,
    segmentation_layer,
    volume_from_layer,
    volume_layer,
)


def test_a_layer_is_moved_in_the_scanner_s_millimetres(make_napari_viewer, awkward_grids):
    viewer = make_napari_viewer()
    for grid in awkward_grids.values():
        volume = Volume(np.arange(np.prod(grid.shape)).reshape(grid.shape), grid)
        wanted, movement = move(volume, (3, -7, 2), (4, 9, -6))
        layer = viewer.add_layer(Layer.create(*volume_layer(volume)))
        placing.place(layer, movement)
        np.testing.assert_allclose(volume_from_layer(layer).grid.affine, wanted.grid.affine, atol=1e-9)
        np.testing.assert_allclose(placing.movement_of(layer), movement, atol=1e-9)
        np.testing.assert_allclose(placing.header_volume(layer).grid.affine, grid.affine, atol=1e-9)
        np.testing.assert_array_equal(volume_from_layer(layer).data, volume.data)


def test_labels_made_on_a_scan_go_where_it_goes_and_are_saved_where_its_file_lies(awkward_grids, tmp_path):
    file, other = FileInfo(Path("T1w.nii.gz"), "nifti"), FileInfo(Path("FLAIR.nii.gz"), "nifti")
    first = Pose((3.0, -7.0, 2.0), (4, 9, -6)).movement((0, 0, 0))
    second = Pose((-1.0, 2.0, 5.0), (0, -8, 3)).movement((4, 5, 6))
    table = LABEL_TABLES["mrbrains"]
    for name, grid in awkward_grids.items():
        data = np.random.default_rng(0).integers(0, 4, grid.shape).astype(np.uint8)

        def labels(of: FileInfo | None, data=data, grid=grid) -> Layer:
            where = Grid(grid.shape, placing.known_movement(of) @ grid.affine)
            return Layer.create(*segmentation_layer(Segmentation(data, where, table), file=of))

        scan = Layer.create(*volume_layer(Volume(data, grid, file=file)))
        before, others, foreign, turned = labels(file), labels(other), labels(None), labels(replace(file, moved=second))
        layers = [scan, before, others, foreign, turned]
        placing.place_with_labels(scan, first, layers)
        kept = segmentation_from_layer(turned).grid.affine
        np.testing.assert_allclose(kept, second @ grid.affine, atol=1e-9, err_msg="it did not lie on the scan")
        after = labels(file_of(scan))
        layers.append(after)
        for movement in (first, second, np.eye(4), first):
            placing.place_with_labels(scan, movement, layers)
            for layer in (before, after):
                moved = segmentation_from_layer(layer)
                np.testing.assert_allclose(moved.grid.affine, movement @ grid.affine, atol=1e-9, err_msg=name)
                path = tmp_path / f"{name}.nii.gz"
                write_segmentation(moved, path, file_of(layer), overwrite=True)
                saved = read_segmentation(path, table)
                np.testing.assert_allclose(saved.grid.affine, grid.affine, atol=1e-5)
                np.testing.assert_array_equal(saved.data, data)
        for layer in (others, foreign):
            np.testing.assert_allclose(segmentation_from_layer(layer).grid.affine, grid.affine, atol=1e-9)


def test_a_layer_in_micrometres_is_moved_by_millimetres(make_napari_viewer):
    layer = make_napari_viewer().add_image(np.zeros((4, 5, 6)), scale=(2000, 2000, 3000), units="um")
    movement = Pose((3.0, 0, 0), (0, 0, 10)).movement((1, 2, 3))
    before = grid_of(layer).affine
    placing.place(layer, movement)
    np.testing.assert_allclose(grid_of(layer).affine, movement @ before, atol=1e-9)
    np.testing.assert_allclose(placing.movement_of(layer), movement, atol=1e-9)
