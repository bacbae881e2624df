"""Which index of one numbering is which index of another.

Nothing is mapped that is not declared here. What a mapping says of an index of its source:

- an index of the target: the voxel becomes that;
- 0: the voxel is background in the target's sense (MUSE's CSF around the brain, which aseg does not hold);
- nothing (the index is left out): the target has no word for it. The voxel becomes 0 and scoring
  leaves it out on both sides (MRBrainS18's cerebellum, which is neither grey nor white matter alone).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from napari_medzoo import label_data


def _each(indices: Iterable[int], target: int) -> dict[int, int]:
    return dict.fromkeys(indices, target)


_LEFT_PARCELS = (*range(1000, 2000), *range(11100, 11176))
_RIGHT_PARCELS = (*range(2000, 3000), *range(12100, 12176))
_PARCELS = _each(_LEFT_PARCELS, 3) | _each(_RIGHT_PARCELS, 42)
"""The cortical parcels of aparc+aseg (Desikan-Killiany) and aparc.a2009s+aseg (Destrieux)."""


def _same(text: str) -> dict[int, int]:
    return {int(line.split()[0]): int(line.split()[0]) for line in text.strip().splitlines()}


MAPPINGS: dict[tuple[str, str], Mapping[int, int]] = {
    # Other spellings of the same scheme: cortical parcels are cortex, BraTS 2023 writes 3 for enhancing tumour.
    ("aseg", "aseg"): _same(label_data.ASEG) | _PARCELS,
    ("brats", "brats"): _same(label_data.BRATS) | {3: 4},
    ("iseg", "tissue"): {10: 1, 150: 2, 250: 3},
    ("aseg", "tissue"): (
        _each((4, 5, 14, 15, 24, 43, 44, 31, 63, 72), 1)
        | _each((3, 42, *_PARCELS), 2)
        | _each((10, 11, 12, 13, 17, 18, 26, 28, 49, 50, 51, 52, 53, 54, 58, 60), 2)
        | _each((8, 47), 2)
        | _each((2, 41, 77, 78, 79, 85, *range(251, 256), 30, 62), 3)
        | _each((7, 46, 16), 3)
    ),
    # Hippocampus and amygdala are cortex and the ventral diencephalon belongs to the basal ganglia in MRBrainS18.
    ("aseg", "mrbrains"): (
        _each((3, 42, 17, 53, 18, 54, *_PARCELS), 1)
        | _each((10, 11, 12, 13, 26, 28, 49, 50, 51, 52, 58, 60), 2)
        | _each((2, 41, 85, *range(251, 256), 30, 62), 3)
        | _each((77, 78, 79), 4)
        | {24: 5}
        | _each((4, 5, 14, 15, 43, 44, 31, 63, 72), 6)
        | _each((7, 8, 46, 47), 7)
        | {16: 8}
    ),
    # 7 (cerebellum) and 8 (brain stem) hold both tissues, 9 and 10 neither: left out.
    ("mrbrains", "tissue"): {1: 2, 2: 2, 3: 3, 4: 3, 5: 1, 6: 1},
    # Left out: 69 (optic chiasm), 75 and 76 (basal forebrain).
    ("muse", "aseg"): {
        **{1: 0, 46: 0, 4: 14, 11: 15, 23: 58, 30: 26, 31: 54, 32: 18, 35: 16, 36: 50, 37: 11, 38: 47, 39: 8, 40: 46},
        **{41: 7, 47: 53, 48: 17, 49: 44, 50: 5, 51: 43, 52: 4, 55: 52, 56: 13, 57: 51, 58: 12, 59: 49, 60: 10},
        **{61: 60, 62: 28, 71: 8, 72: 8, 73: 8, 95: 251},
        **{index: 41 if index % 2 else 2 for index in range(81, 95)},
        **{index: 3 if index % 2 else 42 for index in range(100, 208)},
    },
}
"""``(source, target)`` → index of the source → index of the target; the module's text says how to read it."""

OUTER_CSF = 24
"""aseg's index for CSF that is in no ventricle. FreeSurfer labels 1–2 mL with it, between the hemispheres;
SynthSeg and models trained on its label maps label all the CSF around the brain, hundreds of mL."""

PARTIAL: dict[tuple[str, str], int] = {("aseg", "aseg"): OUTER_CSF, ("aseg", "mrbrains"): 5, ("aseg", "tissue"): 1}
"""``(source, target)`` → index of the target that the source holds only in part unless its `OUTER_CSF` is whole."""

OPTIONAL: dict[str, frozenset[int]] = {
    "aseg": frozenset({25, 57, 30, 62, 31, 63, 72, *range(77, 83), 85, *range(251, 256)}),
}
"""Indices that not everybody who writes a scheme uses: lesions, vessels, choroid plexus, the fifth ventricle,
hypointensities, the optic chiasm and the corpus callosum, which elsewhere are part of what surrounds them.
In scoring, a side without a single voxel of one counts as unable to have it."""


def find_mapping(source: str, target: str) -> tuple[str, ...]:
    """The shortest chain of declared mappings from one scheme to another, as scheme names from `source` to `target`.

    Returns
    -------
    tuple of str
        ``("muse", "aseg", "tissue")``; ``(source,)`` where both are the same; empty where no chain exists.
    """
    chains: list[tuple[str, ...]] = [(source,)]
    seen = {source}
    while chains:
        chain = chains.pop(0)
        if chain[-1] == target:
            return chain
        for first, second in MAPPINGS:
            if first == chain[-1] and second not in seen:
                seen.add(second)
                chains.append((*chain, second))
    return ()


def compose(chain: tuple[str, ...], indices: Iterable[int]) -> dict[int, int]:
    """What a chain of schemes makes of each of `indices`; those that a step leaves out are absent from the result."""
    steps = [MAPPINGS[pair] for pair in pairwise(chain)]
    if chain and (chain[0], chain[0]) in MAPPINGS:
        steps.insert(0, MAPPINGS[chain[0], chain[0]])
    result = {}
    for index in indices:
        value: int | None = index
        for step in steps:
            value = step.get(value) if value else value
        if value is not None:
            result[index] = value
    return result
