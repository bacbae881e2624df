"""How a forward pass will be run, decided before it starts and recorded with the result."""

from __future__ import annotations

import os
from math import prod
from typing import Literal

from pydantic import Field

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.backends import BACKENDS
from napari_medzoo.inference.memory import activation_bytes, available_memory_bytes
from napari_medzoo.inference.network import build_network, check_geometry
from napari_medzoo.inference.tiles import fitting_patch
from napari_medzoo.models.geometry import Geometry, Size
from napari_medzoo.settings import Settings
from napari_medzoo.study import Study

WHOLE_SHARE = 0.6
"""A study is run whole if that takes no more than this share of the available memory."""
OVERLAP = 0.25
"""Overlap of neighbouring tiles, as a share of the patch. Valid convolutions, which see all they need, have none."""

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
        ``"whole"``: the prepared study, padded with zeros to a size that the network takes, in one pass.
        ``"tiles"``: overlapping patches of it, blended.
    patch : tuple of int
        Voxels that the network is given in one pass.
    margin : tuple of int
        Voxels on every side of the patch that it does not answer for.
    overlap : float
        Share of what a tile answers for that neighbours have in common; 0 where the study is run whole.
    threads : int
        Of the CPU.
    shape, padded : tuple of int
        The prepared (head-cropped) study in voxels, before padding and after.
    memory_bytes, available_bytes : int
        Expected peak of the pass, and what was free on the device when the plan was made.
    """

    backend: str
    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["float32", "bfloat16", "float16"]
    mode: Literal["whole", "tiles"]
    patch: Size
    margin: Size = (0, 0, 0)
    overlap: float = Field(0.0, ge=0, lt=1)
    threads: int = Field(1, ge=1)
    shape: Size
    padded: Size
    memory_bytes: int = 0
    available_bytes: int = 0

    def for_shape(self, shape: Size, geometry: Geometry) -> Plan:
        """The same plan for another study: back end, precision and mode stay, the patch of a whole run follows."""
        if shape == self.shape:
            return self
        padded = geometry.input_for(shape)
        patch = padded if self.mode == "whole" else self.patch
        return self.model_copy(update={"shape": shape, "padded": padded, "patch": patch})


def make_plan(
    card: ModelCard,
    shape: Size,
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
    check_geometry(card, network)
    factor = BACKENDS[backend].memory_factor

    def needed(patch: Size) -> int:
        return int(factor * activation_bytes(network, len(card.modalities), patch))

    whole = card.geometry.input_for(shape)
    mode, patch, overlap, peak = "whole", whole, 0.0, needed(whole)
    if not card.whole or peak > WHOLE_SHARE * available:
        mode, patch, overlap = "tiles", fitting_patch(card.patch, whole), 0.0 if any(card.margin) else OVERLAP
        logits = 4 * len(card.channels) * prod(card.geometry.output_of(whole))
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
            "margin": card.margin,
            "overlap": overlap,
            "threads": threads or default_threads(),
            "shape": shape,
            "padded": whole,
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
