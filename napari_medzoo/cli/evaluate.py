"""``medzoo evaluate``: score labels against a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medzoo.cli.show import say

if TYPE_CHECKING:
    from napari_medzoo.labels import Segmentation


def evaluate(
    prediction: Annotated[Path, typer.Argument(metavar="PREDICTION", help="The labels to score.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The labels they are scored against.")],
    labels: Annotated[
        str | None,
        typer.Option(metavar="SCHEME", help="The prediction's numbering; the reference's too unless it has its own."),
    ] = None,
    reference_labels: Annotated[
        str | None, typer.Option(metavar="SCHEME", help="The reference's numbering, where it is another.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, metavar="MM", help="Distance that NSD forgives.")
    ] = 1.0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the scores as JSON.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table as CSV.")] = None,
) -> None:
    """Score labels against a reference.

    Per structure: Dice, HD95, ASSD, NSD (surface Dice), and both volumes.

    Both must lie on one grid. SCHEME is aseg, mrbrains, tissue, brats or muse, or the path of a label table
    (BIDS .tsv, FreeSurfer LUT, ITK-SNAP, nnU-Net dataset.json); a table beside the label file is found without
    asking. Two numberings are brought into a common one by declared rules (aseg into tissue, muse into aseg
    ...) or refused. The background is never part of a mean. A structure that one side lacks has Dice 0; one that
    both lack has no score. Files of --json and --csv are replaced.

    \b
      medzoo evaluate labels.nii.gz reference.nii.gz
      medzoo evaluate labels.nii.gz aseg.mgz --labels aseg --csv scores.csv
      medzoo evaluate labels.nii.gz truth.nii.gz --labels aseg --reference-labels tissue --json scores.json
    """
    from napari_medzoo.evaluate import comparable
    from napari_medzoo.evaluate import evaluate as score
    from napari_medzoo.io import replacing

    first = _read(prediction, labels)
    second = _read(reference, reference_labels or labels)
    report = score(*comparable(first, second), tolerance_mm=tolerance)
    for path, text in ((json_file, report.to_json()), (csv_file, report.to_csv())):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            say(f"Wrote {path}")
    typer.echo(report.to_table())


def _read(path: Path, scheme: str | None) -> Segmentation:
    from napari_medzoo.io import read_segmentation
    from napari_medzoo.label_tables import label_table

    return read_segmentation(path, label_table(scheme) if scheme else None)
