"""`Watch`: looks at a layer while the network computes it, and keeps only the channels that answer most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.inference.places import Layer
from napari_medzoo.models.geometry import Size

if TYPE_CHECKING:
    from torch import Tensor

MEASURES = {
    "largest": "largest absolute activation anywhere in the study",
    "spread": "standard deviation of the activations over the study",
}
"""What channels can be ranked by, and what that is."""


class Watch:
    """A forward hook: measures the channels of a layer tile by tile, then keeps the chosen ones.

    Attributes
    ----------
    layer : Layer
    inner : sequence of slice
        Where the study lies in its padding.
    start : tuple of int
        First voxel of the present tile in the padded study; set before each pass.
    own : sequence of slice
        Voxels of the padded study that are measured in the present tile and in no other.
    peak, spread : numpy.ndarray
        ``(C,)``: the `MEASURES` so far, over feature voxels that look into the study, not into its padding.
    choosing, collecting : bool
        Whether channels are measured in this pass, and whether the chosen ones are kept.
    chosen : numpy.ndarray
        Channels, strongest first, by what was measured so far.
    seen : numpy.ndarray
        ``(len(chosen), X', Y', Z') float32`` of the last pass.
    maps : numpy.ndarray
        The chosen channels of the whole study, put together by whoever runs the tiles.
    """

    chosen: NDArray[np.int64]
    maps: NDArray[np.float32]

    def __init__(self, layer: Layer, count: int, measure: str, inner: Sequence[slice]) -> None:
        self.layer = layer
        self.start: Size = (0, 0, 0)
        self.choosing = self.collecting = True
        self.seen = np.empty(0, dtype=np.float32)
        self._count, self._measure = count, measure
        self.inner = self.own = inner
        self._voxels = 0
        self.peak, self._sum, self._squares = np.zeros((3, layer.channels))

    @property
    def spread(self) -> NDArray[np.float64]:
        mean = self._sum / max(self._voxels, 1)
        return np.sqrt(np.maximum(self._squares / max(self._voxels, 1) - mean**2, 0))

    def __call__(self, module: object, inputs: object, output: Tensor) -> None:
        maps = output.permute(1, 2, 3, 0) if self.layer.sliced else output[0]
        if self.choosing:
            self._add(maps[(slice(None), *self._own_voxels())].float())
            strength = self.peak if self._measure == "largest" else self.spread
            self.chosen = np.argsort(-strength, kind="stable")[: self._count]
        if self.collecting:
            self.seen = maps[self.chosen.tolist()].float().cpu().numpy()

    def _own_voxels(self) -> tuple[slice, ...]:
        """Of the present tile's feature voxels those that look at one of `own`."""
        parts = []
        for axis, size in enumerate(self.layer.shape):
            place = self.start[axis] + self.layer.origin[axis] + self.layer.step[axis] * np.arange(size)
            (inside,) = np.nonzero((place >= self.own[axis].start - 0.5) & (place < self.own[axis].stop - 0.5))
            parts.append(slice(inside[0], inside[-1] + 1) if inside.size else slice(0, 0))
        return tuple(parts)

    def _add(self, maps: Tensor) -> None:
        import torch

        if maps.numel() == 0:
            return
        axes = (1, 2, 3)
        peak = torch.maximum(maps.amax(axes), -maps.amin(axes))
        self.peak = np.maximum(self.peak, peak.double().cpu().numpy())
        exact = torch.float32 if maps.device.type == "mps" else torch.float64
        self._sum = self._sum + maps.sum(axes, dtype=exact).cpu().numpy()
        self._squares = self._squares + torch.linalg.vector_norm(maps, dim=axes, dtype=exact).cpu().numpy() ** 2
        self._voxels += maps[0].numel()
