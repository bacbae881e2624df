"""The comparison as tables, from whatever of it is finished: a CSV file, and a page with pictures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from napari_medzoo.io import replacing

from .benchmark_config import Benchmark, Contestant
from .benchmark_outcome import Outcome, read_outcomes, require_same_protocol
from .config import Recipe
from .scores import summarise


@dataclass(frozen=True)
class Row:
    """A network of the benchmark and the outcomes of all its trainings that are finished.

    Attributes
    ----------
    network : Contestant
    recipe : Recipe
        Of one of the trainings.
    outcomes : tuple of Outcome
        At least one; of the network that it is the same as, where it is.
    summary : dict
        What `scores.summarise` says of all their cases.
    """

    network: Contestant
    recipe: Recipe
    outcomes: tuple[Outcome, ...]
    summary: dict[str, Any]

    @property
    def dice(self) -> float:
        """Mean over labels and subjects; 0 where no case has any label."""
        return self.summary["mean"]["dice_mean"] or 0.0

    @property
    def has_lesions(self) -> bool:
        """Whether all trainings were scored on the lesions of a real patient."""
        return all(one.lesions is not None for one in self.outcomes)

    def mean(self, part: str, figure: str) -> float:
        """Mean over the trainings of a figure of `part`: ``training``, ``inference`` or ``lesions``."""
        return mean(getattr(getattr(one, part), figure) for one in self.outcomes)

    def peak_mb(self, part: str) -> float:
        """Peak memory of `part` in the hungriest training."""
        return max(getattr(one, part).peak_bytes for one in self.outcomes) / 1e6


def rows_of(benchmark: Benchmark, output: Path) -> tuple[Row, ...]:
    """The rows of all networks with a finished training, best Dice first.

    Raises
    ------
    MedzooError
        If one was trained by another protocol.
    """
    found = read_outcomes(output)
    rows = []
    for network in benchmark.networks:
        outcomes = tuple(one for one in found if one.network == (network.same_as or network.name))
        for one in outcomes:
            recipe = benchmark.recipe_of(benchmark[one.network], one.fold, one.seed)
            require_same_protocol(recipe, one.network, one.recipe)
        if outcomes:
            summary = summarise(recipe, [score for one in outcomes for score in one.scores])
            rows.append(Row(network, recipe, outcomes, summary))
    return tuple(sorted(rows, key=lambda row: -row.dice))


def figures(row: Row) -> dict[str, Any]:
    """All figures of a row by their names in the CSV file."""
    summary = row.summary
    found: dict[str, Any] = {
        "network": row.network.name,
        "same_as": row.network.same_as or "",
        "dice_mean": summary["mean"]["dice_mean"],
        "dice_sd": summary["mean"]["dice_sd"],
        "hd95_mean_mm": summary["mean"]["hd95_mean_mm"],
        "hd95_sd_mm": summary["mean"]["hd95_sd_mm"],
    }
    for label in summary["labels"]:
        found[f"dice_{label['name']}"] = label["dice_mean"]
        found[f"hd95_{label['name']}_mm"] = label["hd95_mean_mm"]
    if row.has_lesions:
        found["lesion_dice"] = round(row.mean("lesions", "dice"), 4)
        found["lesion_sensitivity"] = round(row.mean("lesions", "sensitivity"), 4)
        found["lesions_false"] = row.mean("lesions", "false")
        found["lesion_load_ml"] = round(row.mean("lesions", "load_ml"), 3)
    return found | {
        "parameters": row.outcomes[0].parameters,
        "gflop": round(row.outcomes[0].gflop, 2),
        "precision": row.recipe.precision,
        "steps": row.recipe.steps,
        "training_cpu_s": round(row.mean("training", "cpu_seconds"), 1),
        "seconds_per_step": round(mean(one.seconds_per_step for one in row.outcomes), 3),
        "training_peak_mb": round(row.peak_mb("training")),
        "inference_wall_s": round(row.mean("inference", "wall_seconds"), 4),
        "inference_cpu_s": round(row.mean("inference", "cpu_seconds"), 4),
        "inference_peak_mb": round(row.peak_mb("inference")),
        "folds": len({one.fold for one in row.outcomes}),
        "seeds": len({one.seed for one in row.outcomes}),
        "subjects": summary["subjects"],
    }


def write_report(benchmark: Benchmark, output: Path, docs: Path | None = None) -> tuple[Path, ...]:
    """Write the tables and pictures of what is finished; returns the paths of what was written.

    Parameters
    ----------
    benchmark : Benchmark
    output : pathlib.Path
        Of the benchmark: ``NAME.csv``, ``NAME.md`` and ``images/NAME-*.png`` go there.
    docs : pathlib.Path, optional
        Another folder for the same files.

    Raises
    ------
    MedzooError
        If a training is of another protocol.
    """
    from .benchmark_cards import shipped
    from .benchmark_page import page
    from .benchmark_plots import write_curves, write_scatter

    rows = rows_of(benchmark, output)
    if not rows:
        return ()
    cards = {benchmark.card_name(one.network): size for one, size in shipped(benchmark, output)}
    written = []
    for folder in (output, *([docs] if docs else [])):
        images = folder / "images"
        images.mkdir(parents=True, exist_ok=True)
        written += [
            _write_csv(folder / f"{benchmark.name}.csv", rows),
            _write_text(folder / f"{benchmark.name}.md", page(benchmark, rows, cards)),
            write_scatter(images / f"{benchmark.name}-dice.png", rows),
            write_curves(images / f"{benchmark.name}-curves.png", rows, output),
        ]
    return tuple(written)


def _write_csv(path: Path, rows: Sequence[Row]) -> Path:
    table = [figures(row) for row in rows]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    return path


def _write_text(path: Path, text: str) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
