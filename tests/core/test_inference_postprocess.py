"""`keep_largest`: what hangs on the labelled organ by a thread goes, the organ stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_medzoo.inference import network, predict
from napari_medzoo.inference.postprocess import keep_largest
from napari_medzoo.io import read_segmentation
from napari_medzoo.label_tables import LABEL_TABLES, convert
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.core.tiny_model import Nearest, make_card

SPACINGS = [(1.0, 1.0, 1.0), (0.8, 1.0, 5.5), (2.0, 2.0, 2.0)]


def ball(spacing: tuple[float, float, float], center: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    """A ball within a box of 80×60×60 mm; all in mm."""
    axes = [np.arange(0, size, step) for size, step in zip((80, 60, 60), spacing, strict=True)]
    parts = np.meshgrid(*axes, indexing="ij")
    return sum((part - middle) ** 2 for part, middle in zip(parts, center, strict=True)) < radius**2


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_small_object_apart_goes_and_the_large_one_keeps_every_voxel(spacing: tuple) -> None:
    brain, muscle = ball(spacing, (28, 30, 30), 20), ball(spacing, (66, 30, 30), 8)
    labels = np.where(brain, 3, 0).astype(np.uint16)
    labels[muscle] = 42
    assert keep_largest(labels, spacing) == np.count_nonzero(muscle)
    assert np.array_equal(labels, np.where(brain, 3, 0))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_thin_bridge_does_not_hold_a_small_object(spacing: tuple) -> None:
    """As muscle hangs on the brain where the skull is thin: connected, whichever neighbours count."""
    brain, muscle = ball(spacing, (28, 30, 30), 20), ball(spacing, (66, 30, 30), 8)
    bridge = np.zeros_like(brain)
    y, z = (int(30 / step) for step in spacing[1:])
    bridge[int(45 / spacing[0]) : int(62 / spacing[0]), y : y + 2, z] = True
    labels = (brain | muscle | bridge).astype(np.uint8)
    keep_largest(labels, spacing)
    assert labels[brain].all()
    assert not labels[muscle].any()
    # What is left of the bridge ends near the brain.
    assert not labels[int(54 / spacing[0]) :].any()


def test_two_halves_of_like_size_both_stay() -> None:
    spacing = (1.0, 1.0, 1.0)
    labels = (ball(spacing, (20, 30, 30), 15) | ball(spacing, (58, 30, 30), 12)).astype(np.uint8)
    before = labels.copy()
    assert keep_largest(labels, spacing) == 0
    assert np.array_equal(labels, before)


def test_something_always_remains() -> None:
    """A sheet of one voxel has no core; it stays, and the speck beside it goes."""
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[10] = 1
    labels[2, 2, 2] = 1
    assert keep_largest(labels, (1, 1, 1)) == 1
    assert np.count_nonzero(labels) == 400
    empty = np.zeros((4, 4, 4), dtype=np.uint8)
    assert keep_largest(empty, (1, 1, 1)) == 0


def test_a_cut_brain_is_as_thick_at_the_edge_of_the_scan() -> None:
    """A slab that fills the scan but for a gap: the thin side is small, the thick one reaches three faces."""
    labels = np.ones((30, 30, 4), dtype=np.uint8)
    labels[20] = 0
    labels[22:] = 0
    keep_largest(labels, (1.0, 1.0, 1.0))
    assert labels[:20].all()
    assert not labels[20:].any()


def test_where_the_scan_lies_in_its_grid_changes_nothing() -> None:
    spacing = (1.0, 1.0, 1.0)
    labels = (ball(spacing, (28, 30, 30), 20) | ball(spacing, (52, 30, 30), 8)).astype(np.uint8)
    wide = np.pad(labels, 7)
    keep_largest(labels, spacing)
    keep_largest(wide, spacing)
    assert np.array_equal(wide[7:-7, 7:-7, 7:-7], labels)


def test_a_right_brain_loses_next_to_nothing(data_dir: Path) -> None:
    """Half a per cent of a reference without CSF: tips of gyri; a prediction's CSF holds these as well."""
    path = data_dir / "structures" / "ixi012" / "dlmuse.nii.gz"
    reference = convert(read_segmentation(path, LABEL_TABLES["muse"]), "aseg")
    labelled = np.count_nonzero(reference.data)
    assert keep_largest(reference.data, reference.grid.spacing) < 0.005 * labelled


def test_predict_tidies_up_where_the_card_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Nearest})
    spacing = (1.0, 1.0, 1.0)
    brain, muscle = ball(spacing, (28, 30, 30), 15), ball(spacing, (66, 30, 30), 8)
    scan = np.where(brain, 2.0, 0.0).astype(np.float32)
    scan[muscle] = 1.0
    study = Study({"t1w": Volume(scan, Grid(scan.shape, np.diag([-1.0, 1.0, 1.0, 1.0])), "t1w")})
    results = []
    for keep in (False, True):
        card = make_card(tmp_path, "nearest", network=Nearest(1, 3), channels=(0, 2, 3), keep_largest=keep)
        results.append(run(predict(study, card, backend="torch", device="cpu")))
    plain, tidy = results
    assert np.array_equal(plain.data, np.where(brain, 3, np.where(muscle, 2, 0)))
    assert "removed_apart_from_largest_ml" not in plain.provenance
    assert np.array_equal(tidy.data, np.where(brain, 3, 0))
    removed = np.count_nonzero(muscle) / 1000
    assert tidy.provenance["removed_apart_from_largest_ml"] == pytest.approx(removed, abs=1e-3)
    assert any("lay apart from the largest object" in warning for warning in tidy.warnings)
