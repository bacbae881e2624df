"""``medzoo demo`` as a new user runs it, but with a tiny random model: only that everything is there is looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from napari_medzoo import screen
from napari_medzoo.samples import SAMPLES, load_sample
from tests.core.tiny_model import make_card

pytestmark = pytest.mark.skipif(
    bool(screen.missing_packages()), reason=f"system libraries are missing: {' '.join(screen.missing_packages())}"
)


@pytest.mark.slow
def test_the_demo_leaves_labels_tables_reports_and_pictures(tmp_path: Path) -> None:
    make_card(tmp_path)
    command = [sys.executable, "-m", "napari_medzoo", "demo", "--no-window"]
    command += ["--model", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "not for diagnosis" in done.stdout

    for key in SAMPLES:
        labels = nib.load(tmp_path / "demo" / f"{key}_dseg.nii.gz")
        grid = load_sample(key)["t1w"].grid
        assert labels.shape == grid.shape
        np.testing.assert_allclose(labels.affine, grid.affine, atol=1e-3)
        assert (tmp_path / "demo" / f"{key}_dseg_volumes.csv").is_file()
        assert "not for diagnosis" in (tmp_path / "demo" / f"{key}_dseg_report.html").read_text(encoding="utf-8")
        pictures = list((tmp_path / "demo" / f"{key}_screenshots").glob("*.png"))
        assert {"window.png", "axial.png", "coronal.png", "sagittal.png"} <= {path.name for path in pictures}
        for path in pictures:
            assert np.asarray(Image.open(path).convert("L")).std() > 5, f"{path.name} is blank"

    scores = json.loads((tmp_path / "demo" / "mni152_scores.json").read_text())
    assert [row["name"] for row in scores["labels"]] == ["GM", "WM"]
    assert not (tmp_path / "demo" / "myconnectome_scores.json").exists(), "it has no reference"
