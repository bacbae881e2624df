"""The page of a benchmark: its protocol, its tables and what they leave unsaid, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .benchmark_config import Benchmark, Contestant
from .lesion_validation import TITLE

if TYPE_CHECKING:
    from .benchmark_report import Row

MANY = 4
"""From so many labels on, the page has the HD95 of each in the CSV file only."""


def page(benchmark: Benchmark, rows: Sequence[Row], cards: Mapping[str, float]) -> str:
    """The whole page, from rows in the order of the tables and the cards that are shipped (name → MB)."""
    name = benchmark.name
    parts = [
        f"# {benchmark.title}",
        f"<!-- Written by: medzoo-train benchmark {name} --report-only --docs docs -->",
        protocol(benchmark, rows),
        "## What they reach",
        accuracy_table(rows),
        lesion_section(rows),
        f"![Dice against time, and against parameters](images/{name}-dice.png)",
        "## What they cost",
        cost_table(benchmark, rows),
        "\n".join(f"- {line}" for line in notes(benchmark, rows)),
        "## How they learn",
        f"![The loss of every network over the training](images/{name}-curves.png)",
        "The loss that each network descends along, a running mean. Networks with auxiliary outputs or a loss of their "
        "own (such as `densevoxelnet` and `segresnet_vae`) add these to it; of those, only the shapes can be compared.",
        "## Trained weights",
        weights(benchmark, rows, cards),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(benchmark: Benchmark, rows: Sequence[Row]) -> str:
    """What is the same for all, and how much of it was done."""
    recipe = rows[0].recipe
    patches = recipe.steps * recipe.batch
    folds = sorted({one.fold for row in rows for one in row.outcomes})
    seeds = sorted({one.seed for row in rows for one in row.outcomes})
    machines = sorted({f"{one.training.device}, {one.training.threads} thread(s)" for r in rows for one in r.outcomes})
    done = {frozenset((one.fold, one.seed) for one in row.outcomes) for row in rows}
    lines = [
        f"**Held out**: {_held_out(benchmark, rows, folds)}; no weights were chosen on them. "
        f"{_numbers('Seed', seeds)}.",
        f"**Budget**: {benchmark.output_voxels / 1e6:.1f} million voxels of output for every network, that is "
        f"{patches} patches of {_size(benchmark.patch)}, {benchmark.batch} a step, the same patches for all.",
        f"**Training**: {benchmark.optimiser.name}, rate {benchmark.learning_rate:g} falling to "
        f"{benchmark.final_learning_rate:g}, losses {' + '.join(term.name for term in recipe.losses)}, "
        f"{'augmentation' if benchmark.study is None else 'synthesis'} and preparation of the recipe "
        f"`{benchmark.recipe}`{_changes(benchmark)}; the averaged weights after the last step are scored.",
        "**Scores**: hard Dice and the 95th percentile of the surface distance on whole "
        f"{'scans at their own resolution' if benchmark.study is None else 'studies'}, mean over labels (no "
        "background), then mean ± standard deviation over subjects.",
        f"**Machine**: {'; '.join(machines)}.",
    ]
    if len(done) > 1:
        lines.append("**Unfinished**: not every network has had the same folds and seeds yet; see the last column.")
    intro = f"Every network by one protocol, `medzoo-train benchmark {benchmark.name}`."
    return f"{intro} {benchmark.introduction}".strip() + "\n\n" + "\n".join(f"- {line}" for line in lines)


def _held_out(benchmark: Benchmark, rows: Sequence[Row], folds: Sequence[int]) -> str:
    subjects = max(row.summary["subjects"] for row in rows)
    where = f"{_numbers('fold', folds)} of {len(benchmark.read_folds())}"
    if benchmark.study is None:
        return f"{subjects} subjects, {where} ([the subjects of each]({_source(benchmark)}))"
    maps = f"{subjects} label map{'s' if subjects > 1 else ''}"
    return (
        f"{maps}, {where} ([the maps of each]({_source(benchmark)})), of each the same synthetic study of "
        f"{_size(benchmark.study)} voxels of {sum(benchmark.voxel_mm) / 2:g} mm for all networks"
    )


def _changes(benchmark: Benchmark) -> str:
    return f" (with {', '.join(f'`{change}`' for change in benchmark.changes)})" if benchmark.changes else ""


def accuracy_table(rows: Sequence[Row]) -> str:
    """Dice and HD95 of every label (HD95 of few labels only), best first."""
    labels = [label["name"] for label in rows[0].summary["labels"]]
    apart = labels if len(labels) < MANY else []
    head = ["network", "Dice", *(f"Dice {name}" for name in labels), "HD95 (mm)", *(f"HD95 {name}" for name in apart)]
    body = []
    for row in rows:
        parts = row.summary["labels"]
        whole = row.summary["mean"]
        body.append(
            [
                _name(row),
                f"**{_plus_minus(whole['dice_mean'], whole['dice_sd'], 3)}**",
                *(_number(part["dice_mean"], 3) for part in parts),
                _plus_minus(whole["hd95_mean_mm"], whole["hd95_sd_mm"], 2),
                *(_number(part["hd95_mean_mm"], 2) for part in parts[: len(apart)]),
                f"{len({one.fold for one in row.outcomes})} × {len({one.seed for one in row.outcomes})}",
            ]
        )
    return markdown_table([*head, "folds × seeds"], body)


def lesion_section(rows: Sequence[Row]) -> str:
    """What they find in the real patient, in the order of the first table; empty where none was scored on it."""
    scored = [row for row in rows if row.has_lesions]
    if not scored:
        return ""
    raters = scored[0].outcomes[0].lesions
    assert raters is not None
    head = ["network", "Dice of lesions", f"found of {raters.lesions}", "false lesions", "load (mL)"]
    body = [
        [
            _name(row),
            f"**{row.mean('lesions', 'dice'):.3f}**",
            f"{row.mean('lesions', 'found'):g}",
            f"{row.mean('lesions', 'false'):g}",
            f"{row.mean('lesions', 'load_ml'):.2f}",
        ]
        for row in scored
    ]
    text = (
        f"{TITLE}: {raters.lesions} lesions of 3 mm³ and more, {raters.reference_load_ml:.2f} mL. None of these "
        "networks has seen a real scan. A lesion is found where one voxel of it is labelled, and false where it holds "
        "no voxel of the consensus."
    )
    return f"### On a real patient\n\n{text}\n\n{markdown_table(head, body)}"


def cost_table(benchmark: Benchmark, rows: Sequence[Row]) -> str:
    """Parameters, operations, time and memory, in the order of the first table."""
    head = [
        "network",
        "parameters (M)",
        f"GFLOP of {_size(benchmark.patch)}",
        "training (CPU min)",
        "CPU s per step",
        "training, peak (MB)",
        "precision",
        "s per case (CPU s)",
        "inference, peak (MB)",
    ]
    body = [
        [
            _name(row),
            f"{row.outcomes[0].parameters / 1e6:.2f}",
            f"{row.outcomes[0].gflop:.1f}",
            f"{row.mean('training', 'cpu_seconds') / 60:.1f}",
            f"{row.mean('training', 'cpu_seconds') / row.recipe.steps:.2f}",
            f"{row.peak_mb('training'):.0f}",
            row.recipe.precision,
            f"{row.mean('inference', 'wall_seconds'):.2f} ({row.mean('inference', 'cpu_seconds'):.2f})",
            f"{row.peak_mb('inference'):.0f}",
        ]
        for row in rows
    ]
    return markdown_table(head, body)


def notes(benchmark: Benchmark, rows: Sequence[Row]) -> list[str]:
    """What the tables leave unsaid: shared rows, departures from the protocol, networks that stay behind."""
    inference = rows[0].outcomes[0].inference
    lines = [
        "Operations are of a forward pass of one training patch, a multiply-add counted as two. Times of inference are "
        f"medians over {inference.cases} whole held-out cases, run with {inference.backend} in {inference.precision}. "
        "Memory is that of the whole process, with Python and its libraries."
    ]
    shared: dict[str, list[str]] = {}
    departures: dict[str, list[str]] = {}
    for network in benchmark.networks:
        if network.same_as:
            shared.setdefault(f"{network.same_as}\n{network.reason}", []).append(network.name)
        elif departure := _departure(benchmark, network):
            departures.setdefault(f"{departure}\n{network.reason}", []).append(network.name)
    for key, names in shared.items():
        other, reason = key.split("\n")
        lines.append(f"{_codes(names)}: the same function as `{other}` here, which was trained once. {reason}")
    for key, names in departures.items():
        departure, reason = key.split("\n")
        lines.append(f"{_codes(names)}: trained {departure}. {reason}")
    behind = [row.network.name for row in rows if benchmark.enough and row.dice < benchmark.enough]
    if behind:
        lines.append(f"Below a mean Dice of {benchmark.enough:.2f}: {_codes(behind)}.")
    lines += [f"`{network.name}`: {network.remark}" for network in benchmark.networks if network.remark]
    missing = [network.name for network in benchmark.networks if network.name not in {row.network.name for row in rows}]
    if missing:
        lines.append(f"Not trained yet: {_codes(missing)}.")
    return lines


def _departure(benchmark: Benchmark, network: Contestant) -> str:
    words = [f"in precision {network.precision} instead of {benchmark.precision}"] if network.precision else []
    words += [f"on {network.budget:g} times the voxels"] if network.budget != 1 else []
    return " and ".join([*words, *([f"with {_codes(network.changes)}"] if network.changes else [])])


def weights(benchmark: Benchmark, rows: Sequence[Row], cards: Mapping[str, float]) -> str:
    """Which networks come as cards (`cards`: name → MB), and what trains the others."""
    parts = []
    if cards:
        parts.append(
            f"With the package come {_codes(list(cards))}: the networks of fewer than {benchmark.ship_below / 1e6:g} "
            f"million parameters, the best first, as far as {benchmark.ship_mb:g} MB reach ({sum(cards.values()):.1f} "
            "MB in half precision)."
        )
    known = [row for row in rows if row.network.card]
    parts += [f"`{row.network.card}` is `{row.network.name}`, trained longer, by a recipe of its own." for row in known]
    others = [row for row in rows if not row.network.same_as and row not in known and row.recipe.name not in cards]
    if others:
        table = [[_name(row), f"`{benchmark.command(row.network)}`"] for row in others]
        parts.append(markdown_table(["network", "command that trains it and writes its card"], table))
        where = f"runs/{benchmark.name}/NETWORK/seed-S/fold-F/model"
        parts.append(f"Each leaves its card in `{where}`; `medzoo segment --model` takes its path.")
    return "\n\n".join(parts)


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table whose columns are aligned in the source as well."""
    rows = [list(head), ["---"] * len(head), *(list(row) for row in body)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    rows[1] = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows
    )


def _name(row: Row) -> str:
    return f"`{row.network.name}`" + (" (shared)" if row.network.same_as else "")


def _codes(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _numbers(word: str, numbers: Sequence[int]) -> str:
    return f"{word}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _size(patch: Sequence[int]) -> str:
    return "×".join(map(str, patch))


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _plus_minus(value: float | None, deviation: float | None, digits: int) -> str:
    return _number(value, digits) + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _source(benchmark: Benchmark) -> str:
    return f"../training/recipes/{benchmark.folds.name}"
