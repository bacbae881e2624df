"""OpenVINO on the CPU: the same network, two to three times faster than torch there.

Three things here are on purpose.

- OpenVINO reports usage over the network when it is imported and when it converts a network, unless a person has
  opted out. A study never causes traffic, so it is imported without its reporting package and the front end is
  called directly instead of ``openvino.convert_model``.
- The shape stays dynamic. With a static one, OpenVINO 2026.4 ends the whole process (segmentation fault in
  ``compile_model``) on nets of three or more levels with GroupNormalization; the dynamic one is as fast, and one
  compiled network serves every patch and head.
- The compiled network is kept in the process, never on disk: what runs is always what the card's sha256 names.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.inference.network import load_network

if TYPE_CHECKING:
    from torch import nn

_compiled: dict[tuple[str, str, str, str, int], Any] = {}
KEPT = 2
"""Compiled networks that stay in memory (about twice their weights each)."""


class OpenVinoBackend:
    """The default on a CPU, where it is installed.

    bfloat16 is the default where the CPU multiplies it natively (avx512_bf16, AMX).
    """

    memory_factor = 2.2

    def devices(self) -> tuple[str, ...]:
        """See `Backend`."""
        return ("cpu",) if importlib.util.find_spec("openvino") else ()

    def precisions(self, device: str) -> tuple[str, ...]:
        """See `Backend`."""
        return ("bfloat16", "float32") if _has_bfloat16() else ("float32",)

    def prepare(self, card: ModelCard, device: str, precision: str, threads: int) -> OpenVinoRunner:
        """See `Backend`. Compiled networks are kept per network, precision and threads."""
        key = (card.sha256, card.architecture, str(dict(card.settings)), precision, threads)
        if key not in _compiled:
            _compiled[key] = _compile(load_network(card), card, precision, threads)
            while len(_compiled) > KEPT:
                del _compiled[next(iter(_compiled))]
        return OpenVinoRunner(_compiled[key])


@cache
def _core() -> Any:
    # None makes the import fail, and OpenVINO then uses the silent stand-in that it brings along.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino.Core()


@cache
def _has_bfloat16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compile(network: nn.Module, card: ModelCard, precision: str, threads: int) -> Any:
    core = _core()
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # Tracing needs any input that the network takes. Of one voxel alone torch would note that it can be repeated.
    channels, size = len(card.modalities), card.geometry.input_for((2, 2, 2))
    with warnings.catch_warnings():
        # torch calls tracing deprecated and remarks on the check above; neither concerns the person who waits.
        warnings.filterwarnings("ignore", module=r"(torch|monai)\.")
        decoder = TorchScriptPythonDecoder(network, example_input=torch.zeros(1, channels, *size))
    front_end = FrontEndManager().load_by_framework("pytorch")
    model = front_end.convert(front_end.load(decoder))
    model.reshape([1, channels, -1, -1, -1])
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads})


class OpenVinoRunner:
    """See `Runner`."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def __call__(self, data: NDArray[Any]) -> NDArray[Any]:
        """``(C, X, Y, Z) float32`` → logits ``(K, X, Y, Z) float32``."""
        # One request per pass: the result is a view of the request's own memory and so is not overwritten.
        request = self._compiled.create_infer_request()
        results = request.infer({0: np.ascontiguousarray(data)[None]}, share_inputs=True, share_outputs=True)
        return results[0][0]

    def release(self) -> None:
        """Free the activations, which OpenVINO otherwise keeps for the next pass."""
        self._compiled.release_memory()
