"""What `medzoo segment` writes: the labels, and beside them their names, volumes, provenance and report."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medzoo.errors import MedzooError

if TYPE_CHECKING:
    from napari_medzoo.evaluate import EvaluationReport
    from napari_medzoo.labels import Segmentation
    from napari_medzoo.study import FileInfo, Study


def companions(output: Path, report: bool) -> dict[str, Path]:
    """The files that belong to the labels at `output`, by what they hold."""
    from napari_medzoo.io import stem_of

    stem = stem_of(output)
    files = {
        "names": output.with_name(f"{stem}.tsv"),
        "volumes": output.with_name(f"{stem}_volumes.csv"),
        "provenance": output.with_name(f"{stem}_provenance.json"),
    }
    if report:
        files["report"] = output.with_name(f"{stem}_report.html")
    return files


def refuse_existing(output: Path, report: bool, overwrite: bool) -> None:
    """Refuse to begin where the result could not be written: an unknown format, or something exists already.

    Raises
    ------
    MedzooError
        Naming the file.
    """
    from napari_medzoo.io.formats import format_for_writing

    format_for_writing(output)
    if overwrite:
        return
    other_half = {".hdr": ".img", ".img": ".hdr"}.get(output.suffix.lower(), output.suffix)
    for path in (output, output.with_suffix(other_half), *companions(output, report).values()):
        if path.exists():
            raise MedzooError(f"{path} exists already; add --overwrite to replace it, or choose another --output.")


def write_result(
    segmentation: Segmentation,
    study: Study,
    output: Path,
    *,
    like: FileInfo | None = None,
    overwrite: bool = False,
    report: bool = False,
    evaluation: EvaluationReport | None = None,
    reference: Segmentation | None = None,
) -> Path:
    """Write the labels and everything that belongs to them; all files appear together or none does.

    Parameters
    ----------
    segmentation, study : Segmentation, Study
        The result and what it was made from.
    output : pathlib.Path
        The label file; its folder is made where it is missing.
    like : FileInfo, optional
        The scan whose header the labels take over.
    overwrite, report : bool
        Whether files may be replaced; whether to write the HTML report too.
    evaluation, reference : EvaluationReport, Segmentation, optional
        Scores for the report, and what they were measured against.

    Raises
    ------
    MedzooError
        If a file exists (without `overwrite`) or cannot be written.
    """
    from napari_medzoo.io import replacing, write_segmentation
    from napari_medzoo.label_tables import write_label_table
    from napari_medzoo.report import write_report

    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output, overwrite) as temporary:
        try:
            files = companions(temporary, report)
            write_segmentation(segmentation, temporary, like=like)
            # A reader that finds this table beside the labels shows their names and colours.
            write_label_table(segmentation.table, files["names"])
            _write_volumes(segmentation, files["volumes"])
            provenance = {**segmentation.provenance, "warnings": list(segmentation.warnings), "output": output.name}
            files["provenance"].write_text(
                json.dumps(provenance, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            if report:
                write_report(files["report"], study, segmentation, evaluation, reference=reference)
        except MedzooError as error:
            raise MedzooError(str(error).replace(str(temporary.parent), str(output.parent))) from error
    return output


def _write_volumes(segmentation: Segmentation, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("index", "name", "volume_ml"))
        for index, volume in segmentation.volumes_ml().items():
            rows.writerow((index, segmentation.table[index].name, f"{volume:.4f}"))
