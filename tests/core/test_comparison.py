"""Two numberings brought together: what is scored, what is left out, and what is refused."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.comparison import NOTES
from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import comparable, evaluate
from napari_medzoo.label_tables import LABEL_TABLES, convert
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.space import Grid


def line(values, table) -> Segmentation:
    """Labels along one axis, voxels of 1 mL."""
    data = np.asarray(values, dtype=np.uint16).reshape(-1, 1, 1)
    table = LABEL_TABLES[table] if isinstance(table, str) else table
    return Segmentation(data, Grid(data.shape, np.diag([10.0, 10, 10, 1])), table)


def compared(prediction, reference):
    ours, theirs = comparable(prediction, reference)
    assert ours.table == theirs.table
    return ours.data.ravel().tolist(), theirs.data.ravel().tolist(), ours.table, " ".join(ours.provenance[NOTES])


def test_the_same_numbering_stays_as_it_is():
    ours, theirs, table, notes = compared(line([0, 1, 2, 3], "tissue"), line([1, 1, 2, 0], "tissue"))
    assert (ours, theirs) == ([0, 1, 2, 3], [1, 1, 2, 0])
    assert table.indices == (0, 1, 2, 3)
    assert notes == ""


def test_structures_are_scored_against_tissue_by_converting_them():
    ours, theirs, _, notes = compared(line([3, 2, 24, 4, 0], "aseg"), line([2, 3, 1, 1, 2], "tissue"))
    assert ours == [2, 3, 1, 1, 0]
    assert theirs == [2, 3, 1, 1, 2]
    assert "'aseg' labels were converted to 'tissue'" in notes


def test_freesurfers_aseg_cannot_judge_csf():
    """One voxel of 24 beside a hundred of cortex is FreeSurfer's form; the CSF around the brain is background there."""
    prediction = line([1] * 50 + [2] * 100 + [1, 3], "tissue")
    reference = line([0] * 50 + [3] * 100 + [24, 2], "aseg")
    ours, _, table, notes = compared(prediction, reference)
    assert table.indices == (0, 2, 3)
    assert ours[:50] == [0] * 50
    assert "CSF is not scored: the reference does not label the CSF around the brain" in notes


def test_an_aseg_with_all_the_csf_can_judge_it():
    _, _, table, notes = compared(line([1] * 50 + [2] * 100, "tissue"), line([24] * 50 + [3] * 100, "aseg"))
    assert table.indices == (0, 1, 2, 3)
    assert "not scored" not in notes


def test_a_model_without_csf_around_the_brain_is_not_scored_on_it():
    few = LABEL_TABLES["aseg"].subset([2, 3, 4, 41, 42, 43])
    _, _, table, notes = compared(line([4, 3, 2], few), line([1, 2, 3], "tissue"))
    assert table.indices == (0, 2, 3)
    assert "CSF is not scored: the prediction does not label" in notes


def test_a_model_that_can_say_csf_but_did_not_is_scored_on_it():
    _, _, table, _ = compared(line([4, 3, 0], "aseg"), line([1, 2, 1], "tissue"))
    assert 1 in table


def test_freesurfers_csf_is_not_compared_within_aseg_either():
    prediction, reference = line([24] * 50 + [3] * 100, "aseg"), line([0] * 49 + [24] + [3] * 100, "aseg")
    _, _, table, notes = compared(prediction, reference)
    assert 24 not in table
    assert "not scored" in notes


def test_muse_meets_tissue_through_aseg():
    ours, theirs, table, _ = compared(line([2, 3, 0], "tissue"), line([101, 82, 1], "muse"))
    assert (ours, theirs) == ([2, 3, 0], [2, 3, 0])
    assert table.indices == (0, 2, 3)


def test_muse_is_compared_with_structures_as_aseg_and_its_csf_is_background():
    few = LABEL_TABLES["aseg"].subset([2, 3, 17, 24])
    ours, theirs, table, notes = compared(line([3, 17, 24, 3], few), line([101, 48, 1, 1], "muse"))
    assert (ours, theirs) == ([3, 17, 0, 3], [3, 17, 0, 0])
    assert 24 not in table
    assert "does not have them: CSF" in notes


def test_what_tissue_has_no_word_for_is_left_out_on_both_sides():
    """Cerebellum and brain stem of MRBrainS18 hold both tissues: nobody is scored there."""
    ours, theirs, _, notes = compared(line([2, 3, 2, 3], "tissue"), line([1, 3, 7, 8], "mrbrains"))
    assert ours == [2, 3, 0, 0]
    assert theirs == [2, 3, 0, 0]
    assert "cerebellum, brain stem of the reference" in notes
    assert "2.0 mL were left out" in notes
    ours, theirs, _, notes = compared(line([1, 3, 7, 8], "mrbrains"), line([2, 3, 2, 3], "tissue"))
    assert theirs == [2, 3, 0, 0]
    assert "of the prediction" in notes


def test_labels_of_the_reference_that_a_model_lacks_are_left_out():
    few = LABEL_TABLES["aseg"].subset([2, 3])
    ours, theirs, table, notes = compared(line([3, 2, 2, 3], few), line([3, 2, 17, 3], "aseg"))
    assert (ours, theirs) == ([3, 2, 0, 3], [3, 2, 0, 3])
    assert table.indices == (0, 2, 3)
    assert "Left-Hippocampus" in notes


def test_optional_labels_count_only_where_they_are_used():
    """FreeSurfer splits off the corpus callosum, others call it white matter: nobody is punished for either."""
    whole, split = line([2, 2, 2, 3], "aseg"), line([2, 251, 252, 3], "aseg")
    for prediction, reference in ((whole, split), (split, whole)):
        report = evaluate(*comparable(prediction, reference))
        scores = {score.index: score.dice for score in report.labels if score.present}
        assert scores == {2: 1.0, 3: 1.0}
    both = {score.index for score in evaluate(*comparable(split, split)).labels if score.present}
    assert both == {2, 3, 251, 252}


def test_a_label_the_reference_never_has_counts_as_background():
    only = LABEL_TABLES["tissue"].subset([2, 3])
    ours, theirs, _, notes = compared(line([1, 2, 3], "tissue"), line([2, 2, 3], only))
    assert ours == [0, 2, 3]  # calling grey matter CSF stays a miss
    assert theirs == [2, 2, 3]
    assert "does not have them: CSF" in notes


def test_cortical_parcels_and_brats_2023_are_folded():
    ours, theirs, _, _ = compared(line([3, 42], "aseg"), line([1022, 2030], "aseg"))
    assert ours == theirs == [3, 42]
    ours, theirs, _, _ = compared(line([4, 2], "brats"), line([3, 2], "brats"))
    assert ours == theirs == [4, 2]


def test_the_notes_reach_the_report():
    report = evaluate(*comparable(line([3, 2], "aseg"), line([2, 3], "tissue")))
    assert report.mean.dice == 1
    assert any("converted" in note for note in report.notes)
    assert any("converted" in line for line in report.to_table().splitlines())


def test_own_tables_are_compared_by_name():
    first = LabelTable("a", (Label(1, "Lesion", (9, 0, 0)), Label(2, "scar", (9, 9, 0))))
    second = LabelTable("b", (Label(1, "lesion", (0, 0, 9)),))
    ours, theirs, table, _ = compared(line([1, 2], first), line([1, 1], second))
    assert (ours, theirs) == ([1, 0], [1, 1])
    assert table.indices == (0, 1)
    other = LabelTable("c", (Label(1, "vessel", (0, 0, 9)),))
    with pytest.raises(MedzooError, match="No rule is declared that compares labels of 'a' with labels of 'c'"):
        comparable(line([1], first), line([1], other))


def test_no_rule_no_comparison():
    with pytest.raises(MedzooError, match="choose the numbering each was written in"):
        comparable(line([1], "brats"), line([1], "tissue"))
    with pytest.raises(MedzooError, match=r"The reference's labels contain values .* 99"):
        comparable(line([1], "tissue"), line([99], "tissue"))


def test_flipped_and_permuted_axes_are_brought_together(awkward_grids):
    rng = np.random.default_rng(0)
    for grid in awkward_grids.values():
        reference = Segmentation(rng.integers(0, 4, grid.shape).astype(np.uint8), grid, LABEL_TABLES["tissue"])
        for codes in ("LIA", "SPR", "RAS"):
            data = nib.orientations.apply_orientation(reference.data, grid.orientation_to(codes))
            turned = replace(reference, data=data, grid=grid.reoriented(codes))
            ours, theirs = comparable(turned, reference)
            np.testing.assert_array_equal(ours.data, theirs.data)


def test_other_grids_are_refused():
    reference = line([1, 2], "tissue")
    prediction = replace(reference, grid=Grid((2, 1, 1), np.diag([9.0, 10, 10, 1])))
    with pytest.raises(MedzooError, match="lie on different grids"):
        comparable(prediction, reference)


def test_a_real_parcellation_against_its_own_conversions(data_dir):
    image = nib.load(data_dir / "structures" / "ixi012" / "dlmuse.nii.gz")
    data = np.asarray(image.dataobj)
    muse = Segmentation(data, Grid(data.shape, image.affine), LABEL_TABLES["muse"])
    for scheme, fewest in (("aseg", 30), ("tissue", 2), ("mrbrains", 6)):
        report = evaluate(*comparable(convert(muse, scheme), muse))
        present = [score for score in report.labels if score.present]
        assert len(present) >= fewest
        assert all(score.dice == 1 for score in present)
