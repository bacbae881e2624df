"""What runs a network: one small interface, one file per library, one line here."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.inference.openvino_backend import OpenVinoBackend
from napari_medzoo.inference.torch_backend import TorchBackend


class Runner(Protocol):
    """A network ready to run."""

    def __call__(self, data: NDArray[Any]) -> NDArray[Any]:
        """``(C, X, Y, Z) float32`` → logits ``(K, X, Y, Z) float32``; called from any one thread at a time."""

    def release(self) -> None:
        """Give back the memory of the last pass; the runner can be called again."""


class Backend(Protocol):
    """A library that runs networks.

    Attributes
    ----------
    memory_factor : float
        Measured peak memory divided by what `memory.activation_bytes` counts.
    """

    memory_factor: float

    def devices(self) -> tuple[str, ...]:
        """Of ``"cuda"``, ``"mps"`` and ``"cpu"`` those it can use here, fastest first; empty if not installed."""

    def precisions(self, device: str) -> tuple[str, ...]:
        """Of ``"float32"``, ``"bfloat16"`` and ``"float16"`` those it has on `device`, the default first."""

    def prepare(self, card: ModelCard, device: str, precision: str, threads: int) -> Runner:
        """Load the card's network and make it ready; it may be kept for the next scan."""


BACKENDS: dict[str, Backend] = {
    "openvino": OpenVinoBackend(),
    "torch": TorchBackend(),
}
"""Back ends by name, in the order in which ``"auto"`` tries them on a CPU."""
