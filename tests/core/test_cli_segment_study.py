"""``medzoo segment`` on three scans on three grids: slots, the grid of the labels, N4, and where the time went."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_medzoo.cli import app
from napari_medzoo.inference.provenance import timing_summary
from napari_medzoo.io import read_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.preprocess.recipe import Align, Preprocessing
from tests.core.tiny_model import Nearest, make_card

AFFINES = {
    "T1W": np.array([[-2.0, 0, 0, 30], [0, 2.0, 0, -22], [0, 0, 2.5, -18], [0, 0, 0, 1]]),
    "T2W": np.array([[-1.9, 0, 0, 29], [0, 2.1, 0, -22], [0, 0, 2.5, -18], [0, 0, 0, 1]]),
    "FLAIR": np.array([[0, 0, 2.0, -16], [-2.0, 0, 0, 24], [0, -2.0, 0, 20], [0, 0, 0, 1]]),
}
"""Three grids of one head, the FLAIR's with its axes in another order."""

RECIPE = Preprocessing(spacing=(2.0, 2.0, 2.0), align=Align(levels_mm=(4.0,), samples=2000, iterations=10))


@pytest.fixture(autouse=True)
def model(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """``tiny`` as the model of lesions will be: T1w, T2w and FLAIR in, MRBrainS18's classes out; untrained."""
    folder = tmp_path_factory.mktemp("models")
    monkeypatch.setattr("napari_medzoo.inference.network.ARCHITECTURES", {"nearest": Nearest})
    channels = (0, 3, 4, 6)
    make_card(
        folder,
        "nearest",
        modalities=("t1w", "t2w", "flair"),
        channels=channels,
        network=Nearest(3, len(channels)),
        label_scheme="mrbrains",
        preprocessing=RECIPE,
    )
    monkeypatch.setenv("MEDZOO_MODELS", str(folder))


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """The head as a hospital's files, ``study1_T1W.nii.gz`` and so on, each with its own contrast."""
    paths = []
    for contrast, (name, affine) in enumerate(AFFINES.items(), start=1):
        shape = (30, 24, 22) if name != "FLAIR" else (26, 22, 30)
        points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
        radius = np.linalg.norm((points - (0, 2, 6)) / (20, 17, 16), axis=-1)
        shells = np.select([radius < 0.4, radius < 0.7, radius < 1], np.roll([900, 600, 300], contrast), 0)
        noise = np.random.default_rng(contrast).normal(0, 15, shape) * (shells > 0)
        paths.append(tmp_path / f"study1_{name}.nii.gz")
        nib.save(nib.Nifti1Image((shells + noise).round().astype(np.int16), affine), paths[-1])
    return paths


def segment(*arguments: object):
    call = ["segment", *map(str, arguments), "--model", "tiny", "--backend", "torch", "--threads", "1"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(("grid", "name"), [("T1w", "T1W"), ("FLAIR", "FLAIR")])
def test_the_slots_are_told_and_the_labels_lie_on_the_chosen_grid(scans, tmp_path, grid: str, name: str) -> None:
    output = tmp_path / "out" / "labels.nii.gz"
    said = segment(*scans, "--output", output, "--grid", grid).stderr
    for modality, scan in zip(("T1w", "T2w", "FLAIR"), scans, strict=True):
        assert any(line.startswith(f"{modality}: ") and scan.name in line for line in said.splitlines())
    labels = read_segmentation(output)
    np.testing.assert_allclose(labels.grid.affine, AFFINES[name], atol=1e-5)
    assert labels.table.name == "mrbrains" or set(labels.table.indices) <= set(LABEL_TABLES["mrbrains"].indices)
    assert labels.data.any()


def test_n4_is_an_option_that_is_recorded_and_timed(scans, tmp_path) -> None:
    plain = segment(*scans, "--output", tmp_path / "plain.nii.gz")
    corrected = segment(*scans, "--output", tmp_path / "n4.nii.gz", "--bias-field", "--report")
    records = {
        name: json.loads((tmp_path / f"{name}_provenance.json").read_text(encoding="utf-8")) for name in ("plain", "n4")
    }
    assert records["plain"]["recipe"]["bias_correction"] is None
    assert records["n4"]["recipe"]["bias_correction"]["shrink_factor"] == 4
    assert "trained without N4" in corrected.stderr and "N4" not in plain.stderr
    assert set(records["n4"]["timings_s"]) - set(records["plain"]["timings_s"]) == {"bias_correction"}
    assert {"Reading", "align", "resample", "normalise", "Segmenting", "Restoring"} <= set(records["n4"]["timings_s"])
    for result, record in ((plain, records["plain"]), (corrected, records["n4"])):
        assert record["times"] == timing_summary(record["timings_s"])
        assert record["times"] in result.stderr.splitlines()
    assert records["n4"]["times"] in (tmp_path / "n4_report.html").read_text(encoding="utf-8")


def test_the_summary_of_times_begins_with_the_longest() -> None:
    text = timing_summary(
        {"Reading": 0.3, "align": 42.26, "bias_correction": 12.0, "resample": 0.01, "Segmenting": 6.4}
    )
    assert text == "Took 61.0 s: aligning 42.3 s, correcting bias (N4) 12.0 s, segmenting 6.4 s, reading 0.3 s."
    assert timing_summary({"resample": 0.01}) == "Took 0.0 s."
    assert timing_summary({}) == ""
