"""What Lightning steps: the network with its losses, its optimiser, and its validation on whole cases."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from napari_medzoo.errors import MedzooError
from napari_medzoo.models.blocks import WithLoss, crop_to
from napari_medzoo.models.geometry import geometry_of
from napari_medzoo.models.strided_unet import fold

from .config import Recipe
from .data import Data
from .export import card_of
from .losses import check_terms, deep_supervision, total_loss
from .optimisers import check_optimiser, learning_rate, make_optimiser

DICE = "dice"
"""Name of the figure that validation monitors: mean hard Dice of the foreground classes, 0–1."""


class Training(pl.LightningModule):
    """A network in training.

    Parameters
    ----------
    recipe : Recipe
    network : torch.nn.Module

    Attributes
    ----------
    class_dice : numpy.ndarray or None
        ``(channels - 1,)``: hard Dice of each foreground channel at the last validation, mean over the cases that have
        it; NaN where none has.
    picture : numpy.ndarray or None
        ``(H, W, 3) uint8``: labels over the first case of the last validation.

    Raises
    ------
    MedzooError
        If the recipe names a loss, an optimiser or a schedule that there is not, samples voxels where that is not
        possible, or has a patch that the network cannot take.
    """

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__()
        terms = recipe.losses
        check_terms(terms)
        if recipe.sampled_voxels and "voxels" not in inspect.signature(network.forward).parameters:
            raise MedzooError(
                f"Recipe '{recipe.name}': the network '{recipe.architecture}' cannot answer for sampled voxels only; "
                "leave out sampled_voxels."
            )
        if recipe.sampled_voxels and any(term.name == "boundary" or "border_weight" in term.settings for term in terms):
            raise MedzooError(
                f"Recipe '{recipe.name}': distances to a border need all voxels; leave out sampled_voxels or that loss."
            )
        geometry = geometry_of(network)
        for stage in recipe.stages:
            if not geometry.takes(stage.patch):
                raise MedzooError(
                    f"Recipe '{recipe.name}': the patch {stage.patch} must have sizes of {geometry}, as the network "
                    f"'{recipe.architecture}' takes them; choose another for every stage."
                )
        card_of(recipe, network)  # refuses what could not be validated or exported before anything runs
        check_optimiser(recipe.optimiser)
        self.recipe = recipe
        self.network = network.train()
        self.class_dice: np.ndarray[Any, np.dtype[np.float64]] | None = None
        self.picture: np.ndarray[Any, np.dtype[np.uint8]] | None = None
        self._sums: Tensor = torch.zeros(0)

    def on_fit_start(self) -> None:
        """Guard against a wrong gradient that would not be noticed."""
        if self.device.type == "cpu" and self.recipe.precision == "bf16":
            refuse_short_convolutions(self.network)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """The loss of scans ``(B, C, X, Y, Z)`` against targets ``(B, X, Y, Z) int64``, in float32."""
        scan, target = batch
        terms = self.recipe.losses
        if not self.recipe.sampled_voxels:
            return self._supervised(self.network(scan), target)
        voxels = self._voxels().to(self.device)
        outputs = self.network(scan, voxels)
        with torch.autocast(self.device.type, enabled=False):
            first, *coarser = outputs if isinstance(outputs, list) else [outputs]
            loss = total_loss(terms, first, fold(target)[:, voxels])
            if not coarser:
                return loss
            # The weights of deep supervision, 1, 1/2, 1/4 …: the coarser outputs together weigh as in one list.
            rest = 1 - 0.5 ** len(coarser)
            return (loss + rest * deep_supervision(terms, coarser, target)) / (1 + rest)

    def _supervised(self, outputs: Tensor | Sequence[Tensor] | WithLoss, target: Tensor) -> Tensor:
        """The loss of all outputs; the target of valid convolutions is cropped to what they answer for."""
        extra: Tensor | float = 0.0
        if isinstance(outputs, WithLoss):
            extra, outputs = outputs.extra_loss, outputs.logits
        finest = outputs if isinstance(outputs, Tensor) else outputs[0]
        target = crop_to(target, finest.shape[2:])
        with torch.autocast(self.device.type, enabled=False):
            auxiliary = getattr(self.network, "auxiliary_weights", ())
            return deep_supervision(self.recipe.losses, outputs, target, auxiliary) + extra

    def _voxels(self) -> Tensor:
        """Which voxels of every cell of 2×2×2 this step learns from; the same in every process."""
        assert self.recipe.sampled_voxels
        random = np.random.default_rng([self.recipe.seed, self.global_step, 2**31])
        return torch.from_numpy(random.permutation(8)[: self.recipe.sampled_voxels])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser; `optimizer_step` sets its learning rate."""
        return make_optimiser(self.recipe.optimiser, self.network, self.learning_rate(0))

    def learning_rate(self, step: int) -> float:
        """The rate of step number `step` (from 0)."""
        return learning_rate(self.recipe.optimiser, *self.recipe.stage_at(step))

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | pl.core.optimizer.LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """One step at the schedule's rate."""
        rate = self.learning_rate(self.global_step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def on_validation_epoch_start(self) -> None:
        """Begin to count; the averaged weights are in place."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # whole cases want memory in larger pieces than patches do
        self._sums = torch.zeros(2, len(self.recipe.channels) - 1, dtype=torch.float64)

    def validation_step(self, batch: int, index: int) -> None:
        """Score one whole prepared case, given by its number; -1 is none."""
        if batch < 0:
            return
        from .held_out import draw, hard_dice, predict_prepared

        scan, reference = self._data.cases.scan(batch), self._data.cases.labels(batch)
        channels = predict_prepared(self.network, self.recipe, scan, self.device)
        dice = torch.from_numpy(hard_dice(channels, reference, len(self.recipe.channels)))
        self._sums += torch.stack([dice.nan_to_num(), dice.isfinite().double()])
        if index == 0 and self.trainer.is_global_zero:
            self.picture = draw(self.recipe, scan[0], channels)

    def on_validation_epoch_end(self) -> None:
        """Mean over the cases of all processes."""
        sums = self._sums.to(self.device, torch.float32)  # Apple's processor has no float64
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum").cpu().double()
        self.class_dice = (sums[0] / sums[1]).numpy()
        self.log(DICE, float(np.nanmean(self.class_dice)) if sums[1].any() else 0.0, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the recipe beside the weights; leave out the state of Lightning's loops (see `on_load_checkpoint`)."""
        checkpoint["recipe"] = self.recipe.model_dump(mode="json")
        checkpoint.pop("loops", None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Begin a fresh epoch at the checkpoint's step.

        Lightning's own way takes a checkpoint written at the end of an epoch, with a loader as long as the rest of the
        training, for the middle of one, and asks the new loader for another batch of the old epoch.
        """
        step = checkpoint["global_step"]
        loop = self.trainer.fit_loop
        taken = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
        taken.ready = taken.completed = step
        epochs = step // self.recipe.checkpoint_every
        loop.epoch_progress.current.load_state_dict(
            dict.fromkeys(("ready", "started", "processed", "completed"), epochs)
        )

    @property
    def _data(self) -> Data:
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning attaches it without declaring it
        assert isinstance(data, Data)
        return data


def refuse_short_convolutions(network: nn.Module) -> None:
    """Make `network` raise where bfloat16 on a CPU would give a wrong gradient.

    The gradient of a 3D convolution's weights comes out as garbage (NaN or 1e36) in bfloat16 on a CPU where the first
    axis of its input is shorter than its kernel; seen in torch 2.13, in float32 never.

    Raises
    ------
    MedzooError
        At the first forward pass that meets it.
    """

    def check(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Conv3d)
        length, kernel = inputs[0].shape[2], layer.kernel_size[0]
        if length < kernel:
            raise MedzooError(
                f"A convolution of {kernel} voxels meets an input of {length} on the first axis, "
                "where bfloat16 gives wrong gradients on a CPU; enlarge the patch's first axis or set precision: '32'."
            )

    for layer in network.modules():
        if isinstance(layer, nn.Conv3d):
            layer.register_forward_pre_hook(check)
