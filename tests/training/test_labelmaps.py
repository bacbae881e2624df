from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.labelmaps import LEFT_TO_RIGHT, LabelMaps, load_packed, pack

from napari_medzoo.errors import MedzooError


def test_packing_reorients_crops_and_numbers_the_classes(tmp_path: Path) -> None:
    """A head stored as LIA with a rim of air comes back as RAS class numbers without it."""
    indices = np.array([0, 24, 2, 41])
    ras = np.zeros((8, 9, 10), dtype=np.int16)
    ras[2:4, 3:6, 4:8], ras[4:6, 3:6, 4:8], ras[3, 4, 7] = 2, 41, 24
    image = nib.Nifti1Image(ras, np.diag([1.0, 1, 1, 1]))
    to_lia = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt("LIA"))
    folder = tmp_path / "maps"
    folder.mkdir()
    image.as_reoriented(to_lia).to_filename(folder / "training_seg_01.nii.gz")
    for name, values in {
        "generation_labels": indices,
        "generation_classes_contrast_specific": np.array([0, 1, 2, 2]),
        "prior_means_t1": np.ones((2, 3)),
        "prior_stds_t1": np.ones((2, 3)),
    }.items():
        np.save(folder / f"{name}.npy", values)

    maps = load_packed(pack(folder, tmp_path / "out" / "maps.npz"))
    assert len(maps.maps) == 1 and maps.maps[0].shape == (4, 3, 4)
    np.testing.assert_array_equal(indices[maps.maps[0].numpy()], ras[2:6, 3:6, 4:8])
    assert maps.tissue_members == ((0,), (24,), (2, 41))


def test_packing_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match=r"training_seg_\*\.nii\.gz"):
        pack(tmp_path, tmp_path / "maps.npz")


def test_mirroring_twice_changes_nothing_and_the_middle_stays(label_maps: LabelMaps) -> None:
    indices, other = label_maps.indices, label_maps.mirrored
    np.testing.assert_array_equal(other[other], np.arange(len(other)))
    named = dict(zip(indices.tolist(), indices[other].tolist(), strict=True))
    assert named[2] == 41 and named[49] == 10 and named[24] == 24
    one_side = dict(zip(indices.tolist(), label_maps.one_side.tolist(), strict=True))
    assert one_side[3] == one_side[42] != one_side[2]


def test_no_structure_is_on_both_sides() -> None:
    assert not set(LEFT_TO_RIGHT) & set(LEFT_TO_RIGHT.values())
    assert len(set(LEFT_TO_RIGHT.values())) == len(LEFT_TO_RIGHT)


def test_merged_labels_are_learnt_as_their_target(label_maps: LabelMaps, recipe: Recipe) -> None:
    merged = recipe.model_copy(update={"merge": {10: 2, 516: 24}})
    of = dict(zip(label_maps.indices.tolist(), label_maps.channel_of(merged).tolist(), strict=True))
    assert of[10] == of[2] == recipe.channels.index(2)
    assert of[516] == recipe.channels.index(24)
    assert label_maps.channel_of(recipe)[label_maps.indices == 516] == 0


def test_a_recipe_of_tissues_learns_by_the_declared_mapping(label_maps: LabelMaps, recipe: Recipe) -> None:
    tissues = recipe.model_copy(update={"label_scheme": "tissue", "channels": (0, 1, 2, 3)})
    of = dict(zip(label_maps.indices.tolist(), label_maps.channel_of(tissues).tolist(), strict=True))
    assert of == {0: 0, 24: 1, 516: 0, 2: 3, 3: 2, 10: 2, 41: 3, 42: 2, 49: 2}
