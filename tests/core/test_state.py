"""What the window may do, decided without a window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_medzoo import state as possible
from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess.recipe import BiasCorrection, HeadCrop, Preprocessing
from napari_medzoo.space import Grid
from napari_medzoo.state import LEFT_OUT, Slot, State
from napari_medzoo.study import FileInfo, Volume

GRID = Grid((4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0]))


def slot(modality: str, file: str = "") -> Slot:
    info = FileInfo(Path(file or f"{modality}.nii.gz"), "nifti")
    return Slot(Volume(np.zeros(GRID.shape), GRID, "unknown", info), modality, "because")


def card(name: str = "tiny", modalities: tuple[str, ...] = ("any",), **changes) -> ModelCard:
    return ModelCard(
        name=name,
        title=name,
        architecture="strided_unet",
        modalities=modalities,
        label_scheme="tissue",
        channels=(0, 1, 2, 3),
        preprocessing=Preprocessing(head_crop=HeadCrop(margin_mm=3)),
        patch=(32, 32, 32),
        weights="w.safetensors",
        sha256="0" * 64,
        licence="-",
        data="-",
        command="-",
        **changes,
    )


def with_models(*slots: Slot, chosen: str = "tiny") -> State:
    cards = {"tiny": card(), "pair": card("pair", ("t1w", "flair"))}
    return State(slots=slots, cards=cards, card=chosen)


def test_fields_announce_their_changes_and_arrays_are_compared_by_identity():
    state, heard = State(), []
    state.events.connect(lambda info: heard.append(info.signal.name))
    labels = Segmentation(np.zeros(GRID.shape, np.uint8), GRID, LABEL_TABLES["tissue"])
    state.segmentation = labels
    state.segmentation = labels
    state.segmentation = replace(labels)
    state.slots = (slot("t1w"),)
    state.work = "Segmenting"
    state.work = "Segmenting"
    assert heard == ["segmentation", "segmentation", "slots", "work"]


def test_slots_make_a_study_with_their_reasons():
    made = possible.study(with_models(slot("t1w"), slot("flair"), slot(LEFT_OUT, "other.nii")))
    assert made.modalities == ("t1w", "flair")
    assert made["flair"].modality == "flair"
    assert made.reasons["t1w"] == "because"


@pytest.mark.parametrize(
    ("slots", "sentence"),
    [
        ((), "Choose the scans"),
        ((slot(LEFT_OUT),), "Choose the scans"),
        ((slot("t1w", "a.nii"), slot("t1w", "b.nii")), "'a.nii' and 'b.nii' are all marked T1w"),
        ((slot("unknown", "a.nii"), slot("unknown", "b.nii")), "Say which contrast 'a.nii' and 'b.nii' are"),
    ],
)
def test_slots_that_make_no_study_say_why(slots, sentence):
    state = with_models(*slots)
    assert sentence in possible.segment_problem(state)
    assert sentence in possible.prepare_problem(state)
    with pytest.raises(MedzooError, match=sentence.split(" are")[0]):
        possible.study(state)


def test_segment_is_possible_only_with_what_the_model_needs():
    assert possible.segment_problem(with_models(slot("t1w"))) == ""
    assert "needs T1w and FLAIR" in possible.segment_problem(with_models(slot("t1w"), chosen="pair"))
    assert possible.segment_problem(with_models(slot("t1w"), slot("flair"), chosen="pair")) == ""
    assert "no model" in possible.segment_problem(State(slots=(slot("t1w"),)))
    assert "Choose a model" in possible.segment_problem(with_models(slot("t1w"), chosen="gone"))


def test_nothing_heavy_starts_while_something_runs_or_still_holds_memory():
    state = with_models(slot("t1w"))
    state.work = "Reading"
    assert possible.segment_problem(state) == "Reading is still running."
    state.work, state.releasing = "", True
    assert "memory" in possible.segment_problem(state)
    assert "memory" in possible.prepare_problem(state)


def test_a_file_given_again_takes_its_place_and_keeps_the_others():
    first, second, again = slot("t1w", "a.nii"), slot("t2w", "b.nii"), slot("flair", "a.nii")
    assert possible.with_scans((first, second), (again,)) == (again, second)
    assert possible.with_scans((first,), (second,)) == (first, second)


def test_marking_by_hand_is_said():
    (changed,) = possible.with_modality((slot("t1w"),), 0, "flair")
    assert (changed.modality, changed.reason) == ("flair", "Chosen by hand.")


def test_switching_a_step_on_takes_the_cards_settings_where_it_has_some():
    state = with_models(slot("t1w"))
    assert possible.differs_from_card(state) == ""
    state.recipe = possible.switched(state, "head_crop", False)
    assert possible.recipe(state).head_crop is None
    assert "crop to the head" in possible.differs_from_card(state)
    state.recipe = possible.switched(state, "bias_correction", True)
    assert possible.recipe(state).bias_correction == BiasCorrection()
    state.recipe = possible.switched(state, "bias_correction", False)
    state.recipe = possible.switched(state, "head_crop", True)
    assert possible.recipe(state).head_crop == HeadCrop(margin_mm=3)
    assert possible.differs_from_card(state) == ""
    assert possible.chosen_card(state).preprocessing == card().preprocessing


def test_the_grid_of_the_result_is_the_models_first_unless_another_is_chosen():
    state = with_models(slot("t2w"), slot("t1w"))
    assert possible.result_grid(state) == "t1w"
    state.grid = "t2w"
    assert possible.result_grid(state) == "t2w"
    state.grid = "flair"
    assert possible.result_grid(state) == "t1w"


def test_preview_prepares_every_scan_the_models_first_first():
    assert possible.preview_modalities(with_models(slot("t2w"), slot("t1w"))) == ("t1w", "t2w")


def test_a_preparation_is_kept_only_for_the_same_scans_and_steps():
    state = with_models(slot("t1w"))
    key = possible.preparation_key(state)
    state.recipe = possible.switched(state, "align", False)
    assert possible.preparation_key(state) != key
    state.recipe = None
    assert possible.preparation_key(state) == key
    state.slots = (slot("t1w"),)
    assert possible.preparation_key(state) != key


def test_volumes_are_listed_largest_first_without_absent_labels():
    data = np.zeros(GRID.shape, np.uint8)
    data[0, 0, :2], data[1] = 3, 1
    rows = possible.volume_rows(Segmentation(data, GRID, LABEL_TABLES["tissue"]))
    assert [row[0] for row in rows] == [1, 3]
    assert rows[1][2] == pytest.approx(2 * 6 / 1000)
