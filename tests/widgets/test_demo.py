"""The finished result in a window, and its pictures."""

from __future__ import annotations

import imageio.v3 as imageio
import numpy as np

from napari_medzoo.io import load_study
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.widgets.demo import show


def test_pictures_show_the_labels_over_the_scan(t1w, tmp_path, qtbot):
    study = load_study([t1w])
    data = np.where(study["t1w"].data > 300, 2, 0).astype(np.uint8)
    labels = Segmentation(data, study["t1w"].grid, LABEL_TABLES["tissue"].subset([2]))
    half = data.copy()
    half[: half.shape[0] // 2] = 0
    reference = Segmentation(half, labels.grid, labels.table)
    paths = show(study, labels, reference, tmp_path / "pictures")
    names = ["window.png", "scores.png", "axial.png", "coronal.png", "sagittal.png", "3d.png"]
    assert [path.name for path in paths] == names
    hue = np.array(labels.table[2].color, float) - min(labels.table[2].color)
    for path in paths[2:]:
        picture = imageio.imread(path)[..., :3].astype(float)
        # Half transparent over grey: taking the smallest channel off leaves the label's hue.
        colour = picture - picture.min(axis=-1, keepdims=True)
        coloured = colour[colour.max(axis=-1) > 20]
        likeness = coloured @ hue / np.linalg.norm(coloured, axis=-1) / np.linalg.norm(hue)
        assert len(coloured) > 0.05 * picture[..., 0].size, path.name
        assert (likeness > 0.98).mean() > 0.9, path.name
