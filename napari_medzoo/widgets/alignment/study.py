"""What a person settled about how scans lie on each other, in the study of the panel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from numpy.typing import NDArray

from napari_medzoo import state as possible
from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess.alignment import known_transforms
from napari_medzoo.state import Slot, State
from napari_medzoo.study import MODALITIES
from napari_medzoo.widgets.alignment.placing import is_scan, movement_of, shows
from napari_medzoo.widgets.docks import open_dock
from napari_medzoo.widgets.layers import volume_from_layer

if TYPE_CHECKING:
    import napari

BY_HAND = "its position was corrected by hand"
SETTLED = "placed as you accepted it, so that no other position is looked for"


def settle(state: State, fixed: Image, moving: Image) -> bool:
    """Take the moving layer's position into the study, if both layers show scans of it.

    Returns
    -------
    bool
        Whether they do.
    """
    still, placed = _slot_of(state.slots, fixed), _slot_of(state.slots, moving)
    if still is None or placed is None:
        return False
    slot = state.slots[placed]
    volume = volume_from_layer(moving, slot.volume.modality)
    notes = tuple(text for text in slot.volume.warnings if text != BY_HAND)
    if not np.array_equal(movement_of(moving), np.eye(4)):
        notes = (*notes, BY_HAND)
    volume = replace(volume, warnings=notes)
    state.slots = (*state.slots[:placed], replace(slot, volume=volume), *state.slots[placed + 1 :])
    state.settled = (*state.settled, (state.slots[still].volume.grid, volume.grid))
    return True


def transforms(state: State) -> dict[str, NDArray[np.float64]]:
    """What need not be searched for when the study is prepared: ``(4, 4)`` by modality, see `known_transforms`."""
    return known_transforms(possible.study(state), state.settled, possible.channels(state)[0])


def found_transforms(state: State) -> tuple[str, Mapping[str, NDArray[np.float64]]]:
    """What the last preparation or segmentation aligned to, and the ``(4, 4)`` transforms it used, by modality.

    Without either: the model's first scan and none.
    """
    if state.prepared is not None:
        return state.prepared.reference, state.prepared.transforms
    if state.segmentation is not None and "transforms" in state.segmentation.provenance:
        record = state.segmentation.provenance
        return record["reference"], {key: np.array(rows) for key, rows in record["transforms"].items()}
    return possible.channels(state)[0], {}


def layers_to_judge(state: State, layers: Iterable[Layer]) -> tuple[Image, dict[Image, NDArray[np.float64] | None]]:
    """The layers of the study, to be looked at together.

    Returns
    -------
    napari.layers.Image, dict
        The one that the others are aligned to, and the others, each with the transform that was found for it.

    Raises
    ------
    MedzooError
        If the study has no second scan in the viewer.
    """
    reference, found = found_transforms(state)
    scans = [layer for layer in layers if is_scan(layer)]
    shown: dict[str, Image] = {}
    for slot in state.slots:
        layer = next((layer for layer in scans if shows(layer, slot.volume)), None)
        if layer is not None and slot.modality != possible.LEFT_OUT:
            shown[slot.modality] = layer
    if reference not in shown or len(shown) < 2:
        raise MedzooError("There is nothing to align: the study needs two scans that are layers in the viewer.")
    return shown[reference], {layer: found.get(key) for key, layer in shown.items() if key != reference}


def judge(viewer: napari.Viewer, state: State) -> None:
    """Show how the study's scans lie on each other, as they were aligned last, in the Alignment dock."""
    try:
        fixed, others = layers_to_judge(state, viewer.layers)
    except MedzooError as error:
        show_error(str(error))
    else:
        open_dock(viewer, "alignment").use(fixed, others)


def alignment_note(state: State) -> str:
    """A line for each scan: what a person settled, and what the last preparation or segmentation found."""
    found: dict[str, str] = {}
    if state.prepared is not None:
        found = {key: str(one) for key, one in state.prepared.alignments.items()}
    elif state.segmentation is not None:
        found = dict(state.segmentation.provenance.get("alignment", {}))
    for slot in state.slots:
        if any(slot.volume.grid is placed for _, placed in state.settled):
            found[slot.modality] = SETTLED
    return "\n".join(f"{MODALITIES.get(key, key)}: {words}." for key, words in found.items())


def _slot_of(slots: Sequence[Slot], layer: Image) -> int | None:
    return next((i for i, slot in enumerate(slots) if shows(layer, slot.volume)), None)
