"""Which cards are judged by their lesions, and that every part of the modalities is scored with its own scans."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari_medzoo_training.validation import CASES, Trial, validate

from napari_medzoo.cards import ModelCard
from napari_medzoo.study import Study
from tests.core.tiny_model import make_card

from .test_validation import answer

STUDY = ("t1w", "t2w", "flair")


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    parts = (("t1w", "flair"), ("flair",))
    return make_card(
        tmp_path, modalities=STUDY, accepts=parts, label_scheme="mrbrains", channels=tuple(range(9)), name="lesioned"
    )


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """Scans whose voxels are MRBrainS18's numbers: the FLAIR shows both lesions, the T1w one and something false."""
    folder = tmp_path / "ms" / "patient26_mni"
    folder.mkdir(parents=True)
    both = np.full((12, 10, 8), 3.0, dtype=np.float32)
    both[2:4, 2:4, 2:4] = both[8:10, 6:8, 4:6] = 4
    one = both.copy()
    one[2:4, 2:4, 2:4], one[5, 0:3, 0] = 3, 4
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    for name, data in {"FLAIR": both, "T1w": one, "T2w": both, "lesions": (both == 4).astype(np.uint8)}.items():
        nib.save(nib.Nifti1Image(data, affine), folder / f"{name}.nii.gz")
    return tmp_path


def test_every_part_is_scored(card: ModelCard, patient: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Study] = answer(monkeypatch, lambda volume: volume.data.astype(np.uint8))
    scores = {score.metric: score.value for score in validate(card, patient, ("lesions",))}
    assert [study.modalities for study in asked] == [STUDY, ("t1w", "flair"), ("flair",)]
    # `answer` labels by the first scan: the T1w, and the FLAIR where it is alone.
    assert scores["Dice of lesions from FLAIR"] == 1
    assert scores["Dice of lesions from T1w, T2w and FLAIR"] == pytest.approx(2 * 8 / (16 + 11), abs=1e-4)
    assert scores["Share of 2 lesions of 3 mm³ and more found from T1w and FLAIR"] == 0.5
    assert scores["False lesions of 3 mm³ and more from T1w and FLAIR"] == 1
    assert scores["Lesion load in mL from FLAIR (raters 0.02)"] == pytest.approx(0.016)


def test_cards_are_judged_by_what_they_label_and_take(card: ModelCard, tmp_path: Path) -> None:
    def suitable(judged: ModelCard) -> list[str]:
        return [key for key, case in CASES.items() if case.suits(Trial(judged, tmp_path))]

    assert suitable(card) == ["lesions"]  # it takes no T1w alone, so tissue cases would not run
    assert "lesions" not in suitable(card.model_copy(update={"channels": (0, 1, 2, 3)}))
    assert suitable(card.model_copy(update={"modalities": ("pdw",), "accepts": ()})) == []
    alone = card.model_copy(update={"accepts": (("t1w",),)})
    assert {"ixi012", "mni152", "lesions"} <= set(suitable(alone)) and "contrasts" not in suitable(alone)
