"""The zoo: every network by name. Adding one is one file and one line here.

Every entry of `ARCHITECTURES` is a callable ``(in_channels, num_classes, **settings)`` that gives a
`torch.nn.Module`, or raises `ValueError` saying what it takes. Any number of modalities ≥ 1 and of classes ≥ 2 will do
unless the network's docstring says otherwise. A preset is a name for settings; they can still be overridden.

``forward(x)`` takes a prepared scan ``(B, in_channels, X, Y, Z) float32`` and returns

- in evaluation mode: plain logits ``(B, num_classes, X, Y, Z)``, without soft-max;
- in training mode: the same; or a list of logits from fine to coarse, whose first has full resolution (deep
  supervision, auxiliary heads); or `blocks.WithLoss`, logits and a loss of the network's own, which is added.

Attributes say what it takes and gives (those of `blocks.Network`; a module that lacks one has the default): sizes are
``k·divisor + remainder`` (1, 0); with valid convolutions the output lacks `margin` voxels ((0, 0, 0)) on every side, to
which a reference is cropped by `blocks.crop_to`; `receptive_field` in voxels along each axis (None: not stated), and
where that is 1, as across the slices of `unet2d`, any size will do (`geometry.geometry_of` says it all by axis);
`auxiliary_weights` of the outputs after the first where the paper gives some (()).

The setting ``padding`` of networks that have it is ``"valid"`` in the papers and by default, ``"same"`` for outputs as
large as the input. `highresnet`, `dynunet` and `segresnet_vae` need MONAI (``pip install 'napari-medzoo[zoo]'``).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

_FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "strided_unet": ("strided_unet", "StridedUNet", {}),
    "unet2d": ("unet2d", "UNet2D", {}),
    "unet3d": ("unet3d", "UNet3D", {}),
    "unet3d_thesis": ("resunet", "ResUNet", {"dropout": 0.6, "first_norm": False}),
    "resunet": ("resunet", "ResUNet", {}),
    "vnet": ("vnet", "VNet", {}),
    "vnet_thesis": ("vnet_thesis", "VNetThesis", {}),
    "vnet_light": ("vnet_thesis", "VNetThesis", {"encoder": (1, 2, 3), "decoder": (1, 1, 2)}),
    "densenet3d": ("densenet3d", "DenseNet3D", {}),
    "densenet3d_late": ("densenet3d_late", "DenseNet3DLate", {}),
    "densenet3d_early": ("densenet3d_early", "DenseNet3DEarly", {}),
    "hyperdensenet": ("hyperdensenet", "HyperDenseNet", {}),
    "skipdensenet3d": ("skipdensenet3d", "SkipDenseNet3D", {}),
    "densevoxelnet": ("densevoxelnet", "DenseVoxelNet", {}),
    "highresnet": ("highresnet", "HighResNet", {}),
    "dynunet": ("dynunet", "DynUNet", {}),
    "segresnet_vae": ("segresnet_vae", "SegResNetVAE", {}),
    "med3d": ("med3d", "Med3D", {}),
    "med3d_10": ("med3d", "Med3D", {"depth": 10}),
    "med3d_18": ("med3d", "Med3D", {"depth": 18}),
    "med3d_34": ("med3d", "Med3D", {"depth": 34}),
    "med3d_50": ("med3d", "Med3D", {"depth": 50}),
}
"""Name → file, attribute, settings of the preset."""


class _Lazy(Mapping[str, Any]):
    """A mapping that imports a network's file only when it is asked for: torch costs a second."""

    def __getitem__(self, name: str) -> Any:
        if name not in _FILES:
            raise KeyError(f"There is no network {name!r}; choose one of: {', '.join(sorted(_FILES))}.")
        file, attribute, preset = _FILES[name]
        network = getattr(importlib.import_module(f"napari_medzoo.models.{file}"), attribute)
        return partial(network, **preset) if preset else network

    def __iter__(self) -> Iterator[str]:
        return iter(_FILES)

    def __len__(self) -> int:
        return len(_FILES)


ARCHITECTURES: Mapping[str, Any] = _Lazy()
"""Name → callable ``(in_channels, num_classes, **settings)`` that gives a `torch.nn.Module`."""
