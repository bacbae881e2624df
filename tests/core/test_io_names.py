"""Modalities and label maps are recognised by their names, and the reason is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_medzoo.io import guess_modality, looks_like_labels, stem_of, suffix_of

NAMED = {
    "sub-01_T1w.nii.gz": "t1w",
    "sub-01_ses-2_acq-T2prep_run-1_T1w.nii": "t1w",
    "sub-01_T2w.nii.gz": "t2w",
    "sub-01_FLAIR.nii.gz": "flair",
    "sub-01_PDw.nii.gz": "pdw",
    "sub-01_inplaneT1.nii.gz": "t1w",
    "sub-01_ce-gadolinium_T1w.nii.gz": "t1wgd",
    "sub-01_ce-GADAVIST_acq-mprage_T1w.nii.gz": "t1wgd",
    "Brats18_CBICA_AAM_1_t1.nii.gz": "t1w",
    "Brats18_CBICA_AAM_1_t1ce.nii.gz": "t1wgd",
    "Brats18_CBICA_AAM_1_t2.nii.gz": "t2w",
    "Brats18_CBICA_AAM_1_flair.nii.gz": "flair",
    "BraTS-GLI-00000-000-t1n.nii.gz": "t1w",
    "BraTS-GLI-00000-000-t1c.nii.gz": "t1wgd",
    "BraTS-GLI-00000-000-t2w.nii.gz": "t2w",
    "BraTS-GLI-00000-000-t2f.nii.gz": "flair",
    "subject-1-T1.hdr": "t1w",
    "subject-10-T2.img": "t2w",
    "reg_T1.nii.gz": "t1w",
    "reg_3DT1.nii.gz": "t1w",
    "reg_IR.nii.gz": "ir",
    "FLAIR.nii.gz": "flair",
    "IXI012-Guys-T1.nii.gz": "t1w",
    "IXI012-HH-1211-PD.nii.gz": "pdw",
    "t1.nii.gz": "t1w",
    "T1W.mha": "t1w",
    "study1_T1W.nii.gz": "t1w",
    "study1_T2W.nii.gz": "t2w",
    "T1wGd.nii.gz": "t1wgd",
    "T1_Gd.nrrd": "t1wgd",
    "T1 post.nrrd": "t1wgd",
    "T1_weighted_post-contrast.nii": "t1wgd",
    "MPRAGE.nii.gz": "t1w",
    "anon_MPRAGE_GD.nii.gz": "t1wgd",
    "patient_T2_FLAIR.nii.gz": "flair",
    "t2_space_dark-fluid_flair_sag.nii.gz": "flair",
    "AXT1POST.nii.gz": "t1wgd",
    "AX_T2_TSE.nii.gz": "t2w",
    "IR-FSPGR.nii.gz": "t1w",
    "T1_to_FLAIR.nii.gz": "t1w",
    "FLAIR_in_T1_space.nii.gz": "flair",
    "TCGA-DU-7294_fla_bet.nii.gz": "flair",
    "11-T1post-18670": "t1wgd",
    "26401-T1prereg-52906": "t1w",
    "37830-T2reg-78532": "t2w",
    "36468-FLAIRreg-58706": "flair",
    "orig.mgz": "t1w",
    "brain.mgz": "t1w",
}

NOT_NAMED = [
    "hippocampus_001.nii.gz",
    "scan.nii.gz",
    "LPS.nii.gz",
    "sub-01_T2star.nii.gz",
    "sub-01_bold.nii.gz",
    "brain.nii.gz",
    "pairs.nii",
    "T10.nii",
]

LABELS = [
    "Brats18_CBICA_AAM_1_seg.nii.gz",
    "subject-1-label.hdr",
    "segm.nii.gz",
    "sub-01_dseg.nii.gz",
    "sub-01_T1w_dseg.nii.gz",
    "sub-01_space-T1w_desc-brain_mask.nii.gz",
    "aseg.mgz",
    "aparc+aseg.mgz",
    "lesions.nii.gz",
    "dlmuse.nii.gz",
    "training_seg_01.nii.gz",
    "gif_parcellation_T1space.nii.gz",
    "T1_brainmask.nii.gz",
]


@pytest.mark.parametrize(("name", "modality"), NAMED.items())
def test_named(name: str, modality: str) -> None:
    guessed, reason = guess_modality(Path("anywhere") / name)
    assert guessed == modality, reason
    assert reason.startswith("named ")


@pytest.mark.parametrize("name", NOT_NAMED)
def test_not_named(name: str) -> None:
    assert guess_modality(name) == (None, "its name says no modality")


@pytest.mark.parametrize("name", LABELS)
def test_label_maps_are_no_modality(name: str) -> None:
    modality, reason = guess_modality(name)
    assert modality is None
    assert reason.startswith("named a label map by ")
    assert looks_like_labels(name), "the name is enough, the file need not exist"


@pytest.mark.parametrize("name", ["T1_masked.nii.gz", "sub-01_desc-lesionfilled_T1w.nii.gz", "sub-lesion3_T1w.nii.gz"])
def test_scans_that_sound_like_label_maps(name: str) -> None:
    assert guess_modality(name)[0] == "t1w"
    assert not looks_like_labels(name)


def test_the_reason_says_what_in_the_name_it_was() -> None:
    assert guess_modality("sub-01_T1w.nii.gz")[1] == "named T1w by its BIDS suffix '_T1w'"
    assert guess_modality("T1w.nii.gz")[1] == "named T1w by 'T1w'"
    assert guess_modality("sub-01_ce-gd_T1w.nii.gz")[1] == "named T1wGd by its BIDS suffix '_T1w' and 'ce-gd'"
    assert guess_modality("x-t1c.nii.gz")[1] == "named T1wGd by its BraTS ending '-t1c'"
    assert guess_modality("study1_T1W.nii.gz")[1] == "named T1w by 'T1W'"
    assert guess_modality("T1_T2_ratio.nii.gz") == (None, "its name says T1w and T2w")


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("a.b.nii.gz", "a.b", ".nii.gz"),
        ("A.NII.GZ", "A", ".NII.GZ"),
        ("a.nii", "a", ".nii"),
        ("a.MGZ", "a", ".MGZ"),
        ("a.png", "a.png", ""),
        ("folder", "folder", ""),
    ],
)
def test_endings(name: str, stem: str, suffix: str) -> None:
    assert stem_of(Path(name)) == stem
    assert suffix_of(Path(name)) == suffix
