"""The embedded brains are there, real, on their grids, and need no network."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.samples import SAMPLES, load_sample, sample_reference


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a sample was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("key", SAMPLES)
def test_a_sample_is_a_t1w_of_an_adult_brain(key: str) -> None:
    study = load_sample(key)
    assert study.modalities == ("t1w",)
    volume = study["t1w"]
    assert 0.9 < min(volume.grid.spacing) <= max(volume.grid.spacing) < 1.2
    head_ml = np.count_nonzero(volume.data > 0.2 * np.percentile(volume.data, 99)) * volume.grid.voxel_volume_ml
    assert 1200 < head_ml < 4500
    assert SAMPLES[key].licence
    assert SAMPLES[key].source


def test_the_single_subject_keeps_its_own_axes() -> None:
    assert load_sample("myconnectome")["t1w"].grid.axis_codes == "LAS"


def test_the_single_subject_has_no_face() -> None:
    volume = load_sample("myconnectome")["t1w"]
    head = volume.data > 25
    # Below the eyes and in front of the brain stem's centre line nothing may reach as far forward as the forehead.
    forehead = np.flatnonzero(head[:, :, 90:].any(axis=(0, 2))).max()
    lower = np.flatnonzero(head[:, :, :35].any(axis=(0, 2))).max()
    assert (forehead - lower) * volume.grid.spacing[1] > 25


def test_the_reference_lies_on_the_template_and_matches_its_contrast() -> None:
    volume, reference = load_sample("mni152")["t1w"], sample_reference("mni152")
    assert reference.grid.same_as(volume.grid)
    assert [label.name for label in reference.table.foreground] == ["GM", "WM"]
    assert set(np.unique(reference.data)) == {0, 2, 3}
    gray, white = volume.data[reference.data == 2], volume.data[reference.data == 3]
    assert np.median(white) > 1.2 * np.median(gray), "in a T1w white matter is brighter"
    volumes = reference.volumes_ml()
    assert 500 < volumes[3] < 900
    assert 600 < volumes[2] < 1300


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(MedzooError, match="choose one of: mni152, myconnectome"):
        load_sample("colin27")
    with pytest.raises(MedzooError, match="no reference segmentation; choose one of: mni152"):
        sample_reference("myconnectome")
