"""Cancel acts at once although a forward pass cannot be stopped."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from napari_medzoo.inference.background import INTERVAL_S, busy, in_background, wait_for_discarded
from napari_medzoo.progress import Progress, run
from tests.core.tiny_model import collect

STAGE = Progress("Segmenting")


def test_result_and_signs_of_life() -> None:
    steps = in_background(lambda: time.sleep(2.5 * INTERVAL_S) or 42, STAGE)  # type: ignore[func-returns-value]
    seen, result = collect(steps)
    assert result == 42
    assert len(seen) >= 3
    assert set(seen) == {STAGE}
    assert not busy()


def test_runs_in_another_thread() -> None:
    assert run(in_background(threading.get_ident, STAGE)) != threading.get_ident()


def test_an_exception_is_raised_here_and_cleans_up() -> None:
    cleaned = []

    def fail() -> None:
        raise KeyError("no such layer")

    with pytest.raises(KeyError, match="no such layer"):
        run(in_background(fail, STAGE, lambda: cleaned.append(1)))
    assert cleaned
    assert not busy()


def test_closing_returns_at_once_and_the_result_is_freed() -> None:
    started, go_on, cleaned = threading.Event(), threading.Event(), threading.Event()
    results: list[weakref.ref] = []

    def forward_pass() -> np.ndarray:
        started.set()
        assert go_on.wait(30)
        array = np.zeros(1000)
        results.append(weakref.ref(array))
        return array

    steps = in_background(forward_pass, STAGE, cleaned.set)
    next(steps)
    assert started.wait(30)
    before = time.perf_counter()
    steps.close()
    assert time.perf_counter() - before < 0.5
    assert busy()
    assert not cleaned.is_set(), "memory cannot be freed under a running pass"

    waiting = wait_for_discarded()
    assert "cancelled" in next(waiting).stage
    go_on.set()
    run(waiting)
    assert not busy()
    assert cleaned.is_set()
    gc.collect()
    assert results[0]() is None


def test_closing_after_the_end_cleans_up_too() -> None:
    finished, cleaned = threading.Event(), []
    steps = in_background(finished.set, STAGE, lambda: cleaned.append(1))
    next(steps)
    assert finished.wait(30)
    time.sleep(0.1)
    steps.close()
    run(wait_for_discarded())
    assert cleaned


def test_a_taken_result_is_not_cleaned_up() -> None:
    cleaned: list[int] = []
    assert run(in_background(lambda: 1, STAGE, lambda: cleaned.append(1))) == 1
    assert not cleaned
