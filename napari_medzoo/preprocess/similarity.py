"""How much two scans of different contrast tell about each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mutual_information(first: NDArray[Any], second: NDArray[Any], bins: int = 32) -> float:
    """Normalised mutual information of paired intensities, 1 (independent) to 2 (Studholme 1999).

    Parameters
    ----------
    first, second : numpy.ndarray
        The same number of values; each is cut at its 0.5 and 99.5 percentiles, so that a few bright voxels do not use
        up the histogram.
    bins : int
        Of each side of the joint histogram.
    """
    joint = np.bincount(_binned(first, bins) * bins + _binned(second, bins), minlength=bins * bins).reshape(bins, bins)
    share = joint / joint.sum()
    together = _entropy(share)
    return (_entropy(share.sum(axis=0)) + _entropy(share.sum(axis=1))) / together if together > 0 else 1.0


def _binned(values: NDArray[Any], bins: int) -> NDArray[np.int64]:
    low, high = np.percentile(values, (0.5, 99.5))
    scaled = (np.ravel(values).astype(np.float64) - low) / (high - low if high > low else 1.0)
    return np.clip(scaled * bins, 0, bins - 1).astype(np.int64)


def _entropy(shares: NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())
