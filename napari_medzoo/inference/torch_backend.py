"""PyTorch on CUDA, MPS and the CPU."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.memory import trim_malloc
from napari_medzoo.inference.network import load_network

if TYPE_CHECKING:
    from torch import nn


class TorchBackend:
    """The back end that runs everywhere torch does.

    Half precision is autocast: convolutions in 16 bits, normalisation and logits in float32. On CUDA float16 is
    the default, because its three more bits of mantissa than bfloat16 keep labels closer to float32.
    """

    memory_factor = 1.6

    def devices(self) -> tuple[str, ...]:
        """See `Backend`."""
        if importlib.util.find_spec("torch") is None:
            return ()
        import torch

        found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        return tuple(name for name, usable in found.items() if usable)

    def precisions(self, device: str) -> tuple[str, ...]:
        """See `Backend`. The CPU's bfloat16 is offered everywhere; without avx512_bf16 or AMX it is slow."""
        if device == "cuda":
            return ("float16", "bfloat16", "float32")
        return ("float32",) if device == "mps" else ("float32", "bfloat16")

    def prepare(self, card: ModelCard, device: str, precision: str, threads: int) -> TorchRunner:
        """See `Backend`. Nothing is kept: loading takes a fraction of a second."""
        return TorchRunner(load_network(card), device, precision, threads)


class TorchRunner:
    """See `Runner`."""

    def __init__(self, network: nn.Module, device: str, precision: str, threads: int) -> None:
        self._network = network.to(device)
        self._device = device
        self._precision = precision
        self._threads = threads

    def __call__(self, data: NDArray[Any]) -> NDArray[Any]:
        """``(C, X, Y, Z) float32`` → logits ``(K, X, Y, Z) float32``."""
        import torch

        before = torch.get_num_threads()
        # Both are set per thread, and this is not the thread in which the runner was made.
        torch.set_num_threads(self._threads)
        half = self._precision != "float32"
        try:
            with torch.inference_mode(), torch.autocast(self._device, getattr(torch, self._precision), enabled=half):
                logits = self._network(
                    torch.from_numpy(np.require(data, requirements=["C", "W"]))[None].to(self._device)
                )
                return logits[0].float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise MedzooError(
                f"The {self._device} device ran out of memory on {data.shape[1:]} voxels; "
                "close other programs that use it, or choose --device cpu."
            ) from error
        finally:
            torch.set_num_threads(before)

    def release(self) -> None:
        """Empty the device's cache."""
        import torch

        if self._device == "cuda":
            torch.cuda.empty_cache()
        elif self._device == "mps":
            torch.mps.empty_cache()
        else:
            trim_malloc()
