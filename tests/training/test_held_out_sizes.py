"""Networks that answer for less than they see, and networks of slices: trained, validated, exported and used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.export import card_of, export
from napari_medzoo_training.fit import fit
from napari_medzoo_training.held_out import predict_prepared
from napari_medzoo_training.module import Training
from napari_medzoo_training.overrides import override

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import predict
from napari_medzoo.inference.network import build_network
from napari_medzoo.io import load_study
from napari_medzoo.progress import run

VALID = "settings={widths: [3, 3, 2, 2], head: [6], padding: valid}"
SLICES = "settings={widths: [4, 6], padding: same}"


@pytest.mark.parametrize("whole", [True, False])
def test_a_valid_network_is_validated_on_the_whole_case(recipe: Recipe, whole: bool) -> None:
    """Air around the case, four voxels of it on every side; tiles of valid convolutions change nothing."""
    changes = ["architecture=densenet3d", VALID, f"inference_whole={whole}", "inference_patch=[15, 14, 13]"]
    recipe = override(recipe, changes)
    torch.manual_seed(0)
    network = build_network(recipe)
    scan = np.random.default_rng(0).random((1, 14, 13, 9)).astype(np.float32)
    padded = torch.from_numpy(np.pad(scan, ((0, 0), (4, 4), (4, 4), (4, 4))))[None]
    with torch.no_grad():
        network.head[-1].bias -= network(padded)[0].mean((1, 2, 3))  # a random head has a favourite class
        expected = network(padded)[0].argmax(0).numpy()
    found = predict_prepared(network, recipe, scan, torch.device("cpu"))
    assert found.shape == (14, 13, 9)
    assert len(np.unique(found)) > 2
    assert np.mean(found == expected) > 0.999


def test_slices_are_validated_one_by_one(recipe: Recipe) -> None:
    """A patch of one voxel along the last axis is a slice; the third axis need not be a multiple."""
    recipe = override(recipe, ["architecture=unet2d", SLICES, "inference_whole=false", "inference_patch=[16, 16, 1]"])
    torch.manual_seed(0)
    network = build_network(recipe)
    scan = np.random.default_rng(0).random((1, 16, 16, 5)).astype(np.float32)
    with torch.inference_mode():
        expected = [network(torch.from_numpy(scan[None, ..., z]))[0].argmax(0).numpy() for z in range(5)]
    assert card_of(recipe, network).patch == (16, 16, 1)
    assert np.array_equal(predict_prepared(network, recipe, scan, torch.device("cpu")), np.stack(expected, -1))


def test_a_patch_is_enlarged_to_what_the_network_takes(recipe: Recipe) -> None:
    recipe = override(recipe, ["architecture=unet3d", "settings={widths: [2, 4, 6]}", "inference_patch=[45, 48, 64]"])
    card = card_of(recipe, build_network(recipe, "meta"))
    assert (card.patch, card.divisor, card.margin) == ((48, 48, 64), (4, 4, 4), (20, 20, 20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("inference_patch=[40, 48, 64]", "loses .20, 20, 20. voxels on every side; enlarge inference_patch"),
        ("stages.1.patch=[40, 48, 48]", "multiples of 4, more than 40"),
    ],
)
def test_a_patch_within_the_margin_is_refused_before_training(recipe: Recipe, change: str, message: str) -> None:
    stages = "stages=[{steps: 1, patch: [44, 44, 44]}, {steps: 1, patch: [44, 44, 44]}]"
    unet = override(
        recipe, ["architecture=unet3d", "settings={widths: [2, 4, 6]}", "inference_patch=[64, 64, 64]", stages]
    )
    Training(unet, build_network(unet))
    with pytest.raises(MedzooError, match=message):
        Training(override(unet, [change]), build_network(unet))


def test_further_heads_of_deep_supervision_stay_behind(recipe: Recipe) -> None:
    for settings in ("{widths: [4, 6, 8, 10]}", "{widths: [4, 6, 8, 10], deep_supervision: false}"):
        trained = override(recipe, ["architecture=dynunet", f"settings={settings}", "inference_patch=[16, 16, 16]"])
        card = card_of(trained, build_network(trained, "meta"))
        kept = build_network(card, "meta").state_dict()
        assert set(kept) <= set(build_network(trained, "meta").state_dict())
        assert not [name for name in kept if "deep" in name]


@pytest.mark.parametrize(
    ("architecture", "settings", "patch"), [("densenet3d", VALID, [20, 18, 14]), ("unet2d", SLICES, [16, 16, 3])]
)
def test_from_a_training_to_labels(
    cases_recipe: Recipe, cases_folder: Path, tmp_path: Path, architecture: str, settings: str, patch: list[int]
) -> None:
    """Two steps with a validation, the card, and labels on the scan's own grid."""
    from napari_medzoo_training.data import open_source

    stages = f"stages=[{{steps: 2, patch: {patch}}}]"
    changes = [f"architecture={architecture}", settings, stages, "checkpoint_every=2", "validate_every=2", "batch=1"]
    recipe = override(cases_recipe, [*changes, f"inference_patch={patch}"])
    fit(recipe, lambda: run(open_source(recipe, tmp_path)), tmp_path / "run", device="cpu")
    card = export(tmp_path / "run", tmp_path / "model", "test")
    assert card.geometry.takes(card.patch)
    study = load_study([], {"t1w": cases_folder / "imagesTr" / "blob_000.nii.gz"})
    result = run(predict(study, card, device="cpu", threads=1))
    assert result.grid.same_as(study["t1w"].grid)
    assert result.provenance["plan"]["margin"] == list(card.margin)
