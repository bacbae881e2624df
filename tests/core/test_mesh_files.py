"""Mesh files: read back by readers of a few lines, written from the formats' descriptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Label
from napari_medzoo.mesh_files import MESH_FORMATS, SPACES, write_each, write_meshes
from napari_medzoo.meshes import Mesh
from napari_medzoo.progress import run

CORNERS = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]], dtype=np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)
MESHES = (
    Mesh(CORNERS + np.float32([-20, 5, 1]), FACES, Label(17, "Left hippocampus (head)", (220, 216, 20)), 0.004),
    Mesh(CORNERS * 2 + np.float32([20, 5, 1]), FACES, Label(53, "Right/hippocampus", (0, 118, 14)), 0.032),
)


def read_stl(path: Path) -> tuple[bytes, np.ndarray, np.ndarray]:
    content = path.read_bytes()
    count = int(np.frombuffer(content, "<u4", 1, 80)[0])
    assert len(content) == 84 + 50 * count
    records = np.frombuffer(content, np.dtype("<f4, (3,3)<f4, <u2".replace("<f4, (3", "(3,)<f4, (3")), count, 84)
    return content[:80], records["f0"], records["f1"]


def read_ply(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    vertices, faces = (int(line.split()[-1]) for line in lines if line.startswith("element"))
    points = np.frombuffer(body, np.dtype("(3,)<f4, (3,)u1"), vertices)
    rest = body[vertices * 15 :]
    corners = np.frombuffer(rest, np.dtype("u1, (3,)<i4"), faces)
    assert len(rest) == faces * 13
    assert (corners["f0"] == 3).all()
    return lines, points["f0"], points["f1"], corners["f1"]


def volume(triangles: np.ndarray) -> float:
    return float(np.linalg.det(triangles.astype(float)).sum() / 6)


@pytest.mark.parametrize("space", SPACES)
def test_stl_has_every_triangle_facing_outwards(tmp_path, space):
    path = tmp_path / "both.stl"
    assert run(write_meshes(MESHES, path, space)) == (path,)
    header, normals, triangles = read_stl(path)
    assert f"SPACE={space}".encode() in header
    assert not header.startswith(b"solid")
    sign = np.array({"RAS": (1, 1, 1), "LPS": (-1, -1, 1)}[space])
    expected = np.concatenate([mesh.vertices[mesh.faces] for mesh in MESHES]) * sign
    np.testing.assert_array_equal(triangles, expected)
    assert volume(triangles) == pytest.approx(4 + 32)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    middles = triangles.mean(axis=1) - np.repeat([triangles[:4].mean((0, 1)), triangles[4:].mean((0, 1))], 4, axis=0)
    assert ((normals * middles).sum(axis=1) > 0).all()


def test_left_is_positive_in_lps_and_negative_in_ras(tmp_path):
    for space, sign in (("LPS", 1), ("RAS", -1)):
        run(write_meshes(MESHES[:1], tmp_path / f"{space}.stl", space))
        assert (sign * read_stl(tmp_path / f"{space}.stl")[2][..., 0] > 10).all()


def test_ply_has_a_colour_for_each_class(tmp_path):
    run(write_meshes(MESHES, tmp_path / "both.PLY", "RAS"))
    lines, points, colors, corners = read_ply(tmp_path / "both.PLY")
    assert any("SPACE=RAS" in line for line in lines)
    np.testing.assert_array_equal(points, np.concatenate([mesh.vertices for mesh in MESHES]))
    np.testing.assert_array_equal(colors, np.repeat([mesh.label.color for mesh in MESHES], 4, axis=0))
    assert volume(points[corners]) == pytest.approx(4 + 32)


def test_obj_has_a_group_and_a_material_for_each_class(tmp_path):
    run(write_meshes(MESHES, tmp_path / "both.obj", "LPS"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.mtl", "both.obj"]
    lines = [line.split() for line in (tmp_path / "both.obj").read_text(encoding="ascii").splitlines()]
    assert lines[0][-1] == "SPACE=LPS"
    assert ["mtllib", "both.mtl"] in lines
    groups = [line[1] for line in lines if line[0] == "g"]
    assert groups == ["17_Left-hippocampus-head", "53_Right-hippocampus"]
    assert [line[1] for line in lines if line[0] == "usemtl"] == groups
    points = np.array([line[1:] for line in lines if line[0] == "v"], dtype=float)
    corners = np.array([line[1:] for line in lines if line[0] == "f"], dtype=int) - 1
    assert volume(points[corners]) == pytest.approx(4 + 32)
    materials = (tmp_path / "both.mtl").read_text(encoding="ascii")
    assert "newmtl 53_Right-hippocampus\nKd 0.0000 0.4627 0.0549" in materials


@pytest.mark.parametrize("suffix", MESH_FORMATS)
def test_a_file_for_each_class(tmp_path, suffix):
    folder = tmp_path / "new" / "meshes"
    paths = run(write_each(MESHES, folder, suffix))
    assert [path.name for path in paths] == [f"017_Left-hippocampus-head{suffix}", f"053_Right-hippocampus{suffix}"]
    assert all(path.is_file() for path in paths)
    with pytest.raises(MedzooError, match="exists already"):
        run(write_each(MESHES, folder, suffix))
    run(write_each(MESHES, folder, suffix, overwrite=True))


def test_mistakes_write_nothing(tmp_path):
    with pytest.raises(MedzooError, match=r"choose one of: \.stl, \.ply, \.obj"):
        run(write_meshes(MESHES, tmp_path / "both.vtk"))
    with pytest.raises(MedzooError, match="choose one of: LPS, RAS"):
        run(write_meshes(MESHES, tmp_path / "both.stl", "LPI"))
    (tmp_path / "old.stl").write_bytes(b"old")
    with pytest.raises(MedzooError, match="exists already"):
        run(write_meshes(MESHES, tmp_path / "old.stl"))
    assert (tmp_path / "old.stl").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["old.stl"]
