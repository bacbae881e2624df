"""What the network sees: the strongest feature maps of its layers, as volumes on the study's own grid.

The view of the thesis (Adaloglou 2019): a trained network is run on a study, and of the chosen layers those channels
are shown that answer most. A map is put where its voxels look (`places`), interpolated to the study's grid once, and 0
where the network was shown nothing. Never is a layer held with all of its channels at the study's size: channels are
measured while the layer is computed (`watch`), and only the chosen ones are kept, at the layer's own size.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.background import in_background, wait_for_discarded
from napari_medzoo.inference.memory import available_memory_bytes, tune_malloc, without_collection
from napari_medzoo.inference.network import build_network, load_network
from napari_medzoo.inference.places import Layer, find_layers
from napari_medzoo.inference.plan import Plan, make_plan
from napari_medzoo.inference.tiles import blend_weights, fitting_patch, pad, tile_starts
from napari_medzoo.inference.torch_backend import TorchRunner
from napari_medzoo.inference.watch import MEASURES, Watch
from napari_medzoo.models.geometry import Size
from napari_medzoo.preprocess import Prepared, prepare, reorient, resample
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

LAST = 3
"""How many layers are shown where none is named."""


@dataclass(frozen=True, eq=False)
class Feature:
    """One channel of a layer.

    Attributes
    ----------
    layer : str
        Name of the module that computed it.
    channel : int
        From 0.
    largest, spread : float
        The `MEASURES` of the channel.
    volume : Volume
        ``(X, Y, Z) float32`` activations on the study's grid; 0 where nothing was prepared.
    """

    layer: str
    channel: int
    largest: float
    spread: float
    volume: Volume

    @property
    def name(self) -> str:
        """For lists and layers: layer, channel and largest activation."""
        return f"{self.layer} [{self.channel}] {self.largest:.3g}"


def layers_of(card: ModelCard) -> tuple[Layer, ...]:
    """The layers that `features` can show, in the order in which they are computed; nothing is loaded or run.

    Raises
    ------
    MedzooError
        If the network cannot be built.
    """
    return find_layers(build_network(card, "meta"), len(card.modalities), card.geometry.covering(card.patch))


def last_layers(layers: Sequence[Layer], count: int = LAST) -> tuple[Layer, ...]:
    """The last `count` parts of the network before the logits."""
    return tuple(layer for layer in layers if layer.stage)[-count:]


def features(
    study: Study,
    card: ModelCard,
    *,
    layers: Sequence[str] = (),
    count: int = 4,
    measure: str = "largest",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    prepared: Prepared | None = None,
) -> Steps[tuple[Feature, ...]]:
    """The strongest features of a network's layers on a study.

    A generator, iterated and cancelled like `predict`. Where memory allows, one pass is made; where the study is run in
    tiles, a first round of tiles chooses the channels and a second one collects them.

    Parameters
    ----------
    study : Study
        Holds the modalities that the card needs.
    card : ModelCard
    layers : sequence of str
        Names of modules, as `layers_of` has them; by default the last `LAST` parts before the logits.
    count : int
        Channels of each layer at most.
    measure : str
        A key of `MEASURES`.
    device, precision, threads
        As for `predict`; the back end is torch.
    prepared : Prepared, optional
        The study as `prepare` with the card's recipe gave it.

    Returns
    -------
    tuple of Feature
        Layer by layer as computed, the strongest channel first; on the grid of the card's first modality.

    Raises
    ------
    MedzooError
        For an unknown layer (the sentence says which there are) or measure, and for whatever `predict` refuses.
    """
    if measure not in MEASURES:
        raise MedzooError(f"There is no measure '{measure}'; choose one of: {', '.join(MEASURES)}.")
    if count < 1:
        raise MedzooError(f"Expected at least 1 feature of each layer, got {count}.")
    modalities = card.choose(study)
    card.check_weights()
    _choose(card, layers_of(card), layers)  # a wrong name is told before any work
    tune_malloc()

    yield from wait_for_discarded()
    ready = prepared or (yield from prepare(study, card.preprocessing, modalities))
    data = ready.stack(card.channels_for(modalities))

    @without_collection()
    def start() -> tuple[TorchRunner, Plan, NDArray[np.float32], tuple[Watch, ...]]:
        plan = make_plan(card, ready.grid.shape, device=device, backend="torch", precision=precision, threads=threads)
        plan = plan.model_copy(update={"patch": fitting_patch(plan.patch, plan.padded)})
        found = find_layers(build_network(card, "meta"), len(card.modalities), plan.patch)
        chosen = _choose(card, found, layers)
        _require_memory(sum(min(count, layer.channels) for layer in chosen), ready.target)
        padded, (_, *inner) = pad(data, plan.padded)
        network = load_network(card)
        watches = tuple(Watch(layer, count, measure, inner) for layer in chosen)
        for watch in watches:
            network.get_submodule(watch.layer.name).register_forward_hook(watch)
        return TorchRunner(network, plan.device, plan.precision, plan.threads), plan, padded, watches

    runner, plan, padded, watches = yield from in_background(start, Progress("Loading model"))
    yield from _run(runner, padded, plan, card.geometry.divisor, watches)
    yield from in_background(runner.release, Progress("Looking"))
    shown = ready.restore(np.ones(ready.grid.shape, dtype=np.uint8))
    result: list[Feature] = []
    total = sum(len(watch.chosen) for watch in watches)
    for watch in watches:
        for row, channel in enumerate(watch.chosen):
            volume = yield from in_background(
                lambda watch=watch, row=row: _restored(watch, row, ready, shown),  # type: ignore[misc]
                Progress("Restoring", len(result), total),
            )
            result.append(
                Feature(
                    watch.layer.name, int(channel), float(watch.peak[channel]), float(watch.spread[channel]), volume
                )
            )
    return tuple(result)


def _choose(card: ModelCard, found: Sequence[Layer], names: Sequence[str]) -> tuple[Layer, ...]:
    known = {layer.name: layer for layer in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        parts = ", ".join(layer.name for layer in found if layer.stage)
        near = difflib.get_close_matches(unknown[0], [layer.name for layer in found if not layer.stage], n=3)
        inside = f"; did you mean {' or '.join(near)} inside of one?" if near else "."
        raise MedzooError(f"Model '{card.name}' has no layer '{unknown[0]}'. Choose one of its parts: {parts}{inside}")
    return tuple(layer for layer in found if layer.name in names) if names else last_layers(found)


def _require_memory(volumes: int, target: Grid) -> None:
    needed, free = 4 * volumes * int(np.prod(target.shape)), available_memory_bytes()
    if needed > free:
        raise MedzooError(
            f"{volumes} features on {target.shape} voxels take {needed / 2**30:.1f} GB of memory, "
            f"{free / 2**30:.1f} GB are free; ask for fewer features or layers."
        )


def _run(
    runner: TorchRunner, padded: NDArray[np.float32], plan: Plan, divisors: Size, watches: Sequence[Watch]
) -> Steps[None]:
    """Show the network the study, whole or in tiles; leaves the chosen channels in every watch's `maps`."""
    starts = []
    for size, length, margin, divisor in zip(plan.padded, plan.patch, plan.margin, divisors, strict=True):
        # Tiles begin at multiples of the divisor, so that the feature voxels of all tiles lie on one lattice.
        answer, further = max((length - 2 * margin) // divisor, 1), (size - length) // divisor
        starts.append([divisor * first for first in tile_starts(answer + further, answer, plan.overlap)])
    tiles = list(product(*(range(len(places)) for places in starts)))
    rounds = [(True, True)] if len(tiles) == 1 else [(True, False), (False, True)]
    for choosing, collecting in rounds:
        for done, (i, j, k) in enumerate(tiles):
            corner = starts[0][i], starts[1][j], starts[2][k]
            place = tuple(slice(a, a + size) for a, size in zip(corner, plan.patch, strict=True))
            for watch in watches:
                watch.start, watch.choosing, watch.collecting = corner, choosing, collecting
                watch.own = [_own_part(*axis) for axis in zip(starts, plan.patch, (i, j, k), watch.inner, strict=True)]
            tile = np.ascontiguousarray(padded[(slice(None), *place)])
            stage = "Looking" if collecting else "Choosing features"
            yield from in_background(
                lambda tile=tile: runner(tile),  # type: ignore[misc]
                Progress(stage, done, len(tiles)),
                runner.release,
            )
            if collecting:
                for watch in watches:
                    _blend(watch, starts, (i, j, k))


def _own_part(starts: Sequence[int], length: int, number: int, inner: slice) -> slice:
    """Along one axis, what of the study belongs to tile `number`: up to the middle of what it shares with others."""
    cuts = [(before + length + after) // 2 for before, after in pairwise(starts)]
    bounds = [inner.start, *cuts, inner.stop]
    return slice(max(bounds[number], inner.start), min(bounds[number + 1], inner.stop))


def _blend(watch: Watch, starts: Sequence[Sequence[int]], tile: Size) -> None:
    """Add the last pass to the maps of the whole study, weighted as the logits of tiles are."""
    size: tuple[int, ...] = watch.seen.shape[1:]
    places = [[round(first / step) for first in firsts] for firsts, step in zip(starts, watch.layer.step, strict=True)]
    whole = [firsts[-1] + length for firsts, length in zip(places, size, strict=True)]
    if not any(tile):
        watch.maps = np.zeros((len(watch.seen), *whole), dtype=np.float32)
    x, y, z = (
        blend_weights(total, length, firsts)[number]
        for total, length, firsts, number in zip(whole, size, places, tile, strict=True)
    )
    corner = [firsts[number] for firsts, number in zip(places, tile, strict=True)]
    part = tuple(slice(first, first + length) for first, length in zip(corner, size, strict=True))
    watch.maps[(slice(None), *part)] += watch.seen * (x[:, None, None] * y[:, None] * z)


def _restored(watch: Watch, row: int, ready: Prepared, shown: NDArray[np.uint8]) -> Volume:
    """One of a watch's maps on the study's grid, where `shown` is 1."""
    matrix = watch.layer.matrix
    matrix[:3, 3] -= [part.start for part in watch.inner]
    matrix[:3, 3] -= watch.layer.step  # for the edge that is repeated once, so that no voxel between map and edge is 0
    edged = np.pad(watch.maps[row], 1, mode="edge")
    x, y, z = edged.shape
    feature = Volume(edged, Grid((x, y, z), ready.grid.affine @ matrix))
    turned = ready.target.reoriented(ready.grid.axis_codes)  # one frame for every orientation that the file may have
    data: NDArray[Any] = reorient(resample(feature, turned), ready.target.axis_codes).data
    return Volume(np.ascontiguousarray(data * shown, dtype=np.float32), ready.target)
