"""A comparison on label maps: what is held out teaches nothing, is the same for all, and is scored with a patient."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import nibabel as nib
import numpy as np
import pytest
import yaml
from napari_medzoo_training.benchmark import Run, collect
from napari_medzoo_training.benchmark_config import Benchmark, read_benchmark
from napari_medzoo_training.benchmark_costs import Meter
from napari_medzoo_training.benchmark_maps import MapSplit, make_study, score_on_maps, train_on_maps
from napari_medzoo_training.benchmark_outcome import read_outcomes, write_outcome
from napari_medzoo_training.benchmark_report import write_report
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.logs import read_log
from napari_medzoo_training.overrides import override

from napari_medzoo.errors import MedzooError

FOLDS = (("training_seg_01",), ("training_seg_00",))
SIZE = (28, 36, 30)  # at 5 mm, what a brain is taken to measure
PROTOCOL: dict[str, Any] = {
    "name": "few",
    "title": "Few networks on ellipsoids",
    "introduction": "Two heads are few.",
    "recipe": "tiny.yaml",
    "changes": ["synthesis.missing_share=0"],
    "description": "Ellipsoids.",
    "data": "One ellipsoid.",
    "folds": "folds.json",
    "output_voxels": 4 * 16 * 16 * 16,
    "patch": [16, 16, 16],
    "voxel_mm": [4.0, 6.0],
    "study": SIZE,
    "optimiser": {"name": "adamw"},
    "learning_rate": 5e-3,
    "warmup": 1,
    "checkpoint_every": 2,
    "enough": None,
    "networks": [{"name": "small", "architecture": "strided_unet", "settings": {"widths": [4, 8]}}],
}


@pytest.fixture
def few(recipe: Recipe, packed_maps: Path, tmp_path: Path) -> Benchmark:
    """A benchmark of MRBrainS18's classes from three modalities; the second label map is fold 0."""
    changed = {"modalities": ["t1w", "t2w", "flair"], "label_scheme": "mrbrains", "channels": list(range(9))}
    content = recipe.model_dump(mode="json") | changed
    content["synthesis"]["missing_share"] = 0.5
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (tmp_path / "folds.json").write_text(json.dumps({"seed": 1, "folds": FOLDS}), encoding="utf-8")
    (tmp_path / "few.yaml").write_text(json.dumps(PROTOCOL), encoding="utf-8")
    (tmp_path / "runs").mkdir()
    shutil.copy(packed_maps, tmp_path / "runs" / "labelmaps.npz")
    return read_benchmark(tmp_path / "few.yaml")


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans of noise with one lesion drawn, where `lesion_validation` looks for them."""
    folder = tmp_path / "data" / "ms" / "patient26_mni"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    lesion = np.zeros((20, 18, 16), dtype=np.uint8)
    lesion[8:11, 8:11, 8:11] = 1
    scans = {name: random.random(lesion.shape).astype(np.float32) for name in ("T1w", "T2w", "FLAIR")}
    for name, data in {**scans, "lesions": lesion}.items():
        nib.save(nib.Nifti1Image(data, np.diag([-1.0, 1.0, 1.0, 1.0])), folder / f"{name}.nii.gz")
    monkeypatch.setenv("MEDZOO_DATA", str(tmp_path / "data"))


def test_what_is_held_out_does_not_teach(label_maps: LabelMaps) -> None:
    split = MapSplit(FOLDS, 0)
    first, second = label_maps.maps
    (taught,) = split.teaching(label_maps).maps
    ((number, name, held_out),) = split.held_out(label_maps)
    assert taught is first
    assert (number, name) == (1, "training_seg_01") and held_out.maps[0] is second
    with pytest.raises(MedzooError, match="name 3 label maps, the data have 2"):
        MapSplit((*FOLDS, ("another",)), 0).teaching(label_maps)
    with pytest.raises(MedzooError, match="no fold 2"):
        MapSplit(FOLDS, 2).teaching(label_maps)


def test_a_study_is_whole_and_the_same_for_every_network_and_seed(few: Benchmark, label_maps: LabelMaps) -> None:
    harsh = ["synthesis.missing_share=0.9", "synthesis.cut_share=1", "synthesis.anywhere_share=1"]
    cut = override(few.recipe_of(few.networks[0], 0, 1), harsh)
    scan, reference = make_study(label_maps, cut, SIZE, 3)
    assert scan.shape == (3, *SIZE) and reference.shape == SIZE
    assert reference.any() and all(modality.any() for modality in scan)
    other = cut.model_copy(update={"seed": 7, "architecture": "resunet", "settings": {}})
    again, same = make_study(label_maps, other, SIZE, 3)
    np.testing.assert_array_equal(scan, again)
    np.testing.assert_array_equal(reference, same)
    assert (make_study(label_maps, cut, SIZE, 4)[1] != reference).any()


def test_recipe_and_study_belong_together(few: Benchmark) -> None:
    recipe = few.recipe_of(few.networks[0], 0, 1)
    assert recipe.folds is None and recipe.stages[0].voxel_mm == (4.0, 6.0)
    assert recipe.synthesis is not None and recipe.synthesis.missing_share == 0
    with pytest.raises(MedzooError, match="size of a 'study'"):
        few.model_copy(update={"study": None}).recipe_of(few.networks[0], 0, 1)


@pytest.mark.usefixtures("patient")
def test_from_a_broken_training_to_the_page(few: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, one = tmp_path / "runs", Run(few.networks[0], 0, 1)
    folder, recipe = one.folder(output), few.recipe_of(one.network, 0, 1)
    split = MapSplit(few.read_folds(), 0)

    def interrupt(self: pl.Callback, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            raise RuntimeError("interrupted")

    with monkeypatch.context() as patched:
        patched.setattr(Meter, "on_train_batch_start", interrupt)
        with pytest.raises(RuntimeError, match="interrupted"):
            train_on_maps(recipe, split, output, folder, "a command", "cpu", 1)
    changed = few.model_copy(update={"learning_rate": 1e-3}).recipe_of(one.network, 0, 1)
    with pytest.raises(MedzooError, match="by another protocol: stages was"):
        train_on_maps(changed, split, output, folder, "a command", "cpu", 1)
    costs = train_on_maps(recipe, split, output, folder, "a command", "cpu", 1)
    assert [row["step"] for row in read_log(folder)] == [1, 2, 3, 4]

    scored = score_on_maps(recipe, split, SIZE, output, folder, "cpu", 1)
    assert {score.subject for score in scored.scores} == {"training_seg_01"}
    assert len(scored.scores) == 8 and scored.inference.cases == 1
    assert scored.lesions is not None and scored.lesions.lesions == 1
    outcome = collect(one, recipe, folder, costs, scored.inference, scores=scored.scores, lesions=scored.lesions)
    write_outcome(folder, outcome)
    assert read_outcomes(output)[0].lesions == scored.lesions

    write_report(few, output)
    text = (output / "few.md").read_text(encoding="utf-8")
    assert "`medzoo-train benchmark few`. Two heads are few." in text
    assert "1 label map, fold 0 of 2" in text and "28×36×30 voxels of 5 mm" in text
    assert "`synthesis.missing_share=0`" in text
    assert "found of 1" in text and "0.03 mL" in text
    with (output / "few.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["lesion_dice"]) == pytest.approx(scored.lesions.dice, abs=1e-4)
    assert {f"dice_{label.name}" for label in recipe.label_table.foreground} <= set(row)
