"""How sure a model is: maps that a test can compute by itself, on every kind of grid; calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_medzoo.calibration import calibrate
from napari_medzoo.cards import ModelCard, load_card
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import network, predict
from napari_medzoo.inference.disagreement import Variant, augmented, between_models, compare, vote
from napari_medzoo.inference.uncertainty import from_probabilities
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.preprocess import prepare
from napari_medzoo.progress import run
from napari_medzoo.sides import other_sides
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.core.tiny_model import PLAIN, Nearest, collect, make_card

OPTIONS = {"device": "cpu", "backend": "torch", "precision": "float32", "threads": 1}
CHANNELS = (0, 14, 2, 16, 41)


class SidedNearest(Nearest):
    """Knows left from right by the place in the volume: channel 2 (left) wins in the first half, 4 in the second."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, 5, *x.shape[2:], device=x.device)
        half = x.shape[2] // 2
        logits[:, 0] = 5
        logits[:, 2, :half] = 10 * x[:, 0, :half]
        logits[:, 4, half:] = 10 * x[:, 0, half:]
        return logits


@pytest.fixture
def nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Nearest, "sided": SidedNearest})
    return make_card(tmp_path, "nearest", network=Nearest(1, 5), channels=CHANNELS, patch=(16, 12, 20))


def smooth_study(grid: Grid, seed: int = 0) -> Study:
    """Noise between 0 and 1 with both values in it, so that min-max scaling changes nothing."""
    data = np.random.default_rng(seed).uniform(0, 1, grid.shape).astype(np.float32)
    data.flat[:2] = 0, 1
    return Study({"t1w": Volume(data, grid, "t1w")})


def shares(data: np.ndarray) -> np.ndarray:
    """``(K, X, Y, Z)``: the probabilities that `Nearest` gives."""
    centers = np.linspace(0, 1, 5).reshape(5, 1, 1, 1)
    logits = 20 * (2 * centers * data.astype(np.float64) - centers**2)
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def expected_maps(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    ranked = np.sort(probabilities, axis=0)
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=0) / np.log(len(probabilities))
    return {"entropy": entropy, "margin": ranked[-1] - ranked[-2], "confidence": ranked[-1]}


def test_maps_are_those_of_the_probabilities_on_every_grid(nearest, awkward_grids):
    for name, grid in awkward_grids.items():
        study = smooth_study(grid)
        found = run(from_probabilities(study, nearest, **OPTIONS))
        for measure, expected in expected_maps(shares(study["t1w"].data)).items():
            volume = found.volumes[measure]
            assert volume.grid is grid
            np.testing.assert_allclose(volume.data, expected, atol=2e-3, err_msg=f"{measure} on {name}")
        labels = run(predict(study, nearest, **OPTIONS))
        np.testing.assert_array_equal(found.segmentation.data, labels.data, err_msg=name)


def test_probabilities_and_not_maps_are_interpolated_to_the_scans_grid(nearest, awkward_grids):
    grid = awkward_grids["awkward"]
    card = nearest.model_copy(update={"preprocessing": PLAIN.model_copy(update={"spacing": (1.1, 1.3, 0.9)})})
    study = smooth_study(grid)
    ready = run(prepare(study, card.preprocessing, ("t1w",)))
    found = run(from_probabilities(study, card, prepared=ready, **OPTIONS))
    everywhere = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    places = ready.grid.to_index(grid.to_world(everywhere)).T
    known = shares(ready.data[0])
    coarser = np.array(grid.reoriented(ready.grid.axis_codes).spacing) / ready.grid.spacing
    known = [gaussian_filter(one, np.sqrt(np.maximum(coarser**2 - 1, 0) / 12), mode="nearest") for one in known]
    there = np.stack([map_coordinates(one, places, order=1, cval=0).reshape(grid.shape) for one in known])
    inside = (places > 0.01).all(0) & (places < np.array(ready.grid.shape)[:, None] - 1.01).all(0)
    inside = inside.reshape(grid.shape)
    assert inside.mean() > 0.3
    for measure, expected in expected_maps(there).items():
        np.testing.assert_allclose(found.volumes[measure].data[inside], expected[inside], atol=5e-3, err_msg=measure)


def test_beyond_the_prepared_field_all_is_certain_background(nearest):
    grid = Grid((20, 16, 12), np.eye(4))
    study = smooth_study(grid)
    ready = run(prepare(study, PLAIN, ("t1w",)))
    start, shape = (4, 4, 4), (8, 8, 8)
    inner = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    part = replace(
        ready, data=np.ascontiguousarray(ready.data[(slice(None), *inner)]), grid=ready.grid.cropped(start, shape)
    )
    found = run(from_probabilities(study, nearest, prepared=part, **OPTIONS))
    outside = np.ones(grid.shape, bool)
    outside[inner] = False
    assert (found.volumes["entropy"].data[outside] == 0).all() and (found.volumes["margin"].data[outside] == 1).all()
    assert not found.segmentation.data[outside].any()
    assert found.volumes["entropy"].data[inner].max() > 0.3


def test_mirroring_flips_the_scan_and_swaps_the_sides_back(nearest, tmp_path, awkward_grids):
    """A network that tells left from right by place must agree with itself on a mirrored head, voxel by voxel."""
    folder = tmp_path / "sided"
    folder.mkdir()
    card = make_card(folder, "sided", network=SidedNearest(1, 5), channels=CHANNELS)
    variants = {"as it is": Variant(), "mirrored": Variant(mirrored=True)}
    for name, grid in awkward_grids.items():
        wide = Grid((12, 10, 8), grid.affine)  # even: no middle slice that could fall to either side
        steps = augmented(smooth_study(wide), card, variants, **OPTIONS)
        seen, found = collect(steps)
        assert {"Scan as it is", "Scan mirrored"} <= {step.stage for step in seen}
        labels = found.segmentation
        assert {2, 41} <= set(np.unique(labels.data)), name
        x = [labels.grid.to_world(np.argwhere(labels.data == index))[:, 0].mean() for index in (2, 41)]
        assert x[0] < x[1], "left is to the left"
        assert not found.volumes["disagreement"].data.any(), name


def test_a_network_without_sides_disagrees_where_labels_have_some(nearest, awkward_grids):
    """`Nearest` looks at intensity alone: of a mirrored head it names the structure of the wrong side."""
    study = smooth_study(awkward_grids["awkward"])
    card = nearest.model_copy(update={"channels": (0, 2, 41, 16, 14)})
    found = run(augmented(study, card, {"one": Variant(), "other": Variant(mirrored=True)}, **OPTIONS))
    labels = run(predict(study, card, **OPTIONS)).data
    share = found.volumes["disagreement"].data
    np.testing.assert_allclose(share[np.isin(labels, (2, 41))], 0.5)
    np.testing.assert_allclose(share[np.isin(labels, (0, 16, 14))], 0)


def test_brightness_moves_only_what_is_near_a_border(nearest):
    study = smooth_study(Grid((12, 10, 8), np.eye(4)))
    found = run(augmented(study, nearest, {"one": Variant(), "brighter": Variant(gamma=0.87)}, **OPTIONS))
    share = found.volumes["disagreement"].data
    data = study["t1w"].data
    size = np.percentile(data, 99)
    moved = np.rint(4 * data) != np.rint(4 * np.minimum(size * (data / size) ** 0.87, 1.125))
    np.testing.assert_array_equal(share > 0, moved)
    assert 0 < moved.mean() < 0.5


def test_labels_that_cannot_be_mirrored_are_run_without(nearest):
    card = nearest.model_copy(update={"channels": (0, 2, 16, 14, 24)})
    found = run(augmented(smooth_study(Grid((8, 8, 8), np.eye(4))), card, **OPTIONS))
    assert any("without mirroring" in note and "Left-Cerebral-White-Matter" in note for note in found.notes)
    with pytest.raises(MedzooError, match="two variants"):
        run(augmented(smooth_study(Grid((8, 8, 8), np.eye(4))), card, {"mirrored": Variant(mirrored=True)}))


def test_sides_are_found_by_name_in_every_built_in_table():
    for scheme in ("aseg", "muse"):
        table = LABEL_TABLES[scheme]
        named = [label for label in table if "left" in label.name.lower() or "right" in label.name.lower()]
        sides = other_sides(table)
        assert all(sides[sides[index]] == index for index in table.indices)
        assert {index for index, other in sides.items() if other != index} == {label.index for label in named}
    assert other_sides(LABEL_TABLES["aseg"])[17] == 53
    lh = LabelTable("surface", (Label(1, "ctx-lh-insula", (1, 1, 1)), Label(2, "ctx-rh-insula", (1, 1, 1))))
    assert other_sides(lh) == {0: 0, 1: 2, 2: 1}


def test_votes():
    maps = [np.array([1, 1, 5, 2]), np.array([1, 2, 6, 0]), np.array([1, 2, 7, 2]), np.array([1, 2, 8, 0])]
    chosen, share = vote([one.reshape(4, 1, 1) for one in maps])
    assert chosen.ravel().tolist() == [1, 2, 5, 2]
    np.testing.assert_allclose(share.ravel(), [0, 0.25, 0.75, 0.5])


def test_models_are_compared_in_a_common_numbering(awkward_grids):
    grid = Grid((6, 1, 1), awkward_grids["oblique"].affine)
    aseg = Segmentation(np.array([2, 3, 0, 4, 80, 2]).reshape(6, 1, 1), grid, LABEL_TABLES["aseg"])
    tissue = Segmentation(np.array([3, 3, 1, 1, 2, 0]).reshape(6, 1, 1), grid, LABEL_TABLES["tissue"])
    found = compare([aseg, tissue])
    assert found.segmentation.table.name == "tissue"
    np.testing.assert_allclose(found.volumes["disagreement"].data.ravel(), [0, 0.5, 0.5, 0, 0, 0.5])
    assert any("non-WM-hypointensities" in note for note in found.notes), "80 has no word in tissue: it is left out"
    with pytest.raises(MedzooError, match="grid"):
        compare([aseg, replace(tissue, grid=Grid((6, 1, 1), np.eye(4)))])


def test_several_models_run_one_after_the_other_and_cancel_frees(nearest, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    shifted = Nearest(1, 5)
    with torch.no_grad():
        shifted.centers += 0.05
    other = make_card(folder, "nearest", network=shifted, channels=CHANNELS)
    study = smooth_study(Grid((12, 10, 8), np.eye(4)))
    seen, found = collect(between_models(study, [nearest, other], **OPTIONS))
    assert any(step.stage.startswith("tiny: ") for step in seen)
    first, second = (run(predict(study, card, **OPTIONS)).data for card in (nearest, other))
    np.testing.assert_allclose(found.volumes["disagreement"].data, 0.5 * (first != second))
    assert (first != second).any()
    with pytest.raises(MedzooError, match="two at least"):
        run(between_models(study, [nearest]))
    steps = between_models(study, [nearest, other], **OPTIONS)
    next(steps)
    steps.close()


def test_calibration_counts_what_guo_counts():
    grid = Grid((10, 10, 10), np.diag([-1.0, 1, 2, 1]))
    random = np.random.default_rng(0)
    reference = random.integers(1, 4, grid.shape).astype(np.uint8)
    sure = np.where(random.random(grid.shape) < 0.5, 0.62, 0.95).astype(np.float32)
    right = random.random(grid.shape) < np.where(sure > 0.9, 0.7, 0.62)
    labels = np.where(right, reference, reference % 3 + 1).astype(np.uint8)
    table = LABEL_TABLES["tissue"]
    found = calibrate(
        Volume(sure, grid), Segmentation(labels, grid, table), Segmentation(reference, grid, table), bins=10
    )
    assert found.voxels.sum() == 1000 and np.flatnonzero(found.voxels).tolist() == [6, 9]
    np.testing.assert_allclose(found.confidence[[6, 9]], [0.62, 0.95], atol=1e-6)
    accuracy = [right[sure < 0.9].mean(), right[sure > 0.9].mean()]
    np.testing.assert_allclose(found.accuracy[[6, 9]], accuracy)
    weights = [(sure < 0.9).mean(), (sure > 0.9).mean()]
    gap = abs(accuracy[0] - 0.62) * weights[0] + abs(accuracy[1] - 0.95) * weights[1]
    assert found.ece == pytest.approx(gap, abs=1e-6)


def test_calibration_leaves_out_the_air_and_says_what_was_converted():
    grid = Grid((4, 1, 1), np.eye(4))
    sure = Volume(np.array([1, 0.77, 0.77, 1.0], np.float32).reshape(4, 1, 1), grid)
    labels = Segmentation(np.array([0, 2, 3, 0]).reshape(4, 1, 1), grid, LABEL_TABLES["aseg"])
    reference = Segmentation(np.array([0, 3, 3, 2]).reshape(4, 1, 1), grid, LABEL_TABLES["tissue"])
    found = calibrate(sure, labels, reference)
    assert found.voxels.sum() == 3
    assert found.accuracy[-4] == 0.5
    assert any("converted" in note for note in found.notes) and any("several of them" in note for note in found.notes)
    with pytest.raises(MedzooError, match="confidences of 0 to 1"):
        calibrate(Volume(sure.data * 3, grid), labels, reference)
    with pytest.raises(MedzooError, match="different grids"):
        calibrate(Volume(sure.data, Grid((4, 1, 1), np.diag([2.0, 1, 1, 1]))), labels, reference)


def test_calibration_follows_axes_that_are_stored_another_way(awkward_grids):
    import nibabel as nib

    grid = awkward_grids["awkward"]
    random = np.random.default_rng(2)
    labels = Segmentation(random.integers(0, 4, grid.shape).astype(np.uint8), grid, LABEL_TABLES["tissue"])
    sure = Volume(random.random(grid.shape).astype(np.float32), grid)
    other = Segmentation(random.integers(0, 4, grid.shape).astype(np.uint8), grid, LABEL_TABLES["tissue"])
    turned = np.asarray(nib.orientations.apply_orientation(other.data, grid.orientation_to("RAS")))
    straight = calibrate(sure, labels, other)
    again = calibrate(sure, labels, Segmentation(turned, grid.reoriented("RAS"), other.table))
    np.testing.assert_array_equal(straight.accuracy, again.accuracy)


@pytest.mark.slow
def test_a_shipped_model_is_least_sure_at_borders():
    """On the real template: uncertainty lies where labels meet; where it is sure it is right more often."""
    from scipy.ndimage import grey_dilation, grey_erosion

    from napari_medzoo.samples import load_sample, sample_reference

    card = load_card("tissue-fast")
    coarse = card.preprocessing.model_copy(update={"spacing": (3.0, 3.0, 3.0)})
    card = card.model_copy(update={"whole": True, "preprocessing": coarse})
    found = run(from_probabilities(load_sample("mni152"), card, device="cpu", threads=1))
    labels = found.segmentation.data
    border = grey_dilation(labels, (3, 3, 3)) != grey_erosion(labels, (3, 3, 3))
    entropy = found.volumes["entropy"].data
    assert entropy[border].mean() > 3 * entropy[~border].mean()
    curve = calibrate(found.volumes["confidence"], found.segmentation, sample_reference("mni152"))
    assert curve.accuracy[-1] > np.nanmean(curve.accuracy[:9])
