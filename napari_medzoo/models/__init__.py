"""The zoo: every network by name. Adding one is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_FILES = {
    "strided_unet": ("strided_unet", "StridedUNet"),
}


class _Lazy(Mapping[str, Any]):
    """A mapping that imports a network's file only when it is asked for: torch costs a second."""

    def __getitem__(self, name: str) -> type[nn.Module]:
        if name not in _FILES:
            raise KeyError(f"There is no network {name!r}; choose one of: {', '.join(sorted(_FILES))}.")
        file, attribute = _FILES[name]
        return getattr(importlib.import_module(f"napari_medzoo.models.{file}"), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(_FILES)

    def __len__(self) -> int:
        return len(_FILES)


ARCHITECTURES: Mapping[str, Any] = _Lazy()
"""Name → callable ``(in_channels, num_classes, **settings)`` that gives a `torch.nn.Module`."""
