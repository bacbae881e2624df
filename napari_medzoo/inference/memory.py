"""How much memory there is, how much a network needs, and when glibc and Python may look for what can be given back."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_memory_bytes() -> int:
    """Main memory that may still be taken without swapping, within the limits of the container, in bytes."""
    import psutil

    return min([int(psutil.virtual_memory().available), *_cgroup_available(CGROUPS, MEMBERSHIP)])


def _cgroup_available(root: Path, membership: Path) -> Iterator[int]:
    """What every limited control group of this process leaves, in bytes (versions 2 and 1; nothing off Linux)."""
    if not membership.is_file():
        return
    for line in membership.read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, limit_name, used_name, cache_name = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit_name, used_name = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache_name = "total_inactive_file"
        else:
            continue
        # A container often sees its own group mounted as the root, so the named folder may not exist.
        relative = Path(name.lstrip("/"))
        for folder in {base, *(base / part for part in (relative, *relative.parents))}:
            if (folder / limit_name).is_file():
                limit = (folder / limit_name).read_text().strip()
                if limit.isdigit() and int(limit) < 2**60:  # version 1 says "no limit" with a number near 2**63
                    used = int((folder / used_name).read_text())
                    yield max(int(limit) - used + _cache_bytes(folder / "memory.stat", cache_name), 0)


def _cache_bytes(statistics: Path, name: str) -> int:
    """File cache that counts as used but is given back on demand, in bytes."""
    if statistics.is_file():
        for line in statistics.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


@contextmanager
def without_collection() -> Iterator[None]:
    """Load libraries and networks without stopping a window that this process has.

    What an import makes stays for good, but to Python's cyclic collector it looks like garbage piling up: it would go
    through everything that napari holds, a third of a second in which no thread can do anything. It waits, and then
    finds all that came among the objects that have long been there.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # into the oldest generation, without going through it
        if collecting:
            gc.enable()


def tune_malloc() -> bool:
    """Let glibc keep large freed buffers instead of returning each to the system; whether it was done.

    Otherwise every activation is mapped, zeroed and unmapped again, which costs more than the convolution itself
    (1.7–2.5 times on a CPU). Freed memory then stays with the process, for all of it, until `trim_malloc`.
    Threads get arenas of their own, which cannot hold large buffers: call this before the thread that computes
    is started, so that it shares the main one. Linux with glibc only.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    m_mmap_max, m_trim_threshold, m_top_pad, m_arena_max = -4, -1, -2, -8  # <malloc.h>
    settings = ((m_mmap_max, 0), (m_trim_threshold, 2**31 - 1), (m_top_pad, 64 << 20), (m_arena_max, 1))
    done = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(done)


def trim_malloc() -> None:
    """Give freed memory back to the system after a run (see `tune_malloc`); nothing off glibc."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def activation_bytes(network: nn.Module, in_channels: int, shape: tuple[int, int, int]) -> int:
    """Largest sum of float32 tensors alive at once in one forward pass of `(1, in_channels, *shape)`, in bytes.

    Counted, not guessed: the pass runs on torch's meta device, where tensors have shapes but no storage, so it
    takes milliseconds for any network. The input and the logits are included, the weights are not.

    Parameters
    ----------
    network : torch.nn.Module
        On the meta device, in evaluation mode.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Ledger(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: dict[int, int] = {}
            self.peak = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor):
                    storage = leaf.untyped_storage()
                    key = storage._cdata
                    if key not in self.sizes:
                        self.sizes[key] = storage.nbytes()
                        weakref.finalize(storage, self.sizes.pop, key, None)
            self.peak = max(self.peak, sum(self.sizes.values()))
            return result

    with torch.inference_mode(), Ledger() as ledger:
        network(torch.empty((1, in_channels, *shape), device="meta"))
    return ledger.peak
