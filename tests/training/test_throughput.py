from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.throughput import as_lines, compare_precisions, speedup
from napari_medzoo_training.trials import WARMUP, Block
from typer.testing import CliRunner


def test_the_ratio_is_of_neighbours_so_that_a_slower_computer_changes_nothing() -> None:
    """All becomes three times slower halfway through; bf16 stays twice as fast."""
    times = [("bf16", 1.0), ("32", 2.0), ("bf16", 1.0), ("32", 2.0), ("bf16", 3.0), ("32", 6.0), ("bf16", 3.0)]
    assert speedup([Block(kind, 5, 5 * seconds, 0.0) for kind, seconds in times]) == pytest.approx(2.0)


def test_both_precisions_are_measured(packed_maps: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_medzoo_training import throughput

    plans = []
    own = throughput.measure

    def measure(recipe: Recipe, source: object, plan: list, device: str) -> list[Block]:
        plans.append(plan)
        return own(recipe, source, plan, device)  # type: ignore[arg-type]

    monkeypatch.setattr(throughput, "measure", measure)
    report = compare_precisions(recipe, packed_maps.parent, steps=6, device="cpu", threads=1)
    assert plans == [[("bf16", WARMUP), ("32", WARMUP), ("bf16", 5), ("32", 5), ("bf16", 5), ("32", 5)]]
    assert report["steps_of_each"] == 10 and report["patch"] == [16, 16, 16]
    for figures in report["precisions"].values():
        low, high = figures["fastest_and_slowest_block"]
        assert 0 < low <= figures["seconds_per_step"] <= high
        assert figures["steps_per_second"] == pytest.approx(1 / figures["seconds_per_step"], rel=0.1)
        assert 0 < figures["share_waiting_for_data"] < 1
    assert report["peak_memory_mb"] > 50
    text = as_lines(report)
    assert f"bf16 is {report['bf16_speedup']:.2f} times as fast" in text


@pytest.mark.slow
def test_the_command_leaves_a_report_and_nothing_else(packed_maps: Path, recipe: Recipe, tmp_path: Path) -> None:
    from napari_medzoo_training.__main__ import app

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    call = ["throughput", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "run"), "--steps", "2"]
    said = CliRunner().invoke(app, [*call, "--device", "cpu", "--threads", "1"])
    assert said.exit_code == 0, said.exception
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["throughput.yaml"]
    report = yaml.safe_load((tmp_path / "run" / "throughput.yaml").read_text())
    assert report["recipe"] == "tiny" and report["threads"] == 1 and set(report["precisions"]) == {"bf16", "32"}
    assert "bf16 is" in said.output
