"""Where a training's pairs come from, process by process and epoch by epoch, as Lightning asks for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError

from .config import Recipe, data_folder
from .held_out import Split, split_cases
from .labelmaps import LabelMaps, load_packed, pack
from .patches import Loader, Mixed, Pair, Patches, Source, batches

if TYPE_CHECKING:
    from napari_medzoo.progress import Steps

    from .cases import PreparedCases


def open_source(recipe: Recipe, cache: Path) -> Steps[Source]:
    """Open what the recipe learns from, after preparing it once in the folder `cache`.

    Yields
    ------
    Progress

    Returns
    -------
    LabelMaps, PreparedCases or Mixed

    Raises
    ------
    MedzooError
        If there is no data, or it is not what the recipe says.
    """
    if recipe.dataset is None:
        return (yield from _open_maps(cache))
    from .cases import prepare_cases

    cases = yield from prepare_cases(recipe, data_folder(), cache)
    return cases if recipe.synthesis is None else Mixed((yield from _open_maps(cache)), cases)


def _open_maps(cache: Path) -> Steps[LabelMaps]:
    from napari_medzoo.progress import Progress

    packed = cache / "labelmaps.npz"
    if not packed.exists():
        yield Progress("Packing the label maps")
        pack(data_folder() / "labelmaps", packed)
    return load_packed(packed)


class Data(pl.LightningDataModule):
    """The pairs to train on and the cases to validate on.

    One epoch is the stretch between two checkpoints, so that a resumed training begins with a fresh loader just where
    the checkpoint was written.

    Parameters
    ----------
    recipe : Recipe
    source : callable
        Gives the source; called once on every machine before the others of that machine call it.
    folder : pathlib.Path
        Of the training.
    threads : int, optional
        Threads that make pairs ahead; None chooses.
    """

    def __init__(self, recipe: Recipe, source: Callable[[], Source], folder: Path, threads: int | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.split = Split(())
        self._open = source
        self._source: Source | None = None
        self._folder = folder
        self._threads = threads
        self._patches: Patches | None = None
        self._loader: Loader | None = None

    def prepare_data(self) -> None:
        """On one process of each machine, before the others: fill the cache."""
        self._source = self._open()
        if self._source.subjects:
            split_cases(self.recipe, self._source.subjects, self._folder)  # writes the folds

    def setup(self, stage: str) -> None:
        """On every process: open the source and take its share."""
        trainer = self._trainer
        source = self._source = self._source or self._open()
        if source.subjects:
            self.split = split_cases(self.recipe, source.subjects, self._folder)
        elif self.recipe.validate_every:
            raise MedzooError(
                f"Recipe '{self.recipe.name}' learns from label maps, which leave no cases to validate on; "
                "leave out validate_every and patience."
            )
        device = trainer.strategy.root_device
        self._patches = Patches(self.recipe, source, device, trainer.world_size, self.split.training)
        if self._threads is None:
            self._threads = loader_threads(source, device.type)

    @property
    def cases(self) -> PreparedCases:
        """The prepared cases, where the recipe learns from real cases alone."""
        assert self._source is not None
        assert not isinstance(self._source, LabelMaps | Mixed)
        return self._source

    @property
    def loader_waited(self) -> float:
        """Seconds that the present loader has kept the trainer waiting."""
        return self._loader.waited if self._loader else 0.0

    def pair(self, step: int) -> Pair:
        """The first training pair of a step."""
        assert self._patches is not None
        return self._patches[min(step, self.recipe.steps - 1) * self._patches.per_step]

    def train_dataloader(self) -> Loader:
        """The batches from here to the next checkpoint."""
        trainer, every = self._trainer, self.recipe.checkpoint_every
        first = trainer.global_step
        last = min((first // every + 1) * every, self.recipe.steps)
        assert self._patches is not None
        numbers = list(batches(self.recipe, trainer.global_rank, trainer.world_size, first, last))
        self._loader = Loader(self._patches, numbers, self._threads or 0)
        return self._loader

    def val_dataloader(self) -> NDArray[np.int64]:
        """The numbers of the cases that this process scores (an array: Lightning takes a list for many loaders).

        Every process gets as many; -1 stands for none, because one without any would not wait for the others.
        """
        world = self._trainer.world_size
        numbers = [*self.split.validation, *[-1] * (-len(self.split.validation) % world)]
        return np.array(numbers[self._trainer.global_rank :: world], dtype=np.int64)

    @property
    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None
        return self.trainer


def loader_threads(source: Source, device: str) -> int:
    """How many threads make pairs ahead of the network.

    A GPU makes synthetic pairs itself, between two steps. What is read from the disk is read ahead: by one thread
    beside a network on the CPU, which wants the cores, and by more beside a GPU.
    """
    from napari_medzoo.inference.plan import default_threads

    if isinstance(source, LabelMaps | Mixed):
        return 0
    return 1 if device == "cpu" else max(1, min(8, default_threads() - 1))
