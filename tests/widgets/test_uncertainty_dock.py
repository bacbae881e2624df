"""The Uncertainty dock: maps as layers on the scan, calibration, Cancel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_medzoo.calibration import calibrate
from napari_medzoo.cards import find_cards
from napari_medzoo.inference import start
from napari_medzoo.inference.plan import make_plan
from napari_medzoo.inference.uncertainty import from_probabilities
from napari_medzoo.io import read_volume
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess.alignment import Pose
from napari_medzoo.progress import run
from napari_medzoo.study import Study
from napari_medzoo.widgets.alignment import placing
from napari_medzoo.widgets.layers import segmentation_layer, volume_from_layer, volume_layer
from napari_medzoo.widgets.uncertainty import (
    CHANGES,
    MODELS,
    PROBABILITIES,
    UncertaintyDock,
    measure,
    unsure_colormap,
)
from tests.widgets.conftest import make_card


@pytest.fixture
def dock(make_napari_viewer, tiny_card, t1w, qtbot, monkeypatch):
    make_card(tiny_card.folder, monkeypatch, "tiny", ("any",))
    viewer = make_napari_viewer()
    data, arguments, _ = volume_layer(read_volume(t1w, "t1w"))
    viewer.add_layer(Image(data, **arguments))
    made = UncertaintyDock(viewer)
    viewer.window.add_dock_widget(made, name="Uncertainty")
    made.choose_models("tiny")
    yield made
    made.jobs.cancel()
    qtbot.waitUntil(lambda: not made.state.releasing, timeout=30_000)


@pytest.fixture
def finish(qtbot):
    def wait(dock, request) -> None:
        request()
        qtbot.waitUntil(lambda: not dock.state.work, timeout=120_000)

    return wait


def test_entropy_and_margin_lie_on_the_scan(dock, finish, t1w):
    finish(dock, dock.run.click)
    expected = run(from_probabilities(Study({"t1w": read_volume(t1w, "t1w")}), find_cards()["tiny"]))
    scan = dock.viewer.layers[0]
    for layer, name in (("entropy", "entropy"), ("top-two margin", "margin")):
        shown = dock.viewer.layers[layer]
        np.testing.assert_allclose(shown.affine.affine_matrix, scan.affine.affine_matrix)
        back = volume_from_layer(shown)
        assert back.grid.same_as(read_volume(t1w).grid)
        np.testing.assert_allclose(back.data, expected.volumes[name].data, atol=1e-4)
        assert tuple(shown.contrast_limits) == (0, 1)
    assert expected.volumes["entropy"].data.max() > 0.1
    finish(dock, dock.run.click)
    assert [layer.name for layer in dock.viewer.layers].count("entropy") == 1
    assert [layer.name for _, layer in zip(range(9), dock.scan.choices, strict=False)] == [scan.name], (
        "maps are no scans"
    )


def test_small_changes_and_other_models_give_disagreement(dock, finish, tiny_card, monkeypatch):
    dock.method.value = CHANGES
    finish(dock, dock.run.click)
    share = dock.viewer.layers["disagreement"].data
    assert 0 < share.max() <= 0.75
    dock.method.value = MODELS
    assert not dock.run.isEnabled() and "two models" in dock.text.text()
    dock.choose_models("tiny", "tissue-fast")
    assert dock.run.isEnabled()
    dock.method.value = PROBABILITIES
    assert "Tick one model; 2 are ticked" in dock.text.text()
    assert not dock.calibrate.isEnabled(), "disagreement has no confidence to calibrate"


def with_reference(dock) -> Segmentation:
    """Labels that differ from those found in a third of the voxels, chosen as the reference."""
    labels = dock.found.segmentation
    known = np.where(np.random.default_rng(0).random(labels.data.shape) < 0.7, labels.data, 16).astype(np.uint8)
    reference = Segmentation(known, labels.grid, labels.table)
    data, arguments, _ = segmentation_layer(reference, "reference")
    dock.viewer.add_layer(Labels(data, **arguments))
    dock.reference.value = dock.viewer.layers["reference"]
    return reference


def test_calibration_draws_what_the_core_counts(dock, finish):
    finish(dock, dock.run.click)
    labels = dock.found.segmentation
    assert not dock.calibrate.isEnabled()
    reference = with_reference(dock)
    finish(dock, dock.calibrate.click)
    expected = calibrate(dock.found.volumes["confidence"], labels, reference)
    np.testing.assert_array_equal(dock.calibration.accuracy, expected.accuracy)
    np.testing.assert_array_equal(dock.plot.curves[2].y, expected.accuracy)
    assert f"{expected.ece:.3f}" in dock.verdict.text() and not dock.verdict.isHidden()


def test_the_reference_is_taken_along_to_a_scan_that_was_moved_by_hand(dock, finish, t1w):
    finish(dock, dock.run.click)
    reference = with_reference(dock)
    placing.place(dock.viewer.layers[0], Pose((6.0, -4.0, 3.0), (5, -8, 12)).movement((1, 2, 3)))
    finish(dock, dock.run.click)
    assert not dock.found.segmentation.grid.same_as(reference.grid)
    finish(dock, dock.calibrate.click)
    labels = dock.found.segmentation
    expected = calibrate(dock.found.volumes["confidence"], labels, replace(reference, grid=labels.grid))
    np.testing.assert_array_equal(dock.calibration.accuracy, expected.accuracy)
    assert f"{t1w.name} lies since it was moved by hand" in dock.verdict.text()


def test_cancel_leaves_no_layer(dock, qtbot):
    before = list(dock.viewer.layers)
    dock.run.click()
    assert dock.cancel.isEnabled() and not dock.run.isEnabled()
    dock.cancel.click()
    qtbot.waitUntil(lambda: not dock.state.work and not dock.state.releasing, timeout=60_000)
    assert list(dock.viewer.layers) == before
    assert dock.run.isEnabled()


def test_what_is_certain_is_clear_and_brightness_only_grows():
    colors = unsure_colormap().map(np.linspace(0, 1, 50))
    assert colors[0, 3] == 0 and colors[-1, 3] == 1
    luminance = colors[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) >= -1e-3).all()
    np.testing.assert_allclose(unsure_colormap(certain_is_one=True).map(np.linspace(1, 0, 50)), colors, atol=0.02)


@pytest.mark.parametrize("method", [PROBABILITIES, CHANGES, MODELS])
def test_the_models_leave_the_window_a_processor(tiny_card, t1w, monkeypatch, method):
    def planned(*given, **named):
        plans.append(make_plan(*given, **named))
        return plans[-1]

    plans = []
    monkeypatch.setattr(start, "make_plan", planned)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # as many processors as there shall be
    run(measure(read_volume(t1w, "t1w"), [tiny_card] * (2 if method == MODELS else 1), method))
    assert plans and {plan.threads for plan in plans} == {2}
