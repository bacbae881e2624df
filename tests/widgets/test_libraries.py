"""PyTorch is loaded without holding up the window: neither Python's lock nor its collector for long."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import importlib.util, sys
from pathlib import Path
from napari_medzoo.widgets.libraries import _load_libraries, load_torch

def mapped():
    return "libtorch_cpu" in Path("/proc/self/maps").read_text(encoding="utf-8")

assert not mapped()
_load_libraries(Path(importlib.util.find_spec("torch").origin).parent / "lib")
assert mapped() and "torch" not in sys.modules
load_torch()
load_torch()
assert sys.modules["torch"].ones(2, 2).matmul(sys.modules["torch"].ones(2, 2)).sum() == 8
"""

COLLECTED = """
import gc, sys
from napari_medzoo.widgets.libraries import load_torch

gc.collect()
full = []
gc.callbacks.append(lambda phase, info: full.append(phase) if info["generation"] == 2 else None)
{load}
assert gc.isenabled() and "torch" in sys.modules
print(len(full), len(gc.get_objects(0)) + len(gc.get_objects(1)))
"""


def run(code: str) -> str:
    """What it printed, in a process that has no PyTorch yet."""
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True)
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is loaded is read from /proc")
def test_torch_finds_its_libraries_loaded_and_works():
    run(LOADED)


def test_loading_torch_does_not_set_off_a_full_collection():
    plain, _ = map(int, run(COLLECTED.format(load="import torch")).split())
    full, young = map(int, run(COLLECTED.format(load="load_torch()")).split())
    assert plain > 0, "a plain import sets one off, else there is nothing to spare the window"
    assert full == 0
    assert young < 10_000, "what the import made is old now, and no collection of the young will look at it"
