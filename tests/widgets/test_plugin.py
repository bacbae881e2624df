"""What napari finds in the manifest: readers, writers, samples, the panel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels, Layer
from npe2 import PluginManager, PluginManifest
from npe2.manifest.utils import import_python_name

import napari_medzoo
from napari_medzoo.io import FORMATS, read_segmentation, read_volume, write_segmentation, write_volume
from napari_medzoo.label_tables import LABEL_TABLES, write_label_table
from napari_medzoo.labels import Segmentation
from napari_medzoo.widgets import plugin
from napari_medzoo.widgets.panel import MedzooPanel

MANIFEST = Path(napari_medzoo.__file__).parent / "napari.yaml"
SUFFIXES = (".nii.gz", ".nii", ".mgz", ".nrrd", ".mha")


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


def test_everything_the_manifest_names_exists(manifest):
    assert manifest.name == "napari-medzoo"
    for command in manifest.contributions.commands:
        assert callable(import_python_name(command.python_name)), command.id
    link = MANIFEST.parents[1] / "napari.yaml"
    assert link.is_symlink()
    assert link.resolve() == MANIFEST.resolve()


def test_the_reader_is_offered_for_every_format_that_can_be_read(manifest):
    (reader,) = manifest.contributions.readers
    offered = {pattern.removeprefix("*") for pattern in reader.filename_patterns}
    assert offered == {suffix for known in FORMATS.values() for suffix in known.suffixes}
    assert reader.accepts_directories


def layers_of(path: Path) -> list[Layer]:
    read = plugin.get_reader(str(path))
    return [Layer.create(*layer) for layer in read(str(path))]


def saved(layer: Layer, path: Path) -> Path:
    data, meta, kind = layer.as_layer_data_tuple()
    write = plugin.write_labels if kind == "labels" else plugin.write_volume
    assert write(str(path), data, meta) == [str(path)]
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["anisotropic", "permuted", "awkward"])
def test_labels_opened_and_saved_are_the_same(awkward_grids, tmp_path, suffix, name):
    grid = awkward_grids[name]
    random = np.random.default_rng(0)
    data = random.choice(np.array([0, 10, 49, 16], np.uint8), grid.shape)
    table = LABEL_TABLES["aseg"].subset([10, 49, 16])
    path = write_segmentation(Segmentation(data, grid, table), tmp_path / f"brain_seg{suffix}")
    write_label_table(table, tmp_path / "brain_seg.tsv")
    (layer,) = layers_of(path)
    assert isinstance(layer, Labels)
    assert dict(zip(layer.features["index"], layer.features["name"], strict=True))[10] == "Left-Thalamus"
    np.testing.assert_allclose(layer.get_color(49)[:3], np.array(table[49].color) / 255, atol=1e-6)
    again = read_segmentation(saved(layer, tmp_path / f"again_seg{suffix}"))
    np.testing.assert_array_equal(again.data, data)
    assert again.table.labels == table.labels
    np.testing.assert_allclose(again.grid.affine, grid.affine, atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_scan_opened_and_saved_is_the_same(t1w, tmp_path, suffix):
    path = write_volume(read_volume(t1w), tmp_path / f"other_T1w{suffix}")
    (layer,) = layers_of(path)
    again = read_volume(saved(layer, tmp_path / f"again_T1w{suffix}"))
    original = read_volume(path)
    np.testing.assert_array_equal(again.data, original.data)
    assert again.data.dtype == original.data.dtype
    np.testing.assert_allclose(again.grid.affine, original.grid.affine, atol=1e-5)
    assert (again.file.qform_code, again.file.sform_code) == (original.file.qform_code, original.file.sform_code)


def test_corrections_by_hand_are_saved(t1w, tmp_path):
    volume = read_volume(t1w)
    data = np.zeros(volume.grid.shape, np.uint8)
    data[3:9, 4:8, 5:7] = 10
    path = write_segmentation(Segmentation(data, volume.grid, LABEL_TABLES["aseg"]), tmp_path / "brain_seg.nii.gz")
    (layer,) = layers_of(path)
    where = volume.grid.to_world([[20, 30, 2]])[0]
    layer.data[tuple(np.rint(layer.world_to_data(where)).astype(int))] = 49
    again = read_segmentation(saved(layer, tmp_path / "again_seg.nii.gz"))
    assert again.data[20, 30, 2] == 49
    assert int((again.data != data).sum()) == 1


def test_a_file_beside_the_labels_that_is_no_table_is_left_alone(awkward_grids, tmp_path):
    notes = tmp_path / "labels.tsv"
    notes.write_text("patient\tage\nA\t40\n")
    grid = awkward_grids["identity"]
    layer = Labels(np.ones(grid.shape, np.uint8))
    saved(layer, tmp_path / "labels.nii.gz")
    assert notes.read_text() == "patient\tage\nA\t40\n"


def test_a_folder_of_a_study_opens_and_a_folder_of_others_is_left_to_others(t1w, flair, tmp_path):
    assert {layer.name for layer in layers_of(tmp_path)} == {t1w.name, flair.name}
    elsewhere = tmp_path / "pictures"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(b"")
    assert plugin.get_reader(str(elsewhere)) is None
    assert plugin.get_reader("photo.png") is None


def test_a_damaged_file_is_one_notified_sentence_and_no_layer(tmp_path, notified):
    bad = tmp_path / "T1w.nii"
    bad.write_bytes(b"0" * 100)
    assert plugin.get_reader(str(bad))(str(bad)) == [(None,)]
    assert "T1w.nii" in notified[-1]
    assert "Traceback" not in notified[-1]


@pytest.mark.parametrize("name", ["mni152", "myconnectome"])
def test_samples_open_with_their_reference(name):
    layers = [Layer.create(*layer) for layer in getattr(plugin, f"open_{name}")()]
    assert [type(layer).__name__ for layer in layers] == ["Image", "Labels"][: 2 if name == "mni152" else 1]
    if name == "mni152":
        assert set(np.unique(layers[1].data)) == {0, 2, 3}
        np.testing.assert_array_equal(layers[0].affine.affine_matrix, layers[1].affine.affine_matrix)


def test_a_file_opened_from_naparis_menu_is_the_right_way_up(make_napari_viewer, t1w):
    viewer = make_napari_viewer()
    for layer in plugin.read(str(t1w)):
        viewer.add_layer(Layer.create(*layer))
    assert viewer.dims.order == (2, 1, 0)
    assert [str(way) for way in viewer.scene.camera.orientation2d] == ["up", "right"]


def test_napari_itself_opens_saves_and_shows_the_panel(make_napari_viewer, manifest, t1w, tmp_path):
    plugins = PluginManager.instance()
    registered = manifest.name in plugins
    if not registered:
        plugins.register(manifest)
    try:
        viewer = make_napari_viewer()
        (layer,) = viewer.open(str(t1w), plugin="napari-medzoo")
        assert viewer.dims.order == (2, 1, 0)
        assert layer.source.reader_plugin == "napari-medzoo"
        path = tmp_path / "saved_T1w.nii.gz"
        assert layer.save(str(path), plugin="napari-medzoo") == [str(path)]
        np.testing.assert_array_equal(read_volume(path).data, read_volume(t1w).data)
        np.testing.assert_array_equal(read_volume(path).grid.affine, read_volume(t1w).grid.affine)
        _, panel = viewer.window.add_plugin_dock_widget("napari-medzoo", "MedZoo")
        assert isinstance(panel, MedzooPanel)
    finally:
        if not registered:
            plugins.unregister(manifest.name)


def test_opening_the_panel_loads_neither_networks_nor_plots():
    code = """
import sys, napari
from napari_medzoo.widgets.panel import MedzooPanel
viewer = napari.Viewer(show=False)
panel = MedzooPanel(viewer)
heavy = {"torch", "monai", "openvino", "SimpleITK", "nilearn", "matplotlib"} & set(sys.modules)
print("heavy:", sorted(heavy))
viewer.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
