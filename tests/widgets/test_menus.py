"""Commands of napari's menus, the preferences page, and the list of keys."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from napari.layers import Image, Labels, Layer
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication, QDialog

import napari_medzoo
from napari_medzoo.error_maps import agreement_map
from napari_medzoo.io import read_volume
from napari_medzoo.preprocess import brain_mask, correct_bias
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets import menu_commands, preferences, shortcut_list, view
from napari_medzoo.widgets.layers import grid_of, segmentation_from_layer, segmentation_layer, volume_layer
from napari_medzoo.widgets.shortcuts import SHORTCUTS
from tests.widgets.test_scoring import two_sides

FILE = Path(napari_medzoo.__path__[0]) / "napari.yaml"
REAL_PAGE = preferences._page  # other tests must not see what this computer's owner chose
MANIFEST = yaml.safe_load(FILE.read_text(encoding="utf-8"))["contributions"]


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def ran(qtbot):
    """``ran(viewer, command)``: run a command and wait until what it started is over."""

    def wait(viewer, command) -> None:
        command()
        qtbot.waitUntil(lambda: not menu_commands._jobs[viewer][0].work, timeout=60_000)

    return wait


def add(viewer, *made) -> list[Layer]:
    layers = [viewer.add_layer(Layer.create(*one)) for one in made]
    viewer.layers.selection = set(layers)
    return layers


def test_every_menu_is_one_that_napari_lets_plugins_add_to():
    from napari._app_model.constants import MenuId

    menus = MANIFEST["menus"]
    assert set(menus) <= {str(one) for one in MenuId.contributables()}
    assert {"filter", "register", "segment", "measure", "visualize"} == {name.rpartition("/")[2] for name in menus}


def test_n4_makes_a_new_layer_where_the_scan_lies(viewer, ran, t1w):
    volume = read_volume(t1w)
    (scan,) = add(viewer, volume_layer(volume))
    ran(viewer, menu_commands.correct_bias)
    made = viewer.layers[f"{scan.name} (N4)"]
    assert grid_of(made).same_as(grid_of(scan))
    expected = correct_bias(volume)
    np.testing.assert_array_equal(made.data, volume_layer(expected)[0])


def test_the_brain_mask_is_a_named_labels_layer(viewer, ran, t1w):
    volume = read_volume(t1w)
    add(viewer, volume_layer(volume))
    ran(viewer, menu_commands.mask_brain)
    made = segmentation_from_layer(viewer.layers[-1])
    np.testing.assert_array_equal(made.data, brain_mask(volume))
    assert made.table[1].name == "Brain"


def test_registering_brings_the_upper_scan_onto_the_grid_of_the_lower_one(viewer, ran, t1w):
    fixed = read_volume(t1w)
    away = np.eye(4)
    away[:3, 3] = (9, -6, 4)
    moving = Volume(fixed.data, Grid(fixed.data.shape, away @ fixed.grid.affine), "t1w")
    lower, _ = add(viewer, volume_layer(fixed, "lower"), volume_layer(moving, "upper"))
    ran(viewer, menu_commands.register_scans)
    made = viewer.layers["upper on lower"]
    assert grid_of(made).same_as(grid_of(lower))
    before = np.abs(np.asarray(lower.data, float)[3:, :-3] - np.asarray(lower.data, float)[:-3, 3:]).mean()
    assert np.abs(np.asarray(made.data, float) - lower.data).mean() < before / 2


def test_the_error_map_compares_the_upper_labels_with_the_lower(viewer, ran, awkward_grids):
    prediction, reference = two_sides(awkward_grids["awkward"])
    add(viewer, segmentation_layer(reference, "reference"), segmentation_layer(prediction, "labels"))
    ran(viewer, menu_commands.show_error_map)
    shown = segmentation_from_layer(viewer.layers["labels against reference"])
    np.testing.assert_array_equal(shown.data, agreement_map(prediction, reference).data)


def test_scoring_from_the_menu_fills_the_dock_and_scores(viewer, awkward_grids, qtbot):
    prediction, reference = two_sides(awkward_grids["awkward"])
    lower, upper = add(viewer, segmentation_layer(reference, "reference"), segmentation_layer(prediction, "labels"))
    menu_commands.score_labels()
    (dock,) = viewer.window.dock_widgets.values()
    qtbot.waitUntil(lambda: dock.scored is not None, timeout=60_000)
    assert (dock.scored.prediction, dock.scored.reference) == (upper, lower)
    dock.newest.forget()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (menu_commands.correct_bias, "one scan"),
        (menu_commands.mask_brain, "one scan"),
        (menu_commands.register_scans, "two scans"),
        (menu_commands.show_error_map, "two labels layers"),
        (menu_commands.score_labels, "two labels layers"),
        (menu_commands.show_volumes, "one labels layer"),
        (menu_commands.correct_labels, "one labels layer"),
        (menu_commands.list_lesions, "one labels layer"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence_and_nothing_happens(viewer, notified, command, words):
    viewer.add_layer(Image(np.zeros((4, 4, 4))))
    viewer.add_layer(Labels(np.zeros((4, 4, 4), np.uint8)))
    viewer.layers.selection.clear()
    command()
    assert words in notified[-1]
    assert len(notified[-1].splitlines()) == 1
    assert len(viewer.layers) == 2
    assert not viewer.window.dock_widgets


def test_the_convention_turns_the_picture_and_not_the_data(viewer, t1w):
    (scan,) = add(viewer, volume_layer(read_volume(t1w)))
    view.show_plane(viewer)
    before = grid_of(scan), scan.data
    menu_commands.switch_convention()
    assert viewer.scene.camera.orientation[2] == "left"
    assert grid_of(scan).same_as(before[0])
    assert scan.data is before[1]
    menu_commands.switch_convention()
    assert viewer.scene.camera.orientation[2] == "right"


def test_every_key_is_listed(qtbot):
    shortcut_list.show_shortcuts()
    (window,) = [one for one in QApplication.topLevelWidgets() if isinstance(one, shortcut_list.ShortcutList)]
    rows = [window.table.item(row, 1).text() for row in range(window.table.rowCount())]
    assert rows == [shortcut.does for shortcut in SHORTCUTS.values()]
    assert isinstance(window, QDialog)
    assert not window.isModal()
    with qtbot.waitSignal(window.destroyed):
        window.close()


def test_the_preferences_page_has_the_fields_and_defaults_of_the_settings():
    page = MANIFEST["configurations"][preferences.PAGE]["properties"]
    assert {key: one["default"] for key, one in page.items()} == preferences.Preferences().model_dump()
    for key, one in page.items():
        allowed = getattr(preferences.Preferences.model_fields[key].annotation, "__args__", None)
        assert tuple(one.get("enum", ())) == (allowed or ())


def test_what_is_chosen_on_the_page_holds_at_once(plugin_settings, npe2pm, monkeypatch, tmp_path):
    from napari.settings import get_plugin_settings

    monkeypatch.setattr(preferences, "_page", REAL_PAGE)
    monkeypatch.delenv("MEDZOO_STATE", raising=False)
    monkeypatch.setenv("MEDZOO_MODELS", str(tmp_path))
    npe2pm.register(PluginManifest.from_file(FILE))
    page = get_plugin_settings(preferences.PLUGIN).medzoo
    assert preferences.follow().convention == "neurological"
    page.convention = "radiological"
    assert view.LOOK.convention == view.RADIOLOGICAL
    page.journal_folder, page.model_folder, page.user_name = str(tmp_path / "kept"), "elsewhere", "Dr. Maier"
    assert os.environ["MEDZOO_STATE"] == str(tmp_path / "kept")
    assert os.environ["MEDZOO_MODELS"] == str(tmp_path), "what was set outside wins"
    assert preferences.who() == "Dr. Maier"
    page.journal_folder = ""
    assert "MEDZOO_STATE" not in os.environ
    page.convention = "neurological"
