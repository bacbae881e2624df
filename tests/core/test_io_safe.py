"""Outputs appear whole or not at all, and say in a sentence why not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_segmentation, replacing, write_segmentation
from napari_medzoo.labels import BACKGROUND, Label, LabelTable, Segmentation
from napari_medzoo.space import Grid

TABLE = LabelTable("one", (BACKGROUND, Label(1, "part", (9, 9, 9))))
ENDINGS = [".nii.gz", ".nii", ".hdr", ".mgz", ".nrrd", ".nhdr", ".mha", ".mhd"]


def noise(size: int = 12) -> Segmentation:
    data = np.random.default_rng(0).integers(0, 2, (size, size, size)).astype(np.uint8)
    return Segmentation(data, Grid(data.shape, np.diag([-1, 1, 2, 1])), TABLE)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_replacing_moves_companions_along(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as temporary:
        assert temporary.name == "a.txt"
        assert temporary.parent.parent == tmp_path, "on the same disk"
        temporary.write_text("one")
        temporary.with_name("a.raw").write_text("two")
        assert not (tmp_path / "a.txt").exists()
    assert names(tmp_path) == ["a.raw", "a.txt"]


@pytest.mark.parametrize("error", [RuntimeError("defect"), KeyboardInterrupt(), GeneratorExit()])
def test_replacing_leaves_nothing_behind(error: BaseException, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")

    def write() -> None:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_existing_file_is_kept_unless_asked(ending: str, tmp_path: Path) -> None:
    path = write_segmentation(noise(), tmp_path / f"a{ending}")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(MedzooError, match=r"a\..*exists already.*--overwrite"):
        write_segmentation(noise(), path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    empty = Segmentation(np.zeros((3, 4, 5), np.uint8), Grid((3, 4, 5), np.eye(4)), TABLE)
    write_segmentation(empty, path, overwrite=True)
    assert read_segmentation(path).data.shape == (3, 4, 5)
    assert names(tmp_path) == sorted(file.name for file in before)


@pytest.mark.parametrize(("ending", "companion"), [(".hdr", ".img"), (".img", ".hdr"), (".mhd", ".zraw")])
def test_an_existing_companion_is_kept_too(ending: str, companion: str, tmp_path: Path) -> None:
    (tmp_path / f"a{companion}").write_text("mine")
    with pytest.raises(MedzooError, match=rf"a\{companion}: exists already"):
        write_segmentation(noise(), tmp_path / f"a{ending}")
    assert names(tmp_path) == [f"a{companion}"]


def test_an_ending_that_cannot_be_written_is_refused_with_those_that_can(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match=r"labels\.jpg: cannot be written.*\.nii\.gz.*\.mgz.*\.nrrd.*\.mha"):
        write_segmentation(noise(), tmp_path / "labels.jpg")
    with pytest.raises(MedzooError, match="labels: cannot be written"):
        write_segmentation(noise(), tmp_path / "labels")
    assert names(tmp_path) == []


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match=r"a\.nii: its folder does not exist"):
        write_segmentation(noise(), tmp_path / "missing" / "a.nii")
    (tmp_path / "b.nii").mkdir()
    with pytest.raises(MedzooError, match=r"b\.nii: is a folder"):
        write_segmentation(noise(), tmp_path / "b.nii", overwrite=True)


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)  # the superuser, who runs tests in containers, may write anywhere
    with pytest.raises(MedzooError, match=r"a\.nii: could not be written, its folder is read-only"):
        write_segmentation(noise(), tmp_path / "a.nii")


def test_labels_that_the_file_cannot_hold(tmp_path: Path) -> None:
    grid = Grid((3, 4, 5), np.eye(4))
    big = 2**31
    table = LabelTable("big", (BACKGROUND, Label(big, "far", (1, 1, 1))))
    large = Segmentation(np.full(grid.shape, big, np.uint32), grid, table)
    with pytest.raises(MedzooError, match=r"a\.mgz: label 2147483648 is too large, FreeSurfer MGH holds labels up to"):
        write_segmentation(large, tmp_path / "a.mgz")
    negative = Segmentation(np.full(grid.shape, -1, np.int16), grid, TABLE)
    with pytest.raises(MedzooError, match=r"a\.nii: cannot be written, label -1 is negative"):
        write_segmentation(negative, tmp_path / "a.nii")
    unnamed = Segmentation(np.full(grid.shape, 7, np.int16), grid, TABLE)
    with pytest.raises(MedzooError, match=r"a\.nii: the labels contain values that table 'one' does not name: 7"):
        write_segmentation(unnamed, tmp_path / "a.nii")
    assert names(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB; needs the superuser."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by the superuser of Linux")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # ITK keeps the file open that it could not finish


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_nothing_behind(ending: str, small_disk: Path) -> None:
    (small_disk / "other.txt").write_text("stays")
    data = np.random.default_rng(0).integers(0, 256, (128, 128, 64)).astype(np.uint8)
    table = LabelTable("many", tuple(Label(i, f"part {i}", (i, i, i)) for i in range(256)))
    segmentation = Segmentation(data, Grid(data.shape, np.eye(4)), table)
    with pytest.raises(MedzooError, match=r"labels\..*could not be written, the disk is full; free some space"):
        write_segmentation(segmentation, small_disk / f"labels{ending}")
    assert names(small_disk) == ["other.txt"]


def test_a_full_disk_is_a_sentence_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def half(image: nib.Nifti1Image, path: Path) -> None:
        Path(path).write_bytes(b"half a file")
        written.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", half)
    with pytest.raises(MedzooError, match=r"labels\.nii\.gz: could not be written, the disk is full") as caught:
        write_segmentation(noise(), tmp_path / "labels.nii.gz")
    assert "\n" not in str(caught.value)
    assert written
    assert names(tmp_path) == []
