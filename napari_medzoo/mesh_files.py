"""Surfaces as files: STL, PLY and OBJ, in mm, in the coordinates that the reading program expects.

Millimetres are written in LPS+ (x to the person's left, y to the back) as 3D Slicer, ITK and DICOM have them, or in
RAS+ as napari, FreeSurfer and nibabel. None of the formats has a field for that; like 3D Slicer we say ``SPACE=LPS``
or ``SPACE=RAS`` in the comment at the top, which it reads back. The one is the other turned by half around the body
axis, so that triangles face outwards in both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing
from napari_medzoo.meshes import Mesh
from napari_medzoo.progress import Progress, Steps

SPACES = {"LPS": (-1, -1, 1), "RAS": (1, 1, 1)}
"""Coordinates of a file → what x, y and z of RAS+ mm are multiplied with."""

DEFAULT_SPACE = "LPS"


@dataclass(frozen=True)
class MeshFormat:
    """A way to write surfaces.

    Attributes
    ----------
    title : str
        As a file dialog shows it.
    holds : str
        What of several classes stays apart in one file.
    write : callable
        ``write(meshes, path, space)`` writes them all to `path`, and companions beside it.
    """

    title: str
    holds: str
    write: Callable[[Sequence[Mesh], Path, str], None]


def write_meshes(
    meshes: Sequence[Mesh], path: Path, space: str = DEFAULT_SPACE, overwrite: bool = False
) -> Steps[tuple[Path, ...]]:
    """Write surfaces into one file.

    Parameters
    ----------
    meshes : sequence of Mesh
    path : pathlib.Path
        Its ending is a key of `MESH_FORMATS`.
    space : str
        A key of `SPACES`.
    overwrite : bool

    Yields
    ------
    Progress

    Returns
    -------
    tuple of pathlib.Path
        The file.

    Raises
    ------
    MedzooError
        For another ending or space, or a file that exists or cannot be written.
    """
    form = _form(path.suffix, space)
    yield Progress(f"Writing {path.name}")
    with replacing(path, overwrite) as temporary:
        form.write(meshes, temporary, space)
    return (path,)


def write_each(
    meshes: Sequence[Mesh], folder: Path, suffix: str, space: str = DEFAULT_SPACE, overwrite: bool = False
) -> Steps[tuple[Path, ...]]:
    """Write a file for each surface into `folder` (made where it is missing), called by index and name of the class.

    Parameters
    ----------
    meshes, space, overwrite
        As for `write_meshes`.
    folder : pathlib.Path
    suffix : str
        A key of `MESH_FORMATS`.

    Yields
    ------
    Progress

    Returns
    -------
    tuple of pathlib.Path
        In the order of `meshes`.

    Raises
    ------
    MedzooError
        As `write_meshes`; nothing is written if one of the files exists.
    """
    _form(suffix, space)
    paths = [folder / f"{mesh.label.index:03d}_{_plain(mesh.label.name)}{suffix.lower()}" for mesh in meshes]
    for path in paths if not overwrite else ():
        if path.exists():
            raise MedzooError(f"{path}: exists already; choose another folder or allow overwriting (--overwrite).")
    folder.mkdir(parents=True, exist_ok=True)
    for done, (mesh, path) in enumerate(zip(meshes, paths, strict=True)):
        yield Progress(f"Writing to {folder.name}", done, len(paths))
        yield from write_meshes([mesh], path, space, overwrite)
    return tuple(paths)


def _form(suffix: str, space: str) -> MeshFormat:
    if suffix.lower() not in MESH_FORMATS:
        raise MedzooError(f"Surfaces cannot be written as '{suffix}'; choose one of: {', '.join(MESH_FORMATS)}.")
    if space not in SPACES:
        raise MedzooError(f"Surfaces cannot be written in '{space}'; choose one of: {', '.join(SPACES)}.")
    return MESH_FORMATS[suffix.lower()]


def _write_stl(meshes: Sequence[Mesh], path: Path, space: str) -> None:
    triangles = np.concatenate([_points(mesh, space)[mesh.faces] for mesh in meshes])
    records = np.zeros(len(triangles), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    records["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    records["corners"] = triangles
    # A header that began with "solid" would be taken for the text form.
    header = _comment(space).encode("ascii").ljust(80)
    with path.open("wb") as file:
        file.write(header + np.uint32(len(triangles)).astype("<u4").tobytes())
        file.write(records.tobytes())


def _write_ply(meshes: Sequence[Mesh], path: Path, space: str) -> None:
    points = np.concatenate([_points(mesh, space) for mesh in meshes])
    colors = np.concatenate(
        [np.tile(np.array(mesh.label.color, dtype=np.uint8), (len(mesh.vertices), 1)) for mesh in meshes]
    )
    vertices = np.zeros(len(points), dtype=[("place", "<f4", 3), ("color", "u1", 3)])
    vertices["place"], vertices["color"] = points, colors
    corners = np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, _offsets(meshes), strict=True)])
    faces = np.zeros(len(corners), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, corners
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {_comment(space)}",
        *(f"comment {_line(mesh)}" for mesh in meshes),
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {color}" for color in ("red", "green", "blue")),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    with path.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii", "replace"))
        file.write(vertices.tobytes() + faces.tobytes())


def _write_obj(meshes: Sequence[Mesh], path: Path, space: str) -> None:
    """Groups and materials are called by index and name; the colours lie in the ``.mtl`` beside the file."""
    materials = path.with_suffix(".mtl")
    names = [f"{mesh.label.index}_{_plain(mesh.label.name)}" for mesh in meshes]
    with materials.open("w", encoding="ascii", newline="\n") as file:
        for mesh, name in zip(meshes, names, strict=True):
            red, green, blue = (part / 255 for part in mesh.label.color)
            file.write(f"newmtl {name}\nKd {red:.4f} {green:.4f} {blue:.4f}\n\n")
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"# {_comment(space)}\nmtllib {materials.name}\n")
        for mesh, name, offset in zip(meshes, names, _offsets(meshes), strict=True):
            file.write(f"g {name}\nusemtl {name}\n")
            file.writelines(f"v {x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in _points(mesh, space).tolist())
            file.writelines(f"f {a} {b} {c}\n" for a, b, c in (mesh.faces + offset + 1).tolist())


MESH_FORMATS = {
    ".stl": MeshFormat("STL (for 3D printing)", "no names and no colours: all classes become one body", _write_stl),
    ".ply": MeshFormat("PLY with colours", "a colour for each class", _write_ply),
    ".obj": MeshFormat("OBJ with groups", "a named group for each class, its colour in the .mtl beside it", _write_obj),
}
"""Ending → how surfaces are written."""


def _points(mesh: Mesh, space: str) -> NDArray[np.float32]:
    return mesh.vertices * np.array(SPACES[space], dtype=np.float32)


def _offsets(meshes: Sequence[Mesh]) -> NDArray[Any]:
    """How many vertices stand in the file before each mesh's own."""
    return np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])


def _comment(space: str) -> str:
    return f"napari-medzoo, mm. SPACE={space}"


def _line(mesh: Mesh) -> str:
    return f"{mesh.label.index} {mesh.label.name} {mesh.label.color} {mesh.voxels_ml:.4f} mL"


def _plain(name: str) -> str:
    """A name that every file system and every reader of OBJ takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "class"
