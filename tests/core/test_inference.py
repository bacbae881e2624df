"""`predict` from a study to labels on its own grid."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_medzoo.cards import ModelCard, sha256
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import Plan, busy, make_plan, network, plan, predict
from napari_medzoo.inference.background import wait_for_discarded
from napari_medzoo.preprocess import prepare
from napari_medzoo.preprocess.recipe import Preprocessing
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo, Study, Volume
from tests.core.tiny_model import PLAIN, Nearest, collect, make_card, require_openvino

CHANNELS = (0, 42, 2, 3, 41)
"""Not ascending: a channel is not an index."""
RAS = Grid((40, 36, 44), np.diag([2.0, 2.0, 2.0, 1.0]))


def scan(grid: Grid, modality: str = "t1w", seed: int = 0) -> Volume:
    """Blocks of five intensities (0, 100, ... 400) with noise too small to change the nearest one."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 5, tuple(-(-size // 4) for size in grid.shape))
    blocks = blocks.repeat(4, 0).repeat(4, 1).repeat(4, 2)[tuple(map(slice, grid.shape))]
    data = 100.0 * blocks + np.where((blocks > 0) & (blocks < 4), generator.uniform(-30, 30, grid.shape), 0)
    data.flat[:2] = 0, 400
    return Volume(data.astype(np.float32), grid, modality)


def nearest_labels(volume: Volume) -> np.ndarray:
    return np.array(CHANNELS)[np.rint(volume.data / 100).astype(int)]


def study(*volumes: Volume) -> Study:
    return Study({volume.modality: volume for volume in volumes or (scan(RAS),)}, name="case")


@pytest.fixture
def nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """A model whose labels a test can compute by itself."""
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Nearest})
    return make_card(tmp_path, "nearest", network=Nearest(1, 5), channels=CHANNELS, patch=(16, 12, 20))


@pytest.fixture
def unet(tmp_path: Path) -> ModelCard:
    """A real network with random weights."""
    return make_card(tmp_path, channels=CHANNELS)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("mode", ["whole", "tiles"])
def test_every_grid_gets_its_own_labels_exactly(
    nearest: ModelCard, awkward_grids: dict[str, Grid], backend: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "openvino":
        require_openvino()
    if mode == "tiles":
        monkeypatch.setattr(plan, "WHOLE_SHARE", 0)
    for name, grid in awkward_grids.items():
        volume = scan(grid)
        result = run(predict(study(volume), nearest, device="cpu", backend=backend, precision="float32"))
        assert (result.data == nearest_labels(volume)).all(), name
        assert result.data.dtype == np.uint8
        assert result.grid.same_as(grid)
        assert result.table.indices == (0, 2, 3, 41, 42)
        assert result.provenance["plan"]["mode"] == mode


def test_whole_and_tiles_agree_away_from_normalisation(nearest: ModelCard) -> None:
    whole = make_plan(nearest, RAS.shape, device="cpu", backend="torch")
    assert whole.mode == "whole"
    results = {}
    for patch in ((40, 36, 44), (16, 12, 20), (7, 36, 13)):
        tiles = whole.model_copy(update={"mode": "tiles", "patch": patch, "overlap": 0.5})
        results[patch] = run(predict(study(), nearest, plan=tiles))
        assert results[patch].provenance["plan"]["patch"] == list(patch)
        assert (results[patch].data == nearest_labels(scan(RAS))).all()


@pytest.mark.parametrize("mode", ["whole", "tiles"])
def test_a_recorded_plan_reproduces_the_labels(unet: ModelCard, mode: str) -> None:
    made = make_plan(unet, RAS.shape, device="cpu", threads=1)
    if mode == "tiles":
        made = made.model_copy(update={"mode": "tiles", "patch": (16, 16, 16), "overlap": 0.25})
    first = run(predict(study(), unet, plan=made))
    record = json.loads(json.dumps(dict(first.provenance)))
    assert record["plan"]["mode"] == mode
    again = run(predict(study(), unet, plan=Plan.model_validate(record["plan"])))
    assert (again.data == first.data).all()
    assert again.provenance["plan"] == first.provenance["plan"]
    assert len(np.unique(first.data)) > 1, "a constant result would prove nothing"


def test_a_plan_with_an_impossible_patch_is_refused(unet: ModelCard) -> None:
    made = make_plan(unet, RAS.shape, device="cpu").model_copy(update={"mode": "tiles", "patch": (18, 16, 16)})
    with pytest.raises(MedzooError, match=r"patch \(18, 16, 16\) .*takes multiples of 4"):
        run(predict(study(), unet, plan=made))


def test_prepared_once_predicts_the_same(nearest: ModelCard) -> None:
    prepared = run(prepare(study(), nearest.preprocessing, ("t1w",)))
    result = run(predict(study(), nearest, prepared=prepared, device="cpu"))
    assert (result.data == nearest_labels(scan(RAS))).all()


def test_stages_are_told_in_order(nearest: ModelCard) -> None:
    stages = list(dict.fromkeys(step.stage for step in predict(study(), nearest, device="cpu")))
    assert stages[-3:] == ["Loading model", "Segmenting", "Restoring"]
    assert "Normalising" in stages[:-3]


def test_tiles_are_counted(nearest: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WHOLE_SHARE", 0)
    steps = [step for step in predict(study(), nearest, device="cpu") if step.stage == "Segmenting"]
    total = steps[0].total
    assert total == 3 * 4 * 3
    assert {step.done for step in steps if step.total} == set(range(total))


def test_provenance_and_files(nearest: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "sub-1_T1w.nii"
    volume = scan(RAS)
    nib.save(nib.Nifti1Image(volume.data, RAS.affine), path)
    volume = Volume(volume.data, RAS, "t1w", FileInfo(path, "nifti"), warnings=("3 voxels were NaN.",))
    result = run(predict(study(volume), nearest, device="cpu", threads=1))
    record = json.loads(json.dumps(dict(result.provenance)))
    assert record["notice"] == "Research use only, not for diagnosis."
    assert record["model"]["name"] == "tiny"
    assert record["model"]["sha256"] == nearest.sha256
    (given,) = record["inputs"]
    assert (given["modality"], given["sha256"], given["sha256_of"]) == ("t1w", sha256(path), "file")
    assert given["grid"]["shape"] == [40, 36, 44]
    assert record["grid"] == record["reference"] == "t1w"
    np.testing.assert_allclose(record["transforms"]["t1w"], np.eye(4), atol=1e-9)
    assert Preprocessing.model_validate(record["recipe"]) == nearest.preprocessing
    assert Plan.model_validate(record["plan"]).threads == 1
    assert {"numpy", "torch", "python"} <= set(record["versions"])
    assert {"Loading model", "Segmenting", "Restoring"} <= set(record["timings_s"])
    assert "sub-1_T1w.nii: 3 voxels were NaN." in result.warnings


def test_without_a_file_the_voxels_are_hashed(nearest: ModelCard) -> None:
    first, second = (
        run(predict(study(scan(RAS, seed=seed)), nearest, device="cpu")).provenance["inputs"][0] for seed in (0, 1)
    )
    assert first["path"] is None
    assert first["sha256_of"] == "voxels"
    assert first["sha256"] != second["sha256"]


def test_result_on_another_volumes_grid(nearest: ModelCard) -> None:
    """A FLAIR on other axes and with another spacing: the T1w's labels come out on it, in the same place."""
    fine = Grid((40, 36, 22), np.diag([2.0, 2.0, 4.0, 1.0])).reoriented("LIA")
    both = study(scan(RAS), scan(fine, "flair", seed=1))
    result = run(predict(both, nearest, grid="flair", device="cpu"))
    assert result.grid.same_as(fine)
    assert result.provenance["grid"] == "flair"
    assert result.provenance["reference"] == "t1w"
    ours = nib.orientations.apply_orientation(result.data, result.grid.orientation_to("RAS"))
    # Every second slice of the T1w lies on a slice of the FLAIR.
    assert (ours == nearest_labels(scan(RAS))[:, :, ::2]).mean() > 0.999


def test_a_one_input_model_says_what_it_left_out(nearest: ModelCard) -> None:
    result = run(predict(study(scan(RAS, "flair"), scan(RAS, "t1w")), nearest, device="cpu"))
    assert "Model 'tiny' takes one scan: it was given the T1w and not FLAIR." in result.warnings


def test_an_accepted_part_leaves_the_other_channels_empty(nearest: ModelCard, tmp_path: Path) -> None:
    """The model looks at its first channel: the T1w's labels where that is the T1w, nothing where it is missing."""
    for modalities, expected in ((("t1w", "t2w"), nearest_labels(scan(RAS))), (("t2w", "t1w"), 0)):
        card = make_card(
            tmp_path,
            "nearest",
            network=Nearest(2, 5),
            modalities=modalities,
            accepts=(("t1w",),),
            channels=CHANNELS,
            patch=(16, 12, 20),
        )
        result = run(predict(study(), card, backend="torch"))
        np.testing.assert_array_equal(result.data, np.broadcast_to(expected, RAS.shape))
        assert result.provenance["missing_modalities"] == ["t2w"]
        assert "was given T1w without T2w" in " ".join(result.warnings)


def test_missing_grid_or_modality_is_refused_before_anything_runs(nearest: ModelCard) -> None:
    with pytest.raises(MedzooError, match="has T1w, not FLAIR"):
        next(predict(study(), nearest, grid="flair"))
    pair = nearest.model_copy(update={"modalities": ("t1w", "t2w")})
    with pytest.raises(MedzooError, match=r"needs T1w and T2w\. Add T2w"):
        next(predict(study(), pair))


def test_unavailable_device_or_damaged_weights_are_refused_first(nearest: ModelCard) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(MedzooError, match="can use cuda on this computer"):
            next(predict(study(), nearest, device="cuda"))
    nearest.weights_path.write_bytes(b"")
    with pytest.raises(MedzooError, match="sha256"):
        next(predict(study(), nearest))


def test_prepared_of_other_modalities_is_refused(nearest: ModelCard) -> None:
    prepared = run(prepare(study(scan(RAS, "flair")), PLAIN, ("flair",)))
    with pytest.raises(MedzooError, match="prepared study lacks T1w"):
        run(predict(study(), nearest, prepared=prepared))


class Slow(Nearest):
    """A forward pass long enough to be cancelled."""

    seconds = 1.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "meta":
            time.sleep(self.seconds)
        return super().forward(x)


def test_cancel_frees_at_once_and_the_next_run_waits(nearest: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Slow})
    options = {"device": "cpu", "backend": "torch"}
    steps = predict(study(), nearest, **options)
    while next(steps).stage != "Segmenting":
        pass
    before = time.perf_counter()
    steps.close()
    assert time.perf_counter() - before < 0.5
    assert busy()

    monkeypatch.setattr(Slow, "seconds", 0)
    seen, result = collect(predict(study(), nearest, **options))
    assert seen[0].stage == "Waiting for the cancelled run to end"
    assert not busy()
    assert (result.data == nearest_labels(scan(RAS))).all()


def test_closing_at_any_stage_leaves_nothing_running(unet: ModelCard) -> None:
    options = {"device": "cpu", "backend": "torch"}
    stages = {step.stage for step in predict(study(), unet, **options)}
    for stage in stages:
        steps = predict(study(), unet, **options)
        while next(steps).stage != stage:
            pass
        steps.close()
        run(wait_for_discarded())
        assert not busy()
        assert not [thread for thread in threading.enumerate() if thread.name == "medzoo-forward-pass"]


def test_suspicious_results_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Nearest})
    always_background = Nearest(1, 5)
    with torch.no_grad():
        always_background.centers[0, 1:] += 100
    card = make_card(tmp_path, "nearest", network=always_background, channels=CHANNELS)
    result = run(predict(study(), card, device="cpu"))
    assert not result.data.any()
    assert any("No voxel was labelled" in warning for warning in result.warnings)
