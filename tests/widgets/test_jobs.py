"""Work off the main thread: results, errors, Cancel, and when the next run may begin."""

from __future__ import annotations

import gc
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton, QWidget

from napari_medzoo.errors import MedzooError
from napari_medzoo.progress import Progress
from napari_medzoo.state import State, busy_problem
from napari_medzoo.widgets import jobs as jobs_module
from napari_medzoo.widgets.jobs import ActivityBar, Jobs, as_steps


class Forward:
    """Work that, like a forward pass, cannot be interrupted between its steps."""

    def __init__(self) -> None:
        self.entered, self.let_go, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.thread: int | None = None

    def steps(self):
        try:
            yield Progress("Segmenting", 1, 2)
            self.thread = threading.get_ident()
            self.entered.set()
            self.let_go.wait(30)
            yield Progress("Segmenting", 2, 2)
            return "labels"
        finally:
            self.closed.set()


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def jobs(state, qtbot, qapp):
    made = Jobs(state)
    yield made
    made.cancel()
    qtbot.waitUntil(lambda: not state.releasing and not state.work, timeout=30_000)


def test_the_result_arrives_in_the_main_thread_and_work_does_not(jobs, state, qtbot):
    forward, results = Forward(), []
    forward.let_go.set()
    seen = []
    state.events.progress.connect(lambda step: seen.append(step))
    jobs.start("Segmenting", forward.steps(), lambda result: results.append((result, threading.get_ident())))
    assert state.work == "Segmenting"
    qtbot.waitUntil(lambda: not state.work)
    assert results == [("labels", threading.get_ident())]
    assert forward.thread != threading.get_ident()
    assert Progress("Segmenting", 1, 2) in seen
    assert state.progress is None


def test_cancel_frees_the_window_within_a_second_and_the_result_is_thrown_away(jobs, state, qtbot):
    forward, results = Forward(), []
    jobs.start("Segmenting", forward.steps(), results.append)
    qtbot.waitUntil(forward.entered.is_set)
    begin = time.perf_counter()
    jobs.cancel()
    qtbot.waitUntil(lambda: not state.work)
    assert time.perf_counter() - begin < 1
    assert state.releasing
    assert "memory" in busy_problem(state), "the pass in flight still holds its memory"
    forward.let_go.set()
    qtbot.waitUntil(lambda: not state.releasing)
    assert forward.closed.is_set()
    assert results == []
    assert busy_problem(state) == ""


def test_a_worker_that_napari_stops_leaves_nothing_running(jobs, state, qtbot):
    def steps():
        try:
            while True:
                yield Progress("Segmenting")
                time.sleep(0.01)
        finally:
            closed.set()

    closed, results = threading.Event(), []
    jobs.start("Segmenting", steps(), results.append)
    qtbot.waitUntil(lambda: state.progress is not None)
    jobs._worker.quit()
    qtbot.waitUntil(lambda: not state.work and not state.releasing)
    assert closed.is_set()
    assert results == []


def test_a_light_job_may_run_while_a_cancelled_one_ends(jobs, state, qtbot, request):
    """On a computer with one processor, too, for which Qt's pool has one thread."""
    pool = QThreadPool.globalInstance()
    request.addfinalizer(partial(pool.setMaxThreadCount, pool.maxThreadCount()))
    pool.setMaxThreadCount(1)
    forward, results = Forward(), []
    jobs.start("Segmenting", forward.steps(), results.append)
    qtbot.waitUntil(forward.entered.is_set)
    jobs.cancel()
    jobs.start("Reading", as_steps(lambda: "scan"), results.append)
    qtbot.waitUntil(lambda: not state.work)
    assert results == ["scan"]
    forward.let_go.set()
    qtbot.waitUntil(lambda: not state.releasing)
    assert results == ["scan"]


def test_inference_is_asked_before_the_next_run(jobs, state, qtbot, monkeypatch):
    class Busy:
        still = True

        @classmethod
        def busy(cls) -> bool:
            return cls.still

    monkeypatch.setitem(sys.modules, "napari_medzoo.inference", Busy)
    forward = Forward()
    forward.let_go.set()
    jobs.start("Segmenting", forward.steps(), lambda _: None)
    jobs.cancel()
    qtbot.waitUntil(lambda: not jobs._abandoned)
    qtbot.wait(300)
    assert state.releasing
    Busy.still = False
    qtbot.waitUntil(lambda: not state.releasing)


def test_an_error_meant_for_the_person_is_one_notified_sentence(jobs, state, qtbot, notified):
    def steps():
        yield Progress("Reading")
        raise MedzooError("scan.nii is empty; export it again.")

    jobs.start("Reading", steps(), lambda _: pytest.fail("no result was expected"))
    qtbot.waitUntil(lambda: not state.work)
    assert notified == ["scan.nii is empty; export it again."]


@pytest.mark.parametrize("kind", [RuntimeError, ZeroDivisionError])
def test_any_other_error_reaches_naparis_handler(jobs, state, qtbot, kind):
    def steps():
        yield Progress("Segmenting")
        raise kind("a defect")

    with qtbot.captureExceptions() as caught:
        jobs.start("Segmenting", steps(), lambda _: pytest.fail("no result was expected"))
        qtbot.waitUntil(lambda: not state.work)
        qtbot.waitUntil(lambda: bool(caught))
    assert caught[0][0] is kind
    assert str(caught[0][1]) == "a defect"


def test_two_jobs_at_once_are_a_defect(jobs, qtbot):
    forward = Forward()
    jobs.start("Segmenting", forward.steps(), lambda _: None)
    with pytest.raises(RuntimeError, match="while 'Segmenting' runs"):
        jobs.start("Reading", as_steps(lambda: None), lambda _: None)
    forward.let_go.set()


def activity_bars(window: QWidget) -> list[QProgressBar]:
    """The bars in napari's activity dock; their rows also hold a description and a Cancel button."""
    rows = [one for one in window.findChildren(QWidget) if type(one).__name__ == "QtLabeledProgressBar"]
    return [bar for row in rows for bar in row.findChildren(QProgressBar)]


@pytest.mark.parametrize("ending", ["result", "error", "cancel"])
def test_napari_lists_the_job_among_its_activities_until_it_ends(make_napari_viewer, jobs, state, qtbot, ending):
    window, forward = make_napari_viewer().window.add_dock_widget(QWidget(), name="any").window(), Forward()

    def steps():
        yield from forward.steps()
        if ending == "error":
            raise MedzooError("It went wrong.")

    jobs.start("Segmenting", steps(), lambda _: None)
    qtbot.waitUntil(forward.entered.is_set)
    qtbot.waitUntil(lambda: any(bar.maximum() for bar in activity_bars(window)))
    (bar,) = activity_bars(window)
    row = bar.parentWidget()
    assert (bar.value(), bar.maximum()) == (1, 2)
    assert any(label.text().startswith("Segmenting") for label in row.findChildren(QLabel))
    if ending == "cancel":
        row.findChild(QPushButton).click()
        assert not state.work, "at once, although a step is still computing"
    forward.let_go.set()
    qtbot.waitUntil(lambda: not state.work)
    qtbot.waitUntil(lambda: not activity_bars(window))


class Knot:
    """Garbage that only the cyclic collector finds."""

    def __init__(self) -> None:
        self.itself = self


@contextmanager
def collections_by_generation():
    counts = [0, 0, 0]

    def count(phase, info):
        counts[info["generation"]] += phase == "stop"

    gc.callbacks.append(count)
    try:
        yield counts
    finally:
        gc.callbacks.remove(count)


@pytest.mark.parametrize("ending", ["returned", "cancelled"])
def test_the_oldest_objects_are_not_gone_through_while_a_job_runs(jobs, state, qtbot, ending):
    thresholds = gc.get_threshold()
    forward = Forward()
    gc.collect()
    jobs.start("Segmenting", forward.steps(), lambda result: None)
    with collections_by_generation() as counts:
        kept = [[Knot() for _ in range(1000)] for _ in range(500)]  # five times what would bring a full collection
    assert counts[1] > 50
    assert counts[2] == 0
    if ending == "cancelled":
        jobs.cancel()
    forward.let_go.set()
    qtbot.waitUntil(lambda: not state.work)
    assert gc.get_threshold() == thresholds
    with collections_by_generation() as counts:
        kept += [[Knot() for _ in range(1000)] for _ in range(500)]
    assert counts[2] > 0


def test_the_collector_waits_for_the_last_of_the_jobs_of_several_windows(jobs, state, qtbot, qapp):
    thresholds, other_state = gc.get_threshold(), State()
    first, second, other = Forward(), Forward(), Jobs(other_state)
    jobs.start("Segmenting", first.steps(), lambda result: None)
    other.start("Segmenting", second.steps(), lambda result: None)
    first.let_go.set()
    qtbot.waitUntil(lambda: not state.work)
    assert gc.get_threshold() != thresholds
    second.let_go.set()
    qtbot.waitUntil(lambda: not other_state.work)
    assert gc.get_threshold() == thresholds


def test_work_that_is_done_in_a_moment_has_no_activity_that_would_draw_the_window_again(
    jobs, state, qtbot, monkeypatch
):
    def recorded(**given):
        made.append(given["desc"])
        return ActivityBar(**given)

    made: list[str] = []
    monkeypatch.setattr(jobs_module, "ActivityBar", recorded)
    jobs.start("Reading", as_steps(lambda: None), lambda _: None)
    qtbot.waitUntil(lambda: not state.work)
    forward = Forward()
    jobs.start("Segmenting", forward.steps(), lambda _: None)
    qtbot.waitUntil(lambda: bool(made))
    assert made == ["Segmenting"]
    forward.let_go.set()
    qtbot.waitUntil(lambda: not state.work)
