"""Label maps to synthesise from, packed once into one small file of RAS uint8 arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing
from napari_medzoo.label_mappings import compose, find_mapping

from .config import Recipe

if TYPE_CHECKING:
    from .lesion_sites import Sites

# What the label maps draw inside or beside another structure, and what it is learnt as: choroid plexus is
# part of the ventricle it lies in, a white-matter lesion of the white matter (as in SynthSeg's own list) unless the
# recipe has a word for lesions.
PARTS = {25: 2, 57: 41, 136: 4, 137: 5, 163: 43, 164: 44}
LESIONS = {25: 77, 57: 77}


@dataclass(frozen=True)
class LabelMaps:
    """Label maps as class numbers, and what each class is.

    The maps and `mirrored` follow `to`; the small tables stay on the CPU, so that reading them never waits for a GPU.

    Attributes
    ----------
    maps : list of torch.Tensor
        ``(X, Y, Z) uint8`` class numbers, RAS, 1 mm, cropped to the head.
    indices : torch.Tensor
        ``(L,) int64``: FreeSurfer-style index of each class number.
    tissue_of : torch.Tensor
        ``(L,) int64``: classes that share a number share their intensity (left and right of one structure).
    t1w_means, t1w_stds : torch.Tensor
        ``(2, tissues) float32``: mean and spread of the mean, and of the standard deviation, of a T1w scan (0–255).
    mirrored : torch.Tensor
        ``(L,) int64``: class number of the same structure on the other side.
    """

    maps: list[Tensor]
    indices: Tensor
    tissue_of: Tensor
    t1w_means: Tensor
    t1w_stds: Tensor
    mirrored: Tensor

    @property
    def subjects(self) -> tuple[str, ...]:
        """Nobody: whom a map shows is not known, and none is held out."""
        return ()

    def to(self, device: torch.device) -> LabelMaps:
        """The same on another device."""
        return LabelMaps(
            maps=[item.to(device) for item in self.maps],
            indices=self.indices,
            tissue_of=self.tissue_of,
            t1w_means=self.t1w_means,
            t1w_stds=self.t1w_stds,
            mirrored=self.mirrored.to(device),
        )

    @property
    def device(self) -> torch.device:
        """Where the maps lie."""
        return self.maps[0].device

    @cached_property
    def one_side(self) -> NDArray[np.int64]:
        """``(L,) int64``: a number that a structure on the left shares with the same one on the right."""
        other = self.mirrored.cpu().numpy()
        return np.minimum(np.arange(len(other)), other)

    @cached_property
    def lesion_sites(self) -> dict[int, Sites]:
        """Where lesions may lie, by the number of the map; `lesion_sites.sites_of` fills it."""
        return {}

    @cached_property
    def tissue_members(self) -> tuple[tuple[int, ...], ...]:
        """FreeSurfer-style indices of each tissue, in the order of the tissues' numbers."""
        members: list[list[int]] = [[] for _ in range(self.t1w_means.shape[1])]
        for index, tissue in zip(self.indices.tolist(), self.tissue_of.tolist(), strict=True):
            members[tissue].append(index)
        return tuple(tuple(sorted(member)) for member in members)

    def channel_of(self, recipe: Recipe) -> Tensor:
        """``(L,) int64``: the recipe's output channel for each class number (0 where it is not learnt).

        A recipe of another built-in numbering learns what the declared mapping from FreeSurfer's makes of a class.
        """
        channels = {index: number for number, index in enumerate(recipe.channels)}
        chain = find_mapping("aseg", recipe.label_scheme) or ("aseg",)
        learns_lesions = compose(chain, LESIONS.values()).get(77) in channels
        whole_of = PARTS | LESIONS if learns_lesions else PARTS
        wholes = [whole_of.get(int(index), int(index)) for index in self.indices]
        mapped = compose(chain, wholes) | dict(recipe.merge)
        learnt = [mapped.get(index, 0) for index in wholes]
        return torch.tensor([channels.get(index, 0) for index in learnt], device=self.device)


@dataclass(frozen=True)
class Placed:
    """A label map laid into a patch.

    Attributes
    ----------
    number : int
        Which map.
    voxels : torch.Tensor
        ``(X, Y, Z) int32``: the voxel of the flattened map that each voxel of the patch was taken from.
    classes : torch.Tensor
        ``(X, Y, Z) int32`` class numbers; 0 outside of the map.
    """

    number: int
    voxels: Tensor
    classes: Tensor


def pack(folder: Path, output: Path) -> Path:
    """Crop every ``training_seg_*.nii.gz`` of `folder` to its head; store all with the class tables in one file."""
    import nibabel as nib

    files = sorted(folder.glob("training_seg_*.nii.gz"))
    if not files:
        raise MedzooError(f"{folder}: no training_seg_*.nii.gz; give the folder of the SynthSeg label maps.")
    indices = np.load(folder / "generation_labels.npy")
    class_number = np.zeros(indices.max() + 1, dtype=np.uint8)
    class_number[indices] = np.arange(len(indices))
    arrays: dict[str, NDArray[Any]] = {
        "indices": indices,
        "tissue_of": np.load(folder / "generation_classes_contrast_specific.npy"),
        "t1w_means": np.load(folder / "prior_means_t1.npy"),
        "t1w_stds": np.load(folder / "prior_stds_t1.npy"),
    }
    for file in files:
        image = nib.as_closest_canonical(nib.load(file))
        labels = class_number[np.asarray(image.dataobj).round().astype(np.int32)]
        box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(labels))
        arrays[file.name.removesuffix(".nii.gz")] = labels[box]
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub takes allow_pickle for an array
    return output


def load_packed(path: Path) -> LabelMaps:
    """Read what `pack` wrote."""
    with np.load(path) as content:
        tables = {name: torch.from_numpy(content[name]) for name in ("indices", "tissue_of", "t1w_means", "t1w_stds")}
        maps = [torch.from_numpy(content[name]) for name in content.files if name.startswith("training_seg")]
    indices = tables["indices"].long()
    return LabelMaps(
        maps=maps,
        indices=indices,
        tissue_of=tables["tissue_of"].long(),
        t1w_means=tables["t1w_means"].float(),
        t1w_stds=tables["t1w_stds"].float(),
        mirrored=_mirrored(indices.tolist()),
    )


# FreeSurfer's index of a structure on the left → on the right.
LEFT_TO_RIGHT = {
    2: 41, 3: 42, 4: 43, 5: 44, 7: 46, 8: 47, 10: 49, 11: 50, 12: 51, 13: 52, 17: 53, 18: 54,
    25: 57, 26: 58, 28: 60, 30: 62, 136: 163, 137: 164,
}  # fmt: skip


def _mirrored(indices: list[int]) -> Tensor:
    other = LEFT_TO_RIGHT | {right: left for left, right in LEFT_TO_RIGHT.items()}
    return torch.tensor([indices.index(other.get(index, index)) for index in indices])
