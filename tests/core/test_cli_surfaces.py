"""``medzoo surfaces``: files and the table of volumes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from napari_medzoo.cli.app import app


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    data = np.zeros((16, 18, 14), dtype=np.uint8)
    data[2:7, 4:12, 3:9] = 17
    data[10:14, 4:12, 3:9] = 53
    affine = np.array([[0, 0, 2.0, -20], [-1.5, 0, 0, 30], [0, 1.0, 0, -10], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "aseg.nii.gz")
    return tmp_path / "aseg.nii.gz"


def medzoo(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["surfaces", *map(str, arguments)])


def test_a_folder_with_a_file_for_each_class_and_a_table(labels: Path, tmp_path: Path) -> None:
    result = medzoo(labels, "--labels", "aseg", "--output", tmp_path / "meshes", "--format", "ply")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "meshes").iterdir())
    assert names == ["017_Left-Hippocampus.ply", "053_Right-Hippocampus.ply"]
    rows = [line.split() for line in result.output.splitlines() if "Hippocampus" in line and "..." not in line]
    for row, voxels in zip(rows, (5 * 8 * 6, 4 * 8 * 6), strict=True):
        assert float(row[2]) == pytest.approx(voxels * 3 / 1000, abs=5e-4)
        assert float(row[3]) == pytest.approx(float(row[2]), rel=0.01)
    again = medzoo(labels, "--labels", "aseg", "--output", tmp_path / "meshes", "--format", "ply")
    assert again.exit_code == 1
    assert "--overwrite" in again.output


def test_one_file_of_chosen_classes(labels: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "left.obj"
    call = (labels, "--labels", "aseg", "--label", "left-hippocampus", "--space", "RAS", "-o", output)
    assert medzoo(*call).exit_code == 0
    text = output.read_text(encoding="ascii")
    assert "SPACE=RAS" in text
    assert "g 17_Left-Hippocampus" in text
    assert "53_" not in text
    before = output.stat().st_size
    assert medzoo(*call).exit_code == 1
    assert medzoo(*call, "--smooth", "0", "--label", "53", "--overwrite").exit_code == 0
    assert output.stat().st_size > before


def test_mistakes_are_one_sentence_and_leave_nothing(labels: Path, tmp_path: Path) -> None:
    for extra, said in (
        (("--label", "nose", "-o", tmp_path / "x.stl"), "no class 'nose'"),
        (("--label", "Left-Thalamus", "-o", tmp_path / "x.stl"), "no voxel of 'Left-Thalamus'"),
        (("-o", tmp_path / "x.vtk"), "end the file in one of .stl, .ply, .obj"),
    ):
        result = medzoo(labels, "--labels", "aseg", *extra)
        assert result.exit_code == 1
        assert said in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["aseg.nii.gz"]
