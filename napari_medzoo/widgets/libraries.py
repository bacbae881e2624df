"""Load large libraries before Python does, so that the window goes on meanwhile."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path


def load_torch_libraries() -> None:
    """Load what ``import torch`` will load, without holding Python's lock; call it in a thread before that import.

    An import holds the lock while the system loads a library and puts its addresses right: a third of a second for
    PyTorch's, in which a window stands still. A foreign function is called without the lock. The import then finds the
    libraries loaded. Where that cannot be done (on Windows, where PyTorch itself does it so) nothing happens.
    """
    found = importlib.util.find_spec("torch")
    if "torch" in sys.modules or sys.platform == "win32" or found is None or found.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for library in (Path(found.origin).parent / "lib").glob("libtorch_python.*"):
        dlopen(os.fsencode(library), os.RTLD_NOW)
