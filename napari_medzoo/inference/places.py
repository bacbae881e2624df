"""Where the layers of a network lie: which voxel of its input each voxel of a feature map looks at.

The voxels of a feature map are `step` voxels of the input apart, and the first one looks at voxel `origin`. Both follow
from kernels, strides and paddings, which differ between networks: a 2³ stride-2 convolution looks between two voxels
(origin ½), a padded 3³ one at every second (origin 0), so that at a step of 16 two layers of the same size can lie
seven voxels apart. They are worked out along the pass that the network really makes, on torch's meta device, where
tensors have shapes but no numbers.

Where ways of different length meet (a skip and what comes up from below), the place is that of the way that was never
as coarse: it is the one that tells where things are. On the way up a trained network can have learned to look aside, by
up to half a step of the coarse layer it comes from; no place can say that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """A layer of a network, by the name of its module, for one size of input.

    Attributes
    ----------
    name : str
        As in ``network.named_modules()``.
    channels : int
    shape : tuple of int
        Voxels of its feature maps, ``(X', Y', Z')``.
    step, origin : tuple of float
        In voxels of the input along each axis: feature voxel ``i`` looks at ``step · i + origin``.
    stage : bool
        Whether it is a part of its own of the network: not inside of another such part, and not the logits.
    sliced : bool
        The network takes volumes slice by slice: its maps are ``(Z, C, X', Y')``, all others' ``(1, C, X', Y', Z')``.
    """

    name: str
    channels: int
    shape: tuple[int, int, int]
    step: tuple[float, float, float]
    origin: tuple[float, float, float]
    stage: bool
    sliced: bool = False

    @property
    def matrix(self) -> NDArray[np.float64]:
        """``(4, 4)``: index of a feature voxel to (fractional) index of the input."""
        matrix = np.diag([*self.step, 1.0])
        matrix[:3, 3] = self.origin
        return matrix


REARRANGED = frozenset({"view", "_unsafe_view", "permute", "clone"})
"""ATen operations that lay the same numbers out otherwise, as a pixel shuffle does to logits."""


class _Place(NamedTuple):
    """Per spatial axis `step` and `origin` as in `Layer`; `coarsest` is the largest step on the way here."""

    step: tuple[float, ...]
    origin: tuple[float, ...]
    coarsest: float


def find_layers(network: nn.Module, in_channels: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Every layer whose feature maps have a place, in the order in which they are computed.

    Left out is what is called more than once in a pass (a shared pooling or activation) and what only hands on
    (dropout).

    Parameters
    ----------
    network : torch.nn.Module
        On the meta device, in evaluation mode.
    in_channels : int
    shape : tuple of int
        Of the input, ``(X, Y, Z)``.
    """
    import torch
    from torch import nn
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    places: dict[Any, tuple[Tensor, _Place]] = {}  # the tensors are kept, so that no storage is used twice

    source: dict[Any, Any] = {}  # rearranged tensor → the one with the same numbers

    class Tracer(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            known = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor) and _key(leaf) in places]
            if function.overloadpacket.__name__ in REARRANGED and isinstance(result, torch.Tensor):
                source[_key(result)] = source.get(_key(args[0]), _key(args[0]))
            for leaf in tree_leaves(result):
                if known and isinstance(leaf, torch.Tensor) and leaf.ndim == known[0].ndim:
                    ways = [(tensor, places[_key(tensor)][1]) for tensor in known]
                    place = _place_after(function.overloadpacket.__name__, args, ways, leaf)
                    if place is not None:
                        places[_key(leaf)] = (leaf, place)
            return result

    sliced = any(isinstance(module, nn.Conv2d) for module in network.modules())
    size = shape[:2] if sliced else shape
    seen: list[tuple[str, Tensor]] = []

    def note(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == len(size) + 2:
            seen.append((name, output))

    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: note(name, output))
        for name, module in network.named_modules()
        if name and not isinstance(module, (nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.Identity))
    ]
    try:
        # Not inference_mode: it would hand composite operations (conv3d, narrow) over as one.
        with torch.no_grad(), Tracer():
            x = torch.empty((1, in_channels, *size), device="meta")
            places[_key(x)] = (x, _Place((1.0,) * len(size), (0.0,) * len(size), 1.0))
            logits = network(x)
    finally:
        for handle in handles:
            handle.remove()

    names = [name for name, _ in seen]
    once = {name: output for name, output in seen if names.count(name) == 1 and _key(output) in places}
    answer = {_key(logits), source.get(_key(logits))}
    inner = {name for name, output in once.items() if _key(output) not in answer}
    stages = {_key(output): name for name, output in once.items() if name in inner and not _inside(name, inner)}
    layers = []
    for name, output in once.items():
        place = places[_key(output)][1]
        missing = 3 - len(size)
        x_size, y_size, z_size = (*output.shape[2:], *shape[len(size) :])
        layers.append(
            Layer(
                name,
                output.shape[1],
                (x_size, y_size, z_size),
                (*place.step, *(1.0,) * missing),  # type: ignore[arg-type]
                (*place.origin, *(0.0,) * missing),  # type: ignore[arg-type]
                name in stages.values(),
                sliced,
            )
        )
    return tuple(layers)


def _inside(name: str, others: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:end]) in others for end in range(1, len(parts)))


def _key(tensor: Tensor) -> tuple[Any, ...]:
    """What makes two tensors the same numbers at the same place in memory (an activation may be in place)."""
    return tensor.untyped_storage()._cdata, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()


def _place_after(
    operation: str, args: Sequence[Any], ways: Sequence[tuple[Tensor, _Place]], result: Tensor
) -> _Place | None:
    """The place of the result of an ATen operation, or None where its axes are no longer the scan's."""
    source, place = ways[0]
    axes = len(place.step)
    if operation == "convolution":
        weight, stride, padding, dilation, transposed = args[1], args[3], args[4], args[5], args[6]
        kernel = weight.shape[2:]
        return _window(place, kernel, stride, padding, dilation, transposed)
    if operation.startswith(("max_pool", "avg_pool")):
        options = [*args[1:], *([], 0, 1)[len(args) - 2 :]] if len(args) < 5 else list(args[1:])
        kernel, stride, padding = options[0], options[1] or options[0], options[2]
        dilation = options[3] if operation.startswith("max_pool") else 1
        return _window(place, kernel, stride, padding, dilation, False)
    if operation.startswith("upsample"):
        corners = operation.startswith(("upsample_trilinear", "upsample_bilinear")) and bool(args[2])
        return _resized(place, source.shape[2:], result.shape[2:], corners)
    if operation == "constant_pad_nd":
        before = [*args[1][::2], *(0,) * axes][:axes][::-1]
        return place._replace(origin=tuple(o - s * b for o, s, b in zip(place.origin, place.step, before, strict=True)))
    if operation == "slice" and len(args) > 1 and args[1] % source.ndim >= 2:
        axis, start, step = args[1] % source.ndim - 2, (*args, None)[2] or 0, args[4] if len(args) > 4 else 1
        start += source.shape[axis + 2] if start < 0 else 0
        origin, steps = list(place.origin), list(place.step)
        origin[axis] += steps[axis] * start
        steps[axis] *= step
        return _Place(tuple(steps), tuple(origin), max(place.coarsest, *steps))
    same = [way for tensor, way in ways if tensor.shape[2:] == result.shape[2:]]
    return min(same, key=lambda way: way.coarsest) if same else None


def _window(place: _Place, kernel: Any, stride: Any, padding: Any, dilation: Any, transposed: bool) -> _Place:
    """After a convolution or pooling: the middle of its window; after a transposed one: where its middle came from."""
    axes = len(place.step)
    sizes, strides, paddings, dilations = (_each(value, axes) for value in (kernel, stride, padding, dilation))
    shift = [(size - 1) * spread / 2 - pad for size, spread, pad in zip(sizes, dilations, paddings, strict=True)]
    if transposed:
        steps = tuple(step / by for step, by in zip(place.step, strides, strict=True))
        origin = tuple(o - new * by for o, new, by in zip(place.origin, steps, shift, strict=True))
    else:
        steps = tuple(step * by for step, by in zip(place.step, strides, strict=True))
        origin = tuple(o + step * by for o, step, by in zip(place.origin, place.step, shift, strict=True))
    return _Place(steps, origin, max(place.coarsest, *steps))


def _resized(place: _Place, old: Sequence[int], new: Sequence[int], corners: bool) -> _Place:
    """After an interpolation that keeps the outer edges of the field of view, or the `corners`' centres."""
    steps, origin = [], []
    for step, first, before, after in zip(place.step, place.origin, old, new, strict=True):
        ratio = (before - 1) / max(after - 1, 1) if corners else before / after
        steps.append(step * ratio)
        origin.append(first if corners else first + step * (ratio - 1) / 2)
    return _Place(tuple(steps), tuple(origin), place.coarsest)


def _each(value: Any, axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values
