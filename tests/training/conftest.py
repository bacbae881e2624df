"""Two tiny label maps in the packed form, ten tiny cases on disk, and recipes that train on either in a second."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.labelmaps import LabelMaps, load_packed

# Fluid, scalp, and the white matter, cortex and thalamus of both sides, in SynthSeg's way of numbering.
INDICES = np.array([0, 24, 516, 2, 3, 10, 41, 42, 49])
TISSUES = np.array([0, 1, 5, 2, 3, 4, 2, 3, 4])


@pytest.fixture
def packed_maps(tmp_path: Path) -> Path:
    """Two heads of about 40 voxels: scalp around fluid around two halves of cortex, white matter and thalamus."""
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (40, 44, 36)), indexing="ij")
    radius = np.sqrt((x / 18) ** 2 + (y / 20) ** 2 + (z / 16) ** 2)
    arrays = {}
    for number, shift in enumerate((0.0, 0.05)):
        classes = np.zeros(radius.shape, dtype=np.uint8)
        for limit, left, right in ((1.0, 2, 2), (0.9, 1, 1), (0.8, 4, 7), (0.6, 3, 6), (0.3, 5, 8)):
            inside = radius < limit - shift
            classes[inside] = np.where(x < 0, left, right)[inside]
        arrays[f"training_seg_{number:02}"] = classes
    tissues = TISSUES.max() + 1
    means = np.stack([np.linspace(5, 200, tissues), np.full(tissues, 5.0)])
    stds = np.stack([np.full(tissues, 5.0), np.full(tissues, 1.0)])
    path = tmp_path / "labelmaps.npz"
    np.savez(path, indices=INDICES, tissue_of=TISSUES, t1w_means=means, t1w_stds=stds, **arrays)
    return path


@pytest.fixture
def label_maps(packed_maps: Path) -> LabelMaps:
    """`packed_maps`, read."""
    return load_packed(packed_maps)


@pytest.fixture
def recipe() -> Recipe:
    """Six steps of a tiny network on patches of 16³, in float32."""
    torch.set_num_threads(1)
    return Recipe.model_validate(
        {
            "name": "tiny",
            "title": "Tiny",
            "architecture": "strided_unet",
            "settings": {"widths": [4, 8]},
            "label_scheme": "aseg",
            "channels": [0, 2, 3, 10, 24, 41, 42, 49],
            "preprocessing": {},
            "inference_patch": [16, 16, 16],
            "stages": [
                {"steps": 4, "patch": [16, 16, 16], "voxel_mm": [1.5, 2.0], "warmup": 2},
                {"steps": 2, "patch": [16, 12, 16], "warmup": 1},
            ],
            "synthesis": {},
            "precision": "32",
            "checkpoint_every": 3,
            "licence": "BSD-3-Clause",
            "data": "two ellipsoids",
        }
    )


@pytest.fixture
def cases_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten cases in the layout of MSD below ``$MEDZOO_DATA``: two bright blobs side by side, LPS, anisotropic."""
    folder = tmp_path / "data" / "blobs"
    random = np.random.default_rng(0)
    affine = np.diag([-1.0, -1.0, 1.5, 1.0])
    affine[:3, 3] = 30, -20, 10
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number in range(10):
        shape = (20 + number % 3, 18, 14)
        x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
        labels = np.zeros(shape, dtype=np.uint8)
        labels[((x - 4) / 4) ** 2 + (y / 5) ** 2 + (z / 4) ** 2 < 1] = 1
        labels[((x + 4) / 4) ** 2 + (y / 5) ** 2 + (z / 4) ** 2 < 1] = 2
        scan = np.array([20.0, 120.0, 220.0])[labels] + random.normal(0, 5, shape)
        nib.Nifti1Image(scan.astype(np.float32), affine).to_filename(folder / "imagesTr" / f"blob_{number:03}.nii.gz")
        nib.Nifti1Image(labels, affine).to_filename(folder / "labelsTr" / f"blob_{number:03}.nii.gz")
    monkeypatch.setenv("MEDZOO_DATA", str(tmp_path / "data"))
    return folder


@pytest.fixture
def cases_recipe(recipe: Recipe, cases_folder: Path) -> Recipe:
    """Twelve steps on the cases of `cases_folder`, validated every three; the first of five folds is held out."""
    colours = {"background": (0, 0, 0), "left blob": (255, 0, 0), "right blob": (0, 0, 255)}
    content = recipe.model_dump(mode="json") | {
        "name": "blobs",
        "modalities": ["t1w"],
        "label_scheme": "blobs",
        "labels": [{"index": i, "name": name, "color": c} for i, (name, c) in enumerate(colours.items())],
        "channels": [0, 1, 2],
        "preprocessing": {"normalise": {"method": "percentile"}},
        "synthesis": None,
        "dataset": {"kind": "msd", "folder": "blobs"},
        "folds": {"count": 5},
        "stages": [{"steps": 12, "patch": [16, 16, 12], "warmup": 2, "learning_rate": 5e-3}],
        "validate_every": 3,
        "batch": 2,
        "ema": 0.8,
    }
    return Recipe.model_validate(content)
