"""From a patient's raw scans to lesions on the FLAIR: how long it takes, where the time goes, and what it looks like.

    python benchmarks/lesion_flow.py --output docs

The T1w, T2w and FLAIR of `ms/patient12_raw` (Lesjak et al. 2017), as they came off the scanner on three grids, take the
way of `medzoo segment --model lesions-t1-t2-flair --grid flair --bias-field` and of `medzoo lesions`. For an idle
computer.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.cards import load_card
from napari_medzoo.inference import predict
from napari_medzoo.inference.provenance import STEPS
from napari_medzoo.io import load_study
from napari_medzoo.labels import Segmentation
from napari_medzoo.lesions import LesionList, find_lesions, lesion_indices
from napari_medzoo.pictures import PLANES, display, draw, png, side_by_side
from napari_medzoo.preprocess.recipe import BiasCorrection
from napari_medzoo.progress import run
from napari_medzoo.study import Volume

DATA = Path(os.environ.get("MEDZOO_DATA") or Path(__file__).parents[2] / "shared" / "data")
MODEL = "lesions-t1-t2-flair"
HEIGHT = 260

PAGE = """# From raw scans to lesions

The T1w, T2w and FLAIR of one MS patient (`ms/patient12_raw`, Lesjak et al. 2017, CC-BY), on three grids and defaced:
aligned, corrected for bias (N4), segmented by `{model}`, labelled on the FLAIR's own grid.
On {threads} processor cores:

{times}

**{count} lesions of 3 mm³ and more, {load:.1f} mL together.** The ten largest:

{lesions}

![The FLAIR, and the lesions on it, in the planes that show most of them](images/lesion_flow.png)

Nobody has drawn this patient's lesions; the picture is to be judged by eye.
Written by `python benchmarks/lesion_flow.py --output docs`.
"""


def table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def picture(scan: Volume, segmentation: Segmentation) -> NDArray[np.uint8]:
    """The planes with most lesion voxels, ``(H, W, 3) uint8``: the scan alone, and below it with its lesions."""
    lesions = np.isin(segmentation.data, lesion_indices(segmentation.table))
    shown = display(scan, replace(segmentation, data=np.where(lesions, segmentation.data, 0)))
    rows = []
    for labels in (False, True):
        planes = []
        for name, view in PLANES.items():
            others = tuple(axis for axis in range(3) if axis != view.through)
            most = int(np.count_nonzero(shown.labels, axis=others).argmax())
            planes.append(draw(shown, name, most, HEIGHT, labels))
        rows.append(side_by_side(planes))
    return np.concatenate(rows)


def lesion_rows(found: LesionList) -> list[tuple[str, ...]]:
    """Number, volume, extent, region and place of the ten largest."""
    return [
        (
            str(one.number),
            f"{one.volume_ml:.2f}",
            f"{one.extent_mm:.0f}",
            one.region,
            " ".join(f"{position:.0f}" for position in one.centre_mm),
        )
        for one in found.lesions[:10]
    ]


def main() -> None:
    """Run the flow once and write page and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="Folder of the page; pictures go to images/ in it.")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    card = load_card(MODEL)
    recipe = card.preprocessing.model_copy(update={"bias_correction": BiasCorrection()})
    started = time.perf_counter()
    study = load_study(DATA / "ms" / "patient12_raw")
    read = time.perf_counter() - started
    corrected = card.model_copy(update={"preprocessing": recipe})
    segmentation = run(predict(study, corrected, grid="flair", threads=arguments.threads))
    total = time.perf_counter() - started
    found = find_lesions(segmentation)
    steps = {"reading": read, **segmentation.provenance["timings_s"]}
    told = sorted(steps.items(), key=lambda item: -item[1])
    rows = [(STEPS.get(step, step.lower()), f"{seconds:.1f}") for step, seconds in told]
    (arguments.output / "images").mkdir(parents=True, exist_ok=True)
    (arguments.output / "images" / "lesion_flow.png").write_bytes(png(picture(study["flair"], segmentation)))
    page = PAGE.format(
        model=MODEL,
        threads=arguments.threads,
        times=table(("step", "seconds"), [*rows, ("**all**", f"**{total:.1f}**")]),
        count=len(found.lesions),
        load=found.load_ml,
        lesions=table(("lesion", "mL", "largest extent (mm)", "region", "centre (mm, RAS)"), lesion_rows(found)),
    )
    (arguments.output / "lesion_flow.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
