"""A study's result as one HTML file that needs nothing else: pictures, volumes, scores and where it all came from."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import METRICS, EvaluationReport
from napari_medzoo.io.safe import replacing
from napari_medzoo.label_files import hex_color
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.pictures import PLANES, Display, display, draw, draw_overlay, png, side_by_side
from napari_medzoo.study import MODALITIES, Study, Volume

__all__ = ["RESEARCH_ONLY", "draw_overlay", "png", "structures", "write_report"]

RESEARCH_ONLY = "Research use only, not for diagnosis."

_SIDE = re.compile(r"^(left|right)[\s_-]+|[\s_-]+(left|right)$", re.IGNORECASE)

_PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2329; max-width: 1080px; margin: 1.5rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.subtitle { color: #5a6672; margin: .2rem 0 1rem }
.notice { background: #fff4d6; border-left: 4px solid #d69a00; padding: .5rem .8rem; font-weight: 600 }
.warnings { background: #fdecea; border-left: 4px solid #c0392b; padding: .5rem .8rem .5rem 2rem; margin: .8rem 0 }
figure { margin: .6rem 0 } img { max-width: 100%; background: #000; display: block }
figcaption { color: #5a6672; font-size: .85rem; margin-top: .25rem }
table { border-collapse: collapse; width: 100% } th, td { padding: .2rem .6rem; border-bottom: 1px solid #e3e7eb }
th { text-align: right; font-weight: 600; color: #5a6672 } td { text-align: right; font-variant-numeric: tabular-nums }
th.name, td.name, .record td { text-align: left; vertical-align: top }
tr.mean td { font-weight: 600; border-top: 2px solid #9aa5b0 }
.swatch { display: inline-block; width: .8rem; height: .8rem; border: 1px solid #888; margin-right: .5rem }
.notes { color: #5a6672; font-size: .85rem }
pre { background: #f5f7f9; padding: .8rem; overflow-x: auto; font-size: 12px }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid } tr, figure { break-inside: avoid } }
</style></head><body>
<h1>$title</h1><p class="subtitle">$subtitle</p>
<p class="notice">$notice</p>
$warnings
<h2>Labels on the scan</h2>$pictures
<h2>Volumes</h2>$volumes
$scores
<h2>Where this comes from</h2>$provenance
<p class="notice">$notice</p>
</body></html>
""")


@dataclass(frozen=True)
class Structure:
    """A structure as a report lists it: with both sides, or `left` alone for one that has no sides."""

    name: str
    left: Label
    right: Label | None = None


def structures(table: LabelTable) -> tuple[Structure, ...]:
    """The foreground labels of a table with left and right sides joined by name, in order of appearance."""
    sides: dict[str, dict[str, Label]] = {}
    for label in table.foreground:
        found = _SIDE.search(label.name)
        side = next(filter(None, found.groups())).lower() if found else ""
        sides.setdefault(_SIDE.sub("", label.name), {})[side] = label
    pairs: list[Structure] = []
    for name, labels in sides.items():
        if {"left", "right"} <= labels.keys():
            pairs.append(Structure(name, labels.pop("left"), labels.pop("right")))
        pairs += [Structure(label.name, label) for label in labels.values()]
    return tuple(pairs)


def write_report(
    path: str | Path,
    study: Study,
    segmentation: Segmentation,
    evaluation: EvaluationReport | None = None,
    *,
    reference: Segmentation | None = None,
    title: str | None = None,
) -> Path:
    """Write a self-contained HTML report, replacing the file in one move.

    Parameters
    ----------
    path : str or pathlib.Path
        The ``.html`` file to write.
    study : Study
        At least one of its volumes must lie on the segmentation's grid: the pictures show that one.
    segmentation : Segmentation
        Its volumes, warnings and provenance are shown.
    evaluation : EvaluationReport, optional
        Scores to show.
    reference : Segmentation, optional
        Drawn on the same slices, below the segmentation, if given.
    title : str, optional
        The study's name by default.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    MedzooError
        If no volume lies on the segmentation's grid, or the file cannot be written.
    """
    path = Path(path)
    volume = _volume_on_grid(study, segmentation)
    page = _PAGE.substitute(
        title=escape(title or study.name),
        subtitle=escape(f"{volume.name} ({MODALITIES.get(volume.modality, 'unknown contrast')}), {volume.grid}"),
        notice=RESEARCH_ONLY,
        warnings=_warnings(dict.fromkeys((*study.warnings, *segmentation.warnings))),
        pictures=_pictures(volume, segmentation, reference),
        volumes=_volumes(segmentation),
        scores=_scores(evaluation, segmentation.table) if evaluation else "",
        provenance=_provenance(study, segmentation.provenance),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _volume_on_grid(study: Study, segmentation: Segmentation) -> Volume:
    for volume in study.volumes.values():
        if volume.grid.same_as(segmentation.grid):
            return volume
    grids = "; ".join(f"{volume.name}: {volume.grid}" for volume in study.volumes.values())
    raise MedzooError(
        f"The labels ({segmentation.grid}) lie on the grid of none of the study's volumes ({grids}); "
        "segment on one of them, or load the scan the labels were made on."
    )


def _warnings(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="warnings">{items}</ul>' if items else ""


def _pictures(volume: Volume, segmentation: Segmentation, reference: Segmentation | None) -> str:
    shown = display(volume, segmentation)
    where = shown.center()
    caption = (
        "Axial, coronal and sagittal slices through the middle of the labels. The person's left is on the left "
        "(L); A anterior, P posterior, S superior, I inferior."
    )
    parts = [
        _figure(_three_planes(shown, where, labels=False), f"The scan alone. {caption}"),
        _figure(_three_planes(shown, where), "The same slices with the labels."),
    ]
    if reference is not None:
        parts.append(_figure(_three_planes(display(volume, reference), where), "The same slices with the reference."))
    strip = [draw(shown, "axial", number, height=230) for number in shown.slices("axial", 8)]
    width = 4 if strip[0].shape[1] < 300 else 3
    for start in range(0, width * 2, width):
        text = "Axial slices from below to above, left on the left." if start else ""
        parts.append(_figure(side_by_side(strip[start : start + width]), text))
    return "".join(parts)


def _three_planes(shown: Display, where: tuple[int, int, int], labels: bool = True) -> Any:
    return side_by_side([draw(shown, plane, where[PLANES[plane].through], labels=labels) for plane in PLANES])


def _figure(picture: Any, caption: str) -> str:
    data = base64.b64encode(png(picture)).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">{below}</figure>'


def _row(cells: Iterable[str], kind: str = "td", css: str = "") -> str:
    first, *rest = cells
    return f'<tr{css}><{kind} class="name">{first}</{kind}>' + "".join(f"<{kind}>{c}</{kind}>" for c in rest) + "</tr>"


def _swatch(label: Label) -> str:
    return f'<span class="swatch" style="background:{hex_color(label.color)}"></span>'


def _volumes(segmentation: Segmentation) -> str:
    volumes = segmentation.volumes_ml()
    rows = [_row(("Structure", "Left mL", "Right mL", "Total mL", "Asymmetry"), "th")]
    absent = []
    for pair in structures(segmentation.table):
        name = _swatch(pair.left) + escape(pair.name)
        left = volumes[pair.left.index]
        right = volumes[pair.right.index] if pair.right else 0.0
        total = left + right
        if total == 0:
            absent.append(pair.name)
        elif pair.right:
            asymmetry = f"{(left - right) / total * 200:+.1f} %"
            rows.append(_row((name, f"{left:.2f}", f"{right:.2f}", f"{total:.2f}", asymmetry)))
        else:
            rows.append(_row((name, "", "", f"{total:.2f}", "")))
    notes = "1 mL = 1000 mm³. Asymmetry is (left − right) / mean of both."
    if absent:
        notes += f" Without a voxel: {', '.join(absent)}."
    return f'<table>{"".join(rows)}</table><p class="notes">{escape(notes)}</p>'


def _scores(evaluation: EvaluationReport, table: LabelTable) -> str:
    rows = [_row(("Label", *(metric.title for metric in METRICS.values())), "th")]
    for score in evaluation.labels:
        if score.present:
            # After a conversion the scored index need not be one of the segmentation's own.
            known = score.index in table and table[score.index].name == score.name
            name = (_swatch(table[score.index]) if known else "") + escape(score.name)
            rows.append(_row((name, *(metric.show(getattr(score, key)) for key, metric in METRICS.items()))))
    means = (metric.show(getattr(evaluation.mean, key)) if metric.averaged else "" for key, metric in METRICS.items())
    rows.append(_row(("mean", *means), css=' class="mean"'))
    remarks = [
        f"NSD at a tolerance of {evaluation.tolerance_mm:g} mm. The background is never averaged in; – is undefined.",
        *evaluation.notes,
    ]
    notes = "".join(f'<p class="notes">{escape(remark)}</p>' for remark in remarks)
    return f"<h2>Scores against the reference</h2><table>{''.join(rows)}</table>{notes}"


def _provenance(study: Study, provenance: Mapping[str, Any]) -> str:
    rows = []
    for modality, volume in study.volumes.items():
        name = MODALITIES.get(modality, modality)
        reason = study.reasons.get(modality, "")
        rows.append(_row((escape(name), escape(f"{volume.name}, {volume.grid}. {reason}".strip()))))
    plain = {key: value for key, value in provenance.items() if isinstance(value, str | int | float)}
    rows += [_row((escape(key.replace("_", " ")), escape(str(value)))) for key, value in plain.items()]
    table = f'<table class="record">{"".join(rows)}</table>'
    if not provenance:
        return table
    text = json.dumps(provenance, indent=2, ensure_ascii=False, default=str)
    return f"{table}<details><summary>Everything that was recorded</summary><pre>{escape(text)}</pre></details>"
