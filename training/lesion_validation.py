"""How well a card finds lesions: a patient whose lesions three raters drew, from all modalities and from fewer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medzoo.cards import ModelCard
from napari_medzoo.io import load_study, read_segmentation
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.lesions import called_lesion, compare_lesions
from napari_medzoo.study import MODALITIES, Study, describe

if TYPE_CHECKING:
    from .validation import Trial

TITLE = "One MS patient, stripped, 1 mm, lesions by the consensus of three raters (Lesjak et al. 2017)"
PATIENT = "ms/patient26_mni"
CONSENSUS = LabelTable("consensus", (Label(1, "lesion", (255, 200, 0)),))


def has_lesions(trial: Trial) -> bool:
    """Whether the card labels lesions and can be given what the patient has."""
    return labels_lesions(trial.card) and bool(_parts(trial))


def labels_lesions(card: ModelCard) -> bool:
    """Whether one of a card's labels is called a lesion."""
    return bool(called_lesion(card.label_table))


def read_patient(data: Path, modalities: Sequence[str]) -> tuple[Study, Segmentation]:
    """Scans of the patient and the raters' consensus on the lesions, from the folder of real scans."""
    folder = data / PATIENT
    study = load_study([], {modality: folder / f"{MODALITIES[modality]}.nii.gz" for modality in modalities})
    return study, read_segmentation(folder / "lesions.nii.gz", CONSENSUS)


def score_lesions(key: str, trial: Trial) -> Iterator[tuple[str, float]]:
    """Dice, lesions found and false lesions, with all modalities and with every part that the card accepts.

    Yields
    ------
    tuple of str and float
        What was measured, and the value.
    """
    for part in _parts(trial):
        study, reference = read_patient(trial.data, part)
        prediction = trial.segment(study)
        trial.picture(f"{key}_{'_'.join(part)}", study, prediction)
        agreement = compare_lesions(prediction, reference)
        given = describe(part)
        yield f"Dice of lesions from {given}", agreement.dice
        yield f"Share of {agreement.lesions} lesions of 3 mm³ and more found from {given}", agreement.sensitivity
        yield f"False lesions of 3 mm³ and more from {given}", float(agreement.false)
        yield f"Lesion load in mL from {given} (raters {agreement.reference_load_ml:.2f})", agreement.load_ml


def _parts(trial: Trial) -> tuple[tuple[str, ...], ...]:
    """The sets of modalities that the card takes and the patient has."""
    there = {"t1w", "t1wgd", "t2w", "flair"}
    return tuple(part for part in (trial.card.modalities, *trial.card.accepts) if set(part) <= there)
