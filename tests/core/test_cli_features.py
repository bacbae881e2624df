"""``medzoo features``: volumes and their table, all or nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from napari_medzoo.cli.app import app
from tests.core.tiny_model import make_card


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    affine = np.array([[0, 0, 2.0, -20], [-1.5, 0, 0, 30], [0, 1.0, 0, -10], [0, 0, 0, 1]])
    data = np.random.default_rng(0).uniform(0, 900, (18, 20, 16)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "sub-01_T1w.nii.gz")
    return tmp_path / "sub-01_T1w.nii.gz"


@pytest.fixture
def card(tmp_path: Path) -> str:
    (tmp_path / "models").mkdir()
    make_card(tmp_path / "models")
    return str(tmp_path / "models" / "tiny.yaml")


def medzoo(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["features", *map(str, arguments)])


def test_volumes_on_the_scans_grid_and_a_table(scan: Path, card: str, tmp_path: Path) -> None:
    output = tmp_path / "seen"
    call = (scan, "--model", card, "--layer", "stem", "--layer", "decoders.0", "--count", 2, "--output", output)
    result = medzoo(*call)
    assert result.exit_code == 0, result.output
    with (output / "features.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == ["stem", "stem", "decoders.0", "decoders.0"]
    assert sorted(path.name for path in output.iterdir()) == sorted(["features.csv", *(row["file"] for row in rows)])
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        assert float(one["largest"]) >= float(other["largest"])
    for row in rows:
        image = nib.load(output / row["file"])
        np.testing.assert_allclose(image.affine, nib.load(scan).affine, atol=1e-5)
        assert image.shape == (18, 20, 16)
        assert np.abs(image.get_fdata()).max() > 0
    again = medzoo(*call)
    assert again.exit_code == 1
    assert "--overwrite" in again.output
    assert medzoo(*call, "--overwrite").exit_code == 0


def test_layers_are_listed(card: str) -> None:
    result = medzoo("--model", card, "--layers")
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["stem", "4", "2", "×", "2", "×", "2", "yes"] in lines
    assert "head" in [line[0] for line in lines]


def test_mistakes_leave_nothing(scan: Path, card: str, tmp_path: Path) -> None:
    result = medzoo(scan, "--model", card, "--layer", "nose", "--output", tmp_path / "seen")
    assert result.exit_code == 1
    assert "no layer 'nose'" in result.output
    assert not (tmp_path / "seen").exists()
    assert medzoo(scan, "--model", card).exit_code == 2
