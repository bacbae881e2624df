"""From a study and a model card to labels on the study's own grid."""

from napari_medzoo.inference.backends import BACKENDS
from napari_medzoo.inference.background import busy
from napari_medzoo.inference.memory import available_memory_bytes, tune_malloc
from napari_medzoo.inference.network import load_network
from napari_medzoo.inference.plan import Plan, estimate, make_plan
from napari_medzoo.inference.predict import predict

__all__ = [
    "BACKENDS",
    "Plan",
    "available_memory_bytes",
    "busy",
    "estimate",
    "load_network",
    "make_plan",
    "predict",
    "tune_malloc",
]
