"""Libraries that are loaded without Python's lock are those that the import then uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import sys
from pathlib import Path
from napari_medzoo.widgets.libraries import load_torch_libraries

def mapped():
    return "libtorch_cpu" in Path("/proc/self/maps").read_text(encoding="utf-8")

assert not mapped()
load_torch_libraries()
assert mapped() and "torch" not in sys.modules
import torch
load_torch_libraries()
assert torch.ones(2, 2).matmul(torch.ones(2, 2)).sum() == 8
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is loaded is read from /proc")
def test_torch_finds_its_libraries_loaded_and_works():
    subprocess.run([sys.executable, "-c", LOADED], check=True, timeout=120)
