"""Axial, coronal, sagittal and 3D beside each other, with one crosshair: the dock ``MedZoo views``."""

from napari_medzoo.widgets.ortho.views import OrthoViews

__all__ = ["OrthoViews"]
