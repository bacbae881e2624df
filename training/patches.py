"""Training pairs by number, synthetic or cut from real cases, and the loader that hands them to the trainer.

Every random number of pair number *n* follows from the recipe's seed and *n* alone. So a resumed training continues the
same curve, and two processes with a batch of one see what one process with a batch of two sees.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .config import Recipe
from .labelmaps import LabelMaps

if TYPE_CHECKING:
    from .cases import PreparedCases

Pair: TypeAlias = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Mixed:
    """Label maps and real cases, of which `Recipe.real_share` says how often a pair is cut from them."""

    maps: LabelMaps
    cases: PreparedCases

    @property
    def subjects(self) -> tuple[str, ...]:
        """Nobody: of the real cases none is held out."""
        return ()


Source: TypeAlias = "LabelMaps | PreparedCases | Mixed"
"""What training pairs are made from."""


class Patches(Dataset[Pair]):
    """Training pairs by their number.

    Parameters
    ----------
    recipe : Recipe
    source : LabelMaps, PreparedCases or Mixed
    device : torch.device
        Where the pairs are made and lie. Label maps go there once; a real case's patch as soon as it is cut.
    world : int
        How many processes train together: together they take ``batch * accumulate * world`` pairs a step.
    indices : sequence of int, optional
        The real cases to draw from; by default all, as always beside label maps.
    """

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        device: torch.device,
        world: int = 1,
        indices: Sequence[int] | None = None,
    ) -> None:
        self.recipe = recipe
        self.per_step = recipe.batch * recipe.accumulate * world
        self._make = _maker(recipe, source, device, indices)

    def __len__(self) -> int:
        return self.recipe.steps * self.per_step

    def __getitem__(self, number: int) -> Pair:
        """Pair `number`: a scan ``(C, X, Y, Z) float32`` and its target ``(X, Y, Z) int64``, 255 where ignored."""
        return self._make(number // self.per_step, np.random.default_rng([self.recipe.seed, number]))


def _maker(
    recipe: Recipe, source: Source, device: torch.device, indices: Sequence[int] | None
) -> Callable[[int, np.random.Generator], Pair]:
    if isinstance(source, LabelMaps):
        return _synthetic(recipe, source.to(device))
    if not isinstance(source, Mixed):
        return _cut(recipe, source, device, range(len(source)) if indices is None else indices)
    made = _maker(recipe, source.maps, device, None)
    cut = _maker(recipe, source.cases, device, None)
    share = recipe.real_share
    assert share is not None  # the recipe's own check
    return lambda step, random: (cut if random.random() < share else made)(step, random)


def _synthetic(recipe: Recipe, maps: LabelMaps) -> Callable[[int, np.random.Generator], Pair]:
    from .synthesis import synthesise

    channel_of = maps.channel_of(recipe)
    return lambda step, random: synthesise(maps, recipe, recipe.stage_at(step)[0], channel_of, random)


def _cut(
    recipe: Recipe, cases: PreparedCases, device: torch.device, indices: Sequence[int]
) -> Callable[[int, np.random.Generator], Pair]:
    from .augment import augment, mirrored_channels
    from .cases import draw_patch

    assert recipe.dataset is not None
    share = recipe.dataset.foreground_share
    spacing = recipe.preprocessing.spacing or (1.0, 1.0, 1.0)
    mirrored = mirrored_channels(recipe).to(device)

    def make(step: int, random: np.random.Generator) -> Pair:
        scan, labels = draw_patch(cases, indices, recipe.stage_at(step)[0].patch, share, random)
        pair = torch.from_numpy(scan).to(device), torch.from_numpy(labels).to(device)
        moved, target = augment(*pair, recipe.augmentation, mirrored, random, spacing)
        return moved, target.long()

    return make


def batches(recipe: Recipe, rank: int, world: int, first: int, last: int) -> Iterator[range]:
    """The pair numbers of every batch that process `rank` of `world` takes in steps `first` to `last` − 1."""
    for batch in range(first * recipe.accumulate, last * recipe.accumulate):
        start = (batch * world + rank) * recipe.batch
        yield range(start, start + recipe.batch)


class Loader:
    """The batches of some steps, one after the other: scans ``(B, C, X, Y, Z)`` and targets ``(B, X, Y, Z)``.

    Parameters
    ----------
    patches : Patches
    numbers : iterable of range
        The pairs of each batch (see `batches`).
    threads : int
        Threads that work ahead; with 0 every batch is made when it is asked for, in the asking thread, which is right
        on a GPU that makes them itself and on a CPU whose cores the network keeps busy anyhow.

    Attributes
    ----------
    waited : float
        Seconds in which whoever asked for a batch had to wait for it.
    """

    def __init__(self, patches: Patches, numbers: Sequence[range], threads: int = 0) -> None:
        self._patches = patches
        self._numbers = numbers
        self._threads = threads
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Pair]:
        ready = self._ahead() if self._threads else map(self._batch, self._numbers)
        while True:
            asked = time.perf_counter()
            batch = next(ready, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def _batch(self, numbers: Sequence[int]) -> Pair:
        scans, targets = zip(*(self._patches[number] for number in numbers), strict=True)
        return torch.stack(scans), torch.stack(targets)

    def _ahead(self) -> Iterator[Pair]:
        # One thread of torch each: the network's own threads are many enough.
        pool = ThreadPoolExecutor(self._threads, "medzoo-patches", initializer=torch.set_num_threads, initargs=(1,))
        coming: deque[Future[Pair]] = deque()
        try:
            for numbers in self._numbers:
                coming.append(pool.submit(self._batch, numbers))
                if len(coming) > self._threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
