"""``medzoo lesions``: every lesion of a label map, and how far it agrees with a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_medzoo.cli.options import Overwrite
from napari_medzoo.cli.show import say, table


def lesions(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="The label map.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the list as tab-separated values.")
    ] = None,
    label: Annotated[
        list[int] | None,
        typer.Option(metavar="INDEX", help="An index that is lesion; may be repeated [default: by its name]."),
    ] = None,
    minimum: Annotated[
        float, typer.Option(min=0.0, metavar="MM3", help="Leave out what is smaller than so many mm³.")
    ] = 3.0,
    reference: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lesions to compare with, on the same grid.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option("--labels", metavar="SCHEME", help="The numbering, if the file does not name it.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """List the lesions of a label map.

    Each with its volume, the point in its middle (RAS, mm), its largest extent, and its region where the labels name
    ventricles and cortex: periventricular or juxtacortical (within 2 mm), infratentorial, deep. A lesion is a
    connected object (26 neighbours) of the class that is called a lesion, or of the only class there is.

    \b
      medzoo lesions labels.nii.gz --output lesions.tsv
      medzoo lesions labels.nii.gz --reference consensus.nii.gz
      medzoo lesions mask.nii.gz --label 1 --minimum 10
    """
    from napari_medzoo.io import read_segmentation, replacing
    from napari_medzoo.label_tables import label_table
    from napari_medzoo.lesions import compare_lesions, find_lesions

    segmentation = read_segmentation(labels, label_table(scheme) if scheme else None)
    found = find_lesions(segmentation, label, minimum)
    agreement = None
    if reference:
        agreement = compare_lesions(segmentation, read_segmentation(reference), minimum, label)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output, overwrite) as temporary:
            temporary.write_text(found.to_tsv(), encoding="utf-8")
    typer.echo(table(found.rows(), numbers=range(6)))
    typer.echo(f"{len(found.lesions)} lesions, {found.load_ml:.2f} mL")
    if agreement is not None:
        typer.echo(
            f"Against {reference}: Dice {agreement.dice:.3f}, {agreement.found} of {agreement.lesions} lesions found, "
            f"{agreement.false} false, {agreement.reference_load_ml:.2f} mL there"
        )
    if found.left_out:
        say(f"{found.left_out} objects below {minimum:g} mm³ are left out.")
    if output:
        say(f"Wrote {output}")
