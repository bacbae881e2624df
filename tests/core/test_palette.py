"""Colours for everybody: what touches differs, however one sees."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medzoo.io import read_segmentation
from napari_medzoo.palette import OKABE_ITO, differences, least_difference, safe_colors, touching


def test_red_and_green_of_one_lightness_are_alike_for_a_deuteranope():
    assert differences([(200, 80, 40)], [(120, 120, 30)])[0, 0] < 15
    assert differences([(0, 114, 178)], [(230, 159, 0)])[0, 0] > 60
    np.testing.assert_allclose(differences([(10, 20, 30), (5, 5, 5)], [(10, 20, 30)])[0], 0, atol=1e-9)
    # ΔE from black to white is 100 by definition of L*.
    np.testing.assert_allclose(differences([(0, 0, 0)], [(255, 255, 255)]), 100, atol=0.1)


def test_classes_touch_by_faces_and_the_background_is_nobody():
    data = np.zeros((6, 6, 6), dtype=np.int32)
    data[1, 1, 1], data[2, 1, 1], data[2, 2, 1], data[3, 3, 2], data[5, 5, 5] = 1000, 2, 17, 5, 9
    assert touching(data) == {(2, 1000), (2, 17)}


def test_few_classes_take_okabes_and_itos_colours():
    assert safe_colors([5, 2], []) == {2: OKABE_ITO[0], 5: OKABE_ITO[1]}


def test_neighbours_among_many_differ():
    side = 12  # 144 classes on a torus, each with four neighbours
    pairs = set()
    for i in range(side):
        for j in range(side):
            here, right, below = i * side + j, i * side + (j + 1) % side, (i + 1) % side * side + j
            pairs |= {(min(here + 1, other + 1), max(here + 1, other + 1)) for other in (right, below)}
    colors = safe_colors(range(1, side * side + 1), pairs)
    assert least_difference(colors, pairs) >= 25


@pytest.mark.parametrize("file", ["structures/fsaverage/aseg.mgz", "structures/ixi012/dlmuse.nii.gz"])
def test_real_brains_are_told_apart(data_dir, file):
    labels = read_segmentation(data_dir / file)
    pairs = touching(labels.data)
    found = {index for pair in pairs for index in pair}
    assert len(found) > 40
    assert least_difference(safe_colors(found, pairs), pairs) >= 25
