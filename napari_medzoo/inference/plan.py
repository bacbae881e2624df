"""How a forward pass will be run, decided before it starts and recorded with the result."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.backends import BACKENDS
from napari_medzoo.inference.memory import activation_bytes, available_memory_bytes
from napari_medzoo.inference.network import build_network
from napari_medzoo.inference.tiles import fitting_patch
from napari_medzoo.settings import Settings
from napari_medzoo.study import Study

WHOLE_SHARE = 0.6
"""A study is run whole if that takes no more than this share of the available memory."""
OVERLAP = 0.25
"""Overlap of neighbouring tiles, as a share of the patch."""

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


class Plan(Settings):
    """Everything that can change the labels for the same weights and the same prepared study.

    Attributes
    ----------
    backend : str
        A key of `BACKENDS`.
    device, precision : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``; ``"float32"``, ``"bfloat16"`` or ``"float16"`` of the convolutions.
    mode : str
        ``"whole"``: the prepared study, padded with zeros to the card's divisor, in one pass.
        ``"tiles"``: overlapping patches of it, blended.
    patch : tuple of int
        Voxels of one pass.
    overlap : float
        Share of the patch that neighbouring tiles have in common; 0 where the study is run whole.
    threads : int
        Of the CPU.
    shape : tuple of int
        The prepared (head-cropped) study in voxels, before padding.
    memory_bytes, available_bytes : int
        Expected peak of the pass, and what was free on the device when the plan was made.
    """

    backend: str
    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["float32", "bfloat16", "float16"]
    mode: Literal["whole", "tiles"]
    patch: tuple[int, int, int]
    overlap: float = Field(0.0, ge=0, lt=1)
    threads: int = Field(1, ge=1)
    shape: tuple[int, int, int]
    memory_bytes: int = 0
    available_bytes: int = 0

    def for_shape(self, shape: tuple[int, int, int], divisor: int) -> Plan:
        """The same plan for another study: back end, precision and mode stay, the patch of a whole run follows."""
        patch = padded_shape(shape, divisor) if self.mode == "whole" else self.patch
        return self.model_copy(update={"shape": shape, "patch": patch})


def padded_shape(shape: tuple[int, int, int], divisor: int) -> tuple[int, int, int]:
    """The next sizes that the network takes: multiples of `divisor`, and two of them at least.

    One alone would leave a single voxel at the bottom of the network, whose instance normalisation is undefined.
    """
    x, y, z = (max(-(-size // divisor), 2) * divisor for size in shape)
    return x, y, z


def make_plan(
    card: ModelCard,
    shape: tuple[int, int, int],
    *,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Plan:
    """Decide how to run `card` on a prepared study of `shape` voxels ``(X, Y, Z)``.

    Parameters
    ----------
    device : str
        ``"auto"`` takes CUDA, else MPS, else the CPU.
    backend : str
        A key of `BACKENDS`; ``"auto"`` takes OpenVINO on a CPU where it is installed, else torch.
    precision : str
        ``"auto"`` takes the back end's default on the device.
    threads : int, optional
        Default: the processors that this process may use (or ``OMP_NUM_THREADS``).

    Raises
    ------
    MedzooError
        For a device, back end or precision that is not available here, and where not even tiles fit into memory.
    """
    backend, device = choose_backend(backend, device)
    offered = BACKENDS[backend].precisions(device)
    if precision == "auto":
        precision = offered[0]
    if precision not in offered:
        raise MedzooError(
            f"Back end '{backend}' on {device} has no precision '{precision}'; choose one of: {', '.join(offered)}."
        )
    available = _free_bytes(device)
    network = build_network(card, "meta")
    factor = BACKENDS[backend].memory_factor

    def needed(patch: tuple[int, int, int]) -> int:
        return int(factor * activation_bytes(network, len(card.modalities), patch))

    whole = padded_shape(shape, card.divisor)
    mode, patch, overlap, peak = "whole", whole, 0.0, needed(whole)
    if not card.whole or peak > WHOLE_SHARE * available:
        mode, patch, overlap = "tiles", fitting_patch(card.patch, whole), OVERLAP
        logits = 4 * len(card.channels) * whole[0] * whole[1] * whole[2]
        # Blended logits lie in main memory; on a CPU the pass takes its share of the same.
        peak = needed(patch) + (logits if device == "cpu" else 0)
        host = peak if device == "cpu" else logits
        if peak > available or host > available_memory_bytes():
            raise MedzooError(
                f"Model '{card.name}' needs about {max(peak, host) / 2**30:.1f} GB of memory for this study, "
                f"{min(available, available_memory_bytes()) / 2**30:.1f} GB are free; close other programs."
            )
    return Plan.model_validate(
        {
            "backend": backend,
            "device": device,
            "precision": precision,
            "mode": mode,
            "patch": patch,
            "overlap": overlap,
            "threads": threads or default_threads(),
            "shape": shape,
            "memory_bytes": peak,
            "available_bytes": available,
        }
    )


def estimate(
    card: ModelCard,
    study: Study,
    *,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Plan:
    """The plan for a study that is not prepared yet: an upper bound, since the head crop only makes it smaller."""
    recipe = card.preprocessing
    grid = study[card.choose(study)[0]].grid.reoriented(recipe.orientation)
    shape = grid.with_spacing(recipe.spacing).shape if recipe.spacing else grid.shape
    return make_plan(card, shape, device=device, backend=backend, precision=precision, threads=threads)


def choose_backend(backend: str, device: str) -> tuple[str, str]:
    """Resolve ``"auto"`` to a back end and a device that exist here.

    Raises
    ------
    MedzooError
        For an unknown name, and for one that is not available on this computer.
    """
    if device not in DEVICES:
        raise MedzooError(f"There is no device '{device}'; choose one of: {', '.join(DEVICES)}.")
    if backend != "auto" and backend not in BACKENDS:
        raise MedzooError(f"There is no back end '{backend}'; choose one of: auto, {', '.join(BACKENDS)}.")
    usable = {name: BACKENDS[name].devices() for name in BACKENDS if backend in ("auto", name)}
    devices = [found for found in ("cuda", "mps", "cpu") if any(found in names for names in usable.values())]
    if not devices:
        raise MedzooError(f"Back end '{backend}' is not installed; run: pip install {backend}.")
    if device == "auto":
        device = devices[0]
    for name, names in usable.items():
        if device in names:
            return name, device
    what = "No back end" if backend == "auto" else f"Back end '{backend}'"
    raise MedzooError(f"{what} can use {device} on this computer; choose --device {' or '.join(devices)}.")


def default_threads() -> int:
    """``OMP_NUM_THREADS``, else the processors that this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _free_bytes(device: str) -> int:
    """Memory for activations on `device`, in bytes."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    # Apple's graphics processor shares the main memory.
    return available_memory_bytes()
