from __future__ import annotations

import numpy as np
import torch
from napari_medzoo_training.distances import border_weights, signed_distances
from numpy.typing import NDArray
from scipy import ndimage


def _border_by_definition(labels: NDArray[np.int64], peak: float, sigma: float, spacing: tuple[float, ...]) -> NDArray:
    """Eq. 2 with a distance transform of the whole array per object."""
    distances = []
    for value in set(np.unique(labels)) - {0, 255}:
        parts, count = ndimage.label(labels == value, structure=np.ones((3,) * labels.ndim))
        distances += [ndimage.distance_transform_edt(parts != part, sampling=spacing) for part in range(1, count + 1)]
    nearest, second = np.sort(distances, axis=0)[:2]
    return peak * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))


def test_border_map_is_the_papers() -> None:
    """Four objects in three dimensions: two touch, two share a class; anisotropic voxels; one ignored voxel."""
    labels = np.zeros((24, 20, 16), dtype=np.int64)
    labels[2:5, 3:8, 4:9] = 1
    labels[5:7, 3:8, 4:9] = 2
    labels[12:15, 10:14, 6:9] = 1
    labels[20:22, 1:3, 12:15] = 3
    labels[0, 0, 0] = 255
    ours = border_weights(torch.from_numpy(labels)[None], 10.0, 1.5, (1.0, 0.8, 2.0))[0]
    theirs = _border_by_definition(labels, 10.0, 1.5, (1.0, 0.8, 2.0))
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4)
    assert ours.max() > 5


def test_border_map_in_two_dimensions_counts_diagonal_neighbours_as_one_object() -> None:
    labels = torch.tensor([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]])
    assert not border_weights(labels, 10.0, 5.0).any()


def test_signed_distances_have_their_zero_between_the_voxels() -> None:
    labels = torch.tensor([[0, 0, 2, 2, 2, 0], [255, 3, 3, 3, 0, 0]])
    distances, present = signed_distances(labels, 5, (2.0,))
    assert present.tolist() == [False, False, True, True, False]
    assert distances.shape == (2, 5, 6)
    assert distances[0, 2].tolist() == [3, 1, -1, -3, -1, 1]
    assert distances[1, 3].tolist() == [0, -5, -3, -1, 1, 3]
    assert not distances[:, [0, 1, 4]].any() and not distances[0, 3].any()


def test_signed_distances_in_three_dimensions_respect_the_spacing() -> None:
    labels = torch.zeros(1, 9, 9, 9, dtype=torch.int64)
    labels[0, 4, 4, 4] = 1
    distances, _ = signed_distances(labels, 2, (1.0, 2.0, 3.0))
    assert distances[0, 1, 4, 4, 4] == -0.5
    assert distances[0, 1, 4, 6, 4] == 3.5
    assert distances[0, 1, 7, 6, 4] == 4.5  # 3-4-5


def test_a_class_that_fills_the_patch_has_no_surface() -> None:
    distances, present = signed_distances(torch.ones(1, 4, 4, dtype=torch.int64), 2)
    assert not present.any() and not distances.any()
