"""Load large libraries so that the window goes on meanwhile."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from pathlib import Path

from napari_medzoo.inference.memory import without_collection


def load_torch() -> None:
    """``import torch`` where it is installed; call it in a thread."""
    found = importlib.util.find_spec("torch")
    if "torch" in sys.modules or found is None or found.origin is None:
        return
    _load_libraries(Path(found.origin).parent / "lib")
    with without_collection():
        importlib.import_module("torch")


def _load_libraries(folder: Path) -> None:
    """Load what ``import torch`` will load, without holding Python's lock.

    An import holds the lock while the system loads a library and puts its addresses right: a third of a second for
    PyTorch's, in which a window stands still. A foreign function is called without the lock. The import then finds the
    libraries loaded. On Windows, where PyTorch itself does it so, nothing happens.
    """
    if sys.platform == "win32":
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for library in folder.glob("libtorch_python.*"):
        dlopen(os.fsencode(library), os.RTLD_NOW)
