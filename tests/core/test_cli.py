"""The command line end to end on a small scan with a tiny model whose labels a test can work out by itself."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_medzoo.cards import load_card, sha256
from napari_medzoo.cli import app
from napari_medzoo.inference import predict
from napari_medzoo.io import load_study, read_segmentation
from napari_medzoo.progress import run
from tests.core.tiny_model import Nearest, make_card

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 0.1, 1.9, -20], [0, 1.9, -0.1, 5], [0, 0, 0, 1]])
"""Flipped, permuted and slightly oblique, 2 × 1.9 × 1.9 mm."""


@pytest.fixture(autouse=True)
def models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with the model ``tiny``."""
    folder = tmp_path_factory.mktemp("models")
    monkeypatch.setattr("napari_medzoo.inference.network.ARCHITECTURES", {"nearest": Nearest})
    make_card(folder, "nearest", network=Nearest(1, 5))
    monkeypatch.setenv("MEDZOO_MODELS", str(folder))
    return folder


def head(contrast: int = 1) -> np.ndarray:
    """A noisy ball of three shells in air, ``(18, 22, 16) int16``."""
    rng = np.random.default_rng(contrast)
    x, y, z = np.indices((18, 22, 16))
    radius = np.sqrt(((x - 9) / 8) ** 2 + ((y - 11) / 10) ** 2 + ((z - 8) / 7) ** 2)
    shells = np.select([radius < 0.4, radius < 0.7, radius < 1], [900, 600, 300], 0)
    return (shells + rng.normal(0, 15, shells.shape) * (shells > 0)).round().astype(np.int16)


def save(path: Path, data: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(head() if data is None else data, AFFINE), path)
    return path


def medzoo(*arguments: object, code: int = 0):
    """Run ``medzoo`` and check its exit code; gives what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def segment(*arguments: object, code: int = 0):
    return medzoo("segment", *arguments, "--model", "tiny", "--backend", "torch", "--threads", 1, code=code)


def test_segment_writes_labels_names_volumes_and_provenance(tmp_path: Path, models: Path) -> None:
    scan, output = save(tmp_path / "T1.nii.gz"), tmp_path / "new" / "labels.nii.gz"
    segment(scan, "--output", output)
    names = {"labels.nii.gz", "labels.tsv", "labels_volumes.csv", "labels_provenance.json"}
    assert {path.name for path in output.parent.iterdir()} == names

    image = nib.load(output)
    labels = np.asarray(image.dataobj)
    data = head() - head().min()
    expected = np.array([0, 2, 3, 41, 42])[np.rint(4 * data / data.max()).astype(int)]
    assert np.mean(labels == expected) > 0.99
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)

    with (output.parent / "labels_volumes.csv").open() as file:
        volumes = {int(row["index"]): float(row["volume_ml"]) for row in csv.DictReader(file)}
    assert set(volumes) == {2, 3, 41, 42}
    voxel_ml = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    for index, volume in volumes.items():
        assert volume == pytest.approx(np.count_nonzero(labels == index) * voxel_ml, abs=1e-3)

    provenance = json.loads((output.parent / "labels_provenance.json").read_text())
    assert provenance["model"]["sha256"] == sha256(models / "tiny.safetensors")
    assert provenance["plan"]["backend"] == "torch"
    assert provenance["inputs"][0]["sha256"] == sha256(scan)
    assert "not for diagnosis" in provenance["notice"]
    # Whoever opens the labels sees their names.
    assert read_segmentation(output).table.by_name("Left-Cerebral-Cortex").index == 3


def test_segment_gives_pythons_array(tmp_path: Path) -> None:
    scan = save(tmp_path / "T1.nii.gz")
    segment(scan, "--output", tmp_path / "labels.mgz")
    recorded = json.loads((tmp_path / "labels_provenance.json").read_text())["plan"]
    from napari_medzoo.inference import Plan

    segmentation = run(predict(load_study(scan), load_card("tiny"), plan=Plan.model_validate(recorded)))
    np.testing.assert_array_equal(read_segmentation(tmp_path / "labels.mgz").data, segmentation.data)


def test_a_report_on_request(tmp_path: Path) -> None:
    segment(save(tmp_path / "T1.nii.gz"), "--output", tmp_path / "labels.nii.gz", "--report")
    page = (tmp_path / "labels_report.html").read_text(encoding="utf-8")
    assert "not for diagnosis" in page
    assert "Left-Cerebral-Cortex" in page or "Cerebral-Cortex" in page


@pytest.mark.parametrize("existing", ["labels.nii.gz", "labels.tsv", "labels_volumes.csv", "labels_provenance.json"])
def test_existing_output_is_refused_before_any_work(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("mine")
    # The scan is not even there: had the work begun, the sentence would be another.
    result = segment(tmp_path / "T1.nii.gz", "--output", tmp_path / "labels.nii.gz", code=1)
    assert f"{existing} exists already; add --overwrite" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"


def test_overwrite_replaces(tmp_path: Path) -> None:
    scan, output = save(tmp_path / "T1.nii.gz"), tmp_path / "labels.nii.gz"
    output.write_text("old")
    segment(scan, "--output", output, "--overwrite")
    assert nib.load(output).shape == head().shape


def test_a_one_input_model_takes_the_t1w_of_several_and_says_so(tmp_path: Path) -> None:
    save(tmp_path / "a_FLAIR.nii.gz", head(2)[::-1])
    save(tmp_path / "a_T1w.nii.gz")
    result = segment(
        tmp_path / "a_FLAIR.nii.gz", tmp_path / "a_T1w.nii.gz", "--output", tmp_path / "out" / "labels.nii.gz"
    )
    assert "given the T1w and not FLAIR" in result.stderr
    segment(tmp_path / "a_T1w.nii.gz", "--output", tmp_path / "out" / "alone.nii.gz")
    both, alone = (read_segmentation(tmp_path / "out" / f"{name}.nii.gz").data for name in ("labels", "alone"))
    np.testing.assert_array_equal(both, alone)


def test_an_unguessable_name_and_said_modalities_are_accepted(tmp_path: Path) -> None:
    scan = save(tmp_path / "mystery.nii")
    segment(scan, "--output", tmp_path / "a.nii.gz")
    segment("--flair", scan, "--output", tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(
        read_segmentation(tmp_path / "a.nii.gz").data, read_segmentation(tmp_path / "b.nii.gz").data
    )


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--output", "x.nii.gz"], 2, "name at least one scan"),
        (["T1.nii.gz", "--output", "x.nii.gz", "--device", "tpu"], 2, "'tpu'"),
        (["T1.nii.gz", "--output", "x.nii.gz", "--grid", "ct"], 2, "'ct' is no modality; choose one of: t1w"),
        (["T1.nii.gz", "--output", "x.png"], 1, "x.png: cannot be written, its ending is not one of .nii.gz"),
        (["nowhere.nii.gz", "--output", "x.nii.gz"], 1, "nowhere.nii.gz: there is no such file"),
        (["T1.nii.gz", "--output", "x.nii.gz", "--grid", "flair"], 1, "has T1w, not FLAIR"),
        (["T1.nii.gz", "--output", "x.nii.gz", "--model", "tinny"], 1, "no model 'tinny'. Choose one of: tiny"),
        (["T1.nii.gz", "--output", "x.nii.gz", "--backend", "abacus"], 1, "abacus"),
        (["broken_T1.nii.gz", "--output", "x.nii.gz"], 1, "broken_T1.nii.gz: the gzip compression is damaged"),
        (["cases.csv", "--output", "x.nii.gz"], 1, "--output must be a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "T1.nii.gz")
    (tmp_path / "broken_T1.nii.gz").write_bytes(gzip.compress(b"\1" * 5000)[:-9])
    (tmp_path / "cases.csv").write_text("t1w\nT1.nii.gz\n")
    before = sorted(tmp_path.iterdir())
    model = [] if "--model" in arguments else ["--model", "tiny"]
    result = medzoo("segment", *arguments, *model, code=code)
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_failing_case_does_not_stop_the_others(tmp_path: Path) -> None:
    save(tmp_path / "in" / "anna_T1.nii.gz")
    (tmp_path / "in" / "berta_T1.nii.gz").write_bytes(b"not a scan")
    save(tmp_path / "in" / "clara_T1.nii.gz", head(3))
    result = segment(tmp_path / "in", "--output", tmp_path / "out", code=1)
    assert "2 of 3 cases done, 1 failed." in result.stdout
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("berta"))
    assert "failed" in line
    assert "berta_T1.nii.gz" in line
    labels = {path.name for path in (tmp_path / "out").glob("*.nii.gz")}
    assert labels == {"anna_dseg.nii.gz", "clara_dseg.nii.gz"}
    # Once more: what is done is left alone, so that a stopped night can go on.
    again = segment(tmp_path / "in", "--output", tmp_path / "out", code=1)
    assert again.stdout.count("exists already") == 2


def test_a_table_of_cases(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz")
    save(tmp_path / "b.nii.gz", head(2))
    (tmp_path / "cases.csv").write_text("case,t1w,flair,output\nanna,a.nii.gz,,anna.mgz\nberta,,b.nii.gz,\n")
    result = segment(tmp_path / "cases.csv", "--output", tmp_path / "out")
    assert "2 of 2 cases done, 0 failed." in result.stdout
    assert read_segmentation(tmp_path / "out" / "anna.mgz").data.any()
    assert read_segmentation(tmp_path / "out" / "berta_dseg.nii.gz").data.any()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_cancelling_leaves_nothing(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    make_card(folder)  # a real architecture: the other one exists in this process only
    save(tmp_path / "T1.nii.gz", np.kron(head(), np.ones((4, 4, 4), dtype=head().dtype)))  # not done before the signal
    command = [sys.executable, "-u", "-m", "napari_medzoo", "segment", tmp_path / "T1.nii.gz"]
    command += ["--model", folder / "tiny.yaml", "--output", tmp_path / "out" / "labels.nii.gz"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, encoding="utf-8")
    assert process.stderr is not None
    for line in process.stderr:
        if line.endswith("...\n"):  # the first stage has begun
            break
    process.send_signal(sent)
    rest = process.stderr.read()
    assert process.wait(60) == code
    assert "Traceback" not in rest
    assert not list(tmp_path.rglob("*labels*"))


def test_evaluate_prints_and_writes_the_scores(tmp_path: Path) -> None:
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[2:8, 2:8, 2:5], reference[2:8, 2:8, 5:8] = 2, 3
    prediction = np.where(reference == 2, 3, np.where(reference == 3, 2, 0)).astype(np.uint8)
    prediction[2:8, 2:8, 2:5][:, :, 1:] = 2
    a, b = save(tmp_path / "a.nii.gz", prediction), save(tmp_path / "b.nii.gz", reference)
    files = ["--json", tmp_path / "new" / "scores.json", "--csv", tmp_path / "scores.csv"]
    result = medzoo("evaluate", a, b, "--labels", "tissue", *files)
    scores = json.loads((tmp_path / "new" / "scores.json").read_text())
    by_name = {row["name"]: row for row in scores["labels"]}
    # GM: 2 of 3 layers found, the 3 layers of WM taken for GM too → 2·72 / (108 + 180).
    assert by_name["GM"]["dice"] == pytest.approx(144 / 288)
    assert by_name["WM"]["dice"] == 0
    assert by_name["CSF"]["dice"] is None
    assert scores["mean"]["dice"] == pytest.approx(0.25)
    keys = {"index", "name", "dice", "hd95_mm", "assd_mm", "nsd", "volume_ml", "reference_volume_ml"}
    assert keys <= by_name["GM"].keys()
    assert "GM" in result.stdout
    assert (tmp_path / "scores.csv").read_text().splitlines()[0].startswith("index,name,dice")


def test_evaluate_brings_two_numberings_together(tmp_path: Path) -> None:
    reference = np.zeros((8, 8, 8), np.uint8)
    reference[1:7, 1:7, 1:4], reference[1:7, 1:7, 4:7] = 2, 3
    prediction = np.select([reference == 2, reference == 3], [42, 41], 0).astype(np.uint8)
    a, b = save(tmp_path / "a.nii.gz", prediction), save(tmp_path / "b.nii.gz", reference)
    medzoo("evaluate", a, b, "--labels", "aseg", "--reference-labels", "tissue", "--json", tmp_path / "s.json")
    scores = json.loads((tmp_path / "s.json").read_text())
    assert {row["name"]: row["dice"] for row in scores["labels"] if row["dice"] is not None} == {"GM": 1, "WM": 1}


def test_evaluate_refuses_other_grids_and_unknown_schemes(tmp_path: Path) -> None:
    a = save(tmp_path / "a.nii.gz", np.ones((8, 8, 8), np.uint8))
    b = save(tmp_path / "b.nii.gz", np.ones((8, 8, 9), np.uint8))
    result = medzoo("evaluate", a, b, "--labels", "tissue", "--json", tmp_path / "s.json", code=1)
    assert "different grids" in result.stderr
    assert not (tmp_path / "s.json").exists()
    assert "aseg, mrbrains, tissue" in medzoo("evaluate", a, a, "--labels", "asek", code=1).stderr


def test_prepare_writes_volumes_and_transforms(tmp_path: Path) -> None:
    save(tmp_path / "T1.nii.gz")
    save(tmp_path / "FLAIR.nii.gz", head(2))
    (tmp_path / "recipe.yaml").write_text("spacing: [2, 2, 2]\nalign: null\nhead_crop: null\nbias_correction: null\n")
    scans = [tmp_path / "T1.nii.gz", tmp_path / "FLAIR.nii.gz"]
    options = ["--recipe", tmp_path / "recipe.yaml", "--output", tmp_path / "ready"]
    medzoo("prepare", *scans, *options, "--reference", "FLAIR")
    assert {path.name for path in (tmp_path / "ready").iterdir()} == {"t1w.nii.gz", "flair.nii.gz", "transforms.json"}
    t1w, flair = (nib.load(tmp_path / "ready" / f"{name}.nii.gz") for name in ("t1w", "flair"))
    np.testing.assert_array_equal(t1w.affine, flair.affine)
    assert nib.aff2axcodes(t1w.affine) == ("R", "A", "S")
    np.testing.assert_allclose(t1w.header.get_zooms(), 2, atol=1e-5)
    transforms = json.loads((tmp_path / "ready" / "transforms.json").read_text())
    np.testing.assert_allclose(transforms["flair"], np.eye(4), atol=1e-9)
    assert np.shape(transforms["t1w"]) == (4, 4)
    assert "exists already" in medzoo("prepare", *scans, *options, code=1).stderr
    medzoo("prepare", *reversed(scans), *options, "--overwrite")
    again = json.loads((tmp_path / "ready" / "transforms.json").read_text())
    np.testing.assert_allclose(again["t1w"], np.eye(4), atol=1e-9)  # the T1w is the reference unless said otherwise


def test_a_wrong_recipe_is_named(tmp_path: Path) -> None:
    scan = save(tmp_path / "T1.nii.gz")
    (tmp_path / "recipe.yaml").write_text("spacing: [2, 2]\n")
    result = medzoo("prepare", scan, "--recipe", tmp_path / "recipe.yaml", "--output", tmp_path / "ready", code=1)
    assert "recipe.yaml: not a preparation recipe (spacing" in result.stderr
    assert not (tmp_path / "ready").exists()


def test_models_as_json_and_as_a_table(models: Path) -> None:
    listed = {model["name"]: model for model in json.loads(medzoo("models", "--json").stdout)}
    assert listed["tiny"]["modalities"] == ["any"]
    assert [label["index"] for label in listed["tiny"]["labels"]] == [2, 3, 41, 42]
    table = medzoo("models").stdout
    assert "A tiny model" in table
    assert str(models) in table


def test_no_arguments_teach(tmp_path: Path) -> None:
    text = medzoo("--help").stdout
    for command in ("segment", "evaluate", "prepare", "models", "demo"):
        assert command in text
        page = medzoo(command, "--help").stdout
        assert f"medzoo {command}" in page, "an example"
    assert "not for diagnosis" in text
