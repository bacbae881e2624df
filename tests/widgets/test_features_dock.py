"""The dock "What the network sees": from a scan in the viewer to features over it."""

from __future__ import annotations

import numpy as np
import pytest
from npe2 import PluginManifest

from napari_medzoo.io import read_volume
from napari_medzoo.progress import run
from napari_medzoo.study import Study
from napari_medzoo.widgets.features_dock import FeaturesDock
from napari_medzoo.widgets.layers import volume_from_layer, volume_layer


@pytest.fixture
def viewer(make_napari_viewer, t1w):
    from napari.layers import Layer

    viewer = make_napari_viewer()
    viewer.add_layer(Layer.create(*volume_layer(read_volume(t1w, "t1w"))))
    return viewer


@pytest.fixture
def dock(viewer, tiny_card, qtbot):
    dock = FeaturesDock(viewer)
    viewer.window.add_dock_widget(dock, name="What the network sees")
    dock.card.value = "tiny"
    yield dock
    dock.jobs.cancel()
    qtbot.waitUntil(lambda: not dock.state.releasing, timeout=30_000)


def wait(dock, qtbot) -> None:
    qtbot.waitUntil(lambda: not dock.state.work, timeout=60_000)


def test_the_manifest_names_it() -> None:
    manifest = PluginManifest.from_distribution("napari-medzoo")
    command = next(c for c in manifest.contributions.commands if c.id == "napari-medzoo.features")
    assert command.python_name == f"{FeaturesDock.__module__}:{FeaturesDock.__name__}"
    assert "napari-medzoo.features" in [widget.command for widget in manifest.contributions.widgets]


def test_features_appear_over_the_scan(dock, viewer, t1w, tiny_card, qtbot) -> None:
    from napari_medzoo.inference.features import features

    scan = read_volume(t1w, "t1w")
    dock.count.value = 2
    dock.show_features()
    wait(dock, qtbot)
    expected = run(features(Study({"t1w": scan}), tiny_card, count=2))
    shown = {layer.name: layer for layer in viewer.layers if layer.name != scan.name}
    assert set(shown) == {feature.name for feature in expected}
    assert [layer.name for layer in viewer.layers if layer.visible] == [scan.name, expected[-2].name]
    assert viewer.layers[-1].name == expected[-2].name, "the strongest of the last layer lies on top"
    for feature in expected:
        back = volume_from_layer(shown[feature.name])
        assert back.grid.same_as(scan.grid)
        np.testing.assert_allclose(back.data, feature.volume.data, rtol=1e-5)
        np.testing.assert_allclose(shown[feature.name].affine.affine_matrix, viewer.layers[0].affine.affine_matrix)
    dock.show_features()
    wait(dock, qtbot)
    assert len(viewer.layers) == 1 + len(expected), "a second run takes the place of the first"


def test_layers_can_be_ticked(dock, viewer, qtbot) -> None:
    dock.show_layers()
    wait(dock, qtbot)
    assert dock.ticked()[0].startswith("decoders.0")
    assert len(dock.layers.listed()) > len(dock.ticked())
    dock.layers.tick(("stem",))
    dock.count.value = 3
    dock.show_features()
    wait(dock, qtbot)
    assert {layer.name.split()[0] for layer in viewer.layers[1:]} == {"stem"}
    assert len(viewer.layers) == 4


def test_it_can_be_cancelled(dock, viewer, qtbot) -> None:
    dock.show_features()
    assert dock.cancel.isEnabled()
    assert not dock.run.isEnabled()
    dock.cancel.click()
    qtbot.waitUntil(lambda: not dock.state.releasing, timeout=30_000)
    assert len(viewer.layers) == 1
    assert dock.run.isEnabled()


def test_a_model_of_two_scans_asks_for_both(make_napari_viewer, pair_card, t1w, flair, qtbot) -> None:
    from napari.layers import Layer

    viewer = make_napari_viewer()
    dock = FeaturesDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.card.value = "pair"
    assert list(dock.scans) == ["t1w", "flair"]
    assert dock.text.text() == "Open T1w and FLAIR in the viewer first."
    for path in (t1w, flair):
        viewer.add_layer(Layer.create(*volume_layer(read_volume(path))))
    assert [combo.value.name for combo in dock.scans.values()] == [t1w.name, flair.name]
    dock.count.value = 1
    dock.show_features()
    wait(dock, qtbot)
    assert len(viewer.layers) == 5
    assert all(layer.affine.affine_matrix[2, 2] == 5.0 for layer in viewer.layers[2:]), "on the grid of the first scan"
    qtbot.waitUntil(lambda: not dock.state.releasing, timeout=30_000)
