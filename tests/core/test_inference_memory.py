"""What is free, what is needed."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from napari_medzoo.inference.memory import (
    _cgroup_available,
    activation_bytes,
    available_memory_bytes,
    tune_malloc,
    without_collection,
)


def write_group(folder: Path, limit: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cache}\n")


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    path = tmp_path / "membership"
    path.write_text("0::/system.slice/job.scope\n")
    return path


def test_version_2_counts_the_file_cache_as_free(tmp_path: Path, membership: Path) -> None:
    write_group(tmp_path / "system.slice" / "job.scope", "1000", 700, 100)
    write_group(tmp_path / "system.slice", "max", 900, 0)
    assert list(_cgroup_available(tmp_path, membership)) == [400]


def test_every_enclosing_group_counts(tmp_path: Path, membership: Path) -> None:
    write_group(tmp_path / "system.slice" / "job.scope", "1000", 700, 100)
    write_group(tmp_path / "system.slice", "2000", 1900, 0)
    assert sorted(_cgroup_available(tmp_path, membership)) == [100, 400]


def test_inside_a_container_the_own_group_is_the_root(tmp_path: Path, membership: Path) -> None:
    write_group(tmp_path, "1000", 1200, 0)
    assert list(_cgroup_available(tmp_path, membership)) == [0]


def test_version_1(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("11:cpu,cpuacct:/job\n4:memory:/job\n")
    group = tmp_path / "memory" / "job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("1000")
    (group / "memory.usage_in_bytes").write_text("300")
    (group / "memory.stat").write_text("total_inactive_file 50\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(str(2**63 - 4096))
    assert list(_cgroup_available(tmp_path, membership)) == [750]


def test_no_groups_no_limits(tmp_path: Path) -> None:
    assert not list(_cgroup_available(tmp_path, tmp_path / "absent"))


def test_available_memory_is_within_the_machine() -> None:
    assert 0 < available_memory_bytes() <= psutil.virtual_memory().total


def test_activations_are_counted_exactly() -> None:
    """Input and result of each convolution, the first input kept to the end by its caller."""
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.Conv3d(8, 4, 3, padding=1)).eval()
    voxels = 8 * 10 * 12
    assert activation_bytes(network, 1, (8, 10, 12)) == 4 * voxels * (1 + 8 + 4)


def test_counting_takes_no_memory() -> None:
    with torch.device("meta"):
        network = nn.Conv3d(1, 1000, 1).eval()
    assert activation_bytes(network, 1, (1024, 1024, 1024)) == 4 * 2**30 * 1001


def test_malloc_is_tuned_on_glibc() -> None:
    import platform

    assert tune_malloc() is (sys.platform == "linux" and platform.libc_ver()[0] == "glibc")


class Ring:
    """Garbage that only the cyclic collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations that were collected."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_nothing_is_collected_while_something_loads_and_all_of_it_can_be_afterwards(collections: list[int]) -> None:
    with without_collection():
        rings = weakref.WeakSet(Ring() for _ in range(10_000))
        assert len(rings) == 10_000
        assert collections == []
    assert gc.isenabled()
    assert not gc.get_objects(1), "what came is among the oldest"
    gc.collect()
    assert len(rings) == 0


def test_the_collector_runs_again_after_an_error_and_stays_off_where_it_was() -> None:
    with pytest.raises(OSError, match="no such library"), without_collection():
        raise OSError("no such library")
    assert gc.isenabled()
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
