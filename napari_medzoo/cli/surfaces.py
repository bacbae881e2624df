"""``medzoo surfaces``: the surfaces of classes as mesh files."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medzoo.cli.options import Overwrite
from napari_medzoo.cli.show import follow, say, table
from napari_medzoo.errors import MedzooError

if TYPE_CHECKING:
    from napari_medzoo.labels import LabelTable, Segmentation


class Form(StrEnum):
    """What files in a folder are written as."""

    stl = "stl"
    ply = "ply"
    obj = "obj"


class Space(StrEnum):
    """Coordinates of the files."""

    LPS = "LPS"
    RAS = "RAS"


def surfaces(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="The label map.")],
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="PATH", help="One file (.stl, .ply, .obj), or a folder: a file for each class."
        ),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A class by name or index; may be repeated [default: all that are present]."),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="The files of a folder.")] = Form.stl,
    smooth: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="MM", help="Smooth away what is narrower; 0: not at all [default: 4 voxels]."),
    ] = None,
    space: Annotated[
        Space, typer.Option(help="LPS as 3D Slicer and ITK expect, RAS as FreeSurfer and napari.")
    ] = Space.LPS,
    scheme: Annotated[
        str | None, typer.Option("--labels", metavar="SCHEME", help="The numbering, if the file does not name it.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the surfaces of classes as meshes.

    Smoothed without shrinking: every surface has its voxels' volume. Coordinates are the scanner's, in mm.

    \b
      medzoo surfaces labels.nii.gz --output meshes
      medzoo surfaces labels.nii.gz --label Left-Hippocampus --label Right-Hippocampus -o hippocampi.ply
      medzoo surfaces lesions.nii.gz --smooth 2 --space RAS --output lesions.stl
    """
    from napari_medzoo import meshes
    from napari_medzoo.io import read_segmentation
    from napari_medzoo.label_tables import count_values, label_table
    from napari_medzoo.mesh_files import MESH_FORMATS, write_each, write_meshes

    one_file = bool(output.suffix) and not output.is_dir()
    if one_file and output.suffix.lower() not in MESH_FORMATS:
        raise MedzooError(f"{output}: end the file in one of {', '.join(MESH_FORMATS)}, or name a folder.")
    if one_file and output.exists() and not overwrite:
        raise MedzooError(f"{output} exists already; add --overwrite, or choose another --output.")
    segmentation = read_segmentation(labels, label_table(scheme) if scheme else None)
    present = [index for index in count_values(segmentation.data)[0] if index > 0]
    chosen = [_index(text, segmentation.table) for text in label] if label else _named(present, segmentation)
    made = follow(meshes.surfaces(segmentation, list(dict.fromkeys(chosen)), smooth))
    if one_file:
        output.parent.mkdir(parents=True, exist_ok=True)
        follow(write_meshes(made, output, str(space), overwrite))
    else:
        follow(write_each(made, output, f".{form}", str(space), overwrite))
    rows = [("Index", "Class", "Voxels mL", "Surface mL", "Area cm²", "Triangles")]
    rows += [
        (
            str(mesh.label.index),
            mesh.label.name,
            f"{mesh.voxels_ml:.3f}",
            f"{mesh.volume_ml:.3f}",
            f"{mesh.area_cm2:.1f}",
            str(len(mesh.faces)),
        )
        for mesh in made
    ]
    typer.echo(table(rows, numbers=(0, 2, 3, 4, 5)))
    say(f"Wrote {output} ({space}, mm)")


def _index(text: str, names: LabelTable) -> int:
    """A class as typed: its name, whatever the case, or its index."""
    found = [one.index for one in names.foreground if text.lower() == one.name.lower() or text == str(one.index)]
    if not found:
        some = ", ".join(one.name for one in names.foreground[:40])
        raise MedzooError(f"Label table '{names.name}' has no class '{text}'; choose one of: {some}.")
    return found[0]


def _named(present: Sequence[int], segmentation: Segmentation) -> list[int]:
    """What is present and has a name; at least one."""
    named = [index for index in present if index in segmentation.table]
    if not named:
        raise MedzooError(
            "The labels have no voxel of a class that their table names; choose the numbering (--labels)."
        )
    return named
