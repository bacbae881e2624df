"""Long work off the main thread: one job at a time, with progress, cancellation and errors in one place."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import GeneratorWorker, thread_worker
from napari.utils import cancelable_progress
from napari.utils.notifications import show_error
from qtpy.QtCore import QThreadPool, QTimer

from napari_medzoo.errors import MedzooError
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.state import State

RELEASE_CHECK_MS = 100
"""How often a cancelled run is asked whether its memory is back."""

PATIENCE_MS = 400
"""Work that ends sooner gets no line in napari's activity dock: each change of one, and the wheel that turns beside it,
draws the whole window anew."""

NEVER = 2**31 - 1
"""A threshold that the collections of no job reach."""


@dataclass
class Outcome:
    """How a job ended: with a result, with an error, or (both None) cancelled.

    Errors travel as values: napari's generator workers turn a RuntimeError (out of memory is one) into a warning.
    """

    result: Any = None
    error: Exception | None = None


def drive(steps: Steps[Any], cancelled: threading.Event) -> Generator[Progress, None, Outcome]:
    """Run `steps` to the end or until `cancelled` is set, and close them in the thread they ran in."""
    try:
        while not cancelled.is_set():
            try:
                step = next(steps)
            except StopIteration as stop:
                return Outcome(stop.value)
            if not cancelled.is_set():
                yield step
        return Outcome()
    except Exception as error:  # handed to the main thread, which raises what is not meant for the person
        return Outcome(error=error)
    finally:
        steps.close()


def as_steps(function: Callable[[], Any]) -> Steps[Any]:
    """A plain function as a generator without progress of its own."""
    yield Progress("")
    return function()


class ActivityBar(cancelable_progress):
    """A line in napari's activity dock whose Cancel button acts at once.

    napari's own only calls back from a loop over the bar, and a job is not one.
    """

    def cancel(self) -> None:
        """Pressed by the person."""
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()


class _FullCollections:
    """Python's cyclic collector leaves the oldest objects alone while a job runs in any window.

    It would go through everything that napari and the libraries hold, a third of a second in which no thread can do
    anything. What is young is collected as ever.
    """

    running = 0
    usual = (0, 0, 0)

    @classmethod
    def hold(cls) -> None:
        if cls.running == 0:
            cls.usual = gc.get_threshold()
            gc.set_threshold(*cls.usual[:2], NEVER)
        cls.running += 1

    @classmethod
    def release(cls) -> None:
        cls.running -= 1
        if cls.running == 0:
            gc.set_threshold(*cls.usual)


class Jobs:
    """Runs one job at a time and keeps ``state.work``, ``state.progress`` and ``state.releasing`` true.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._worker: GeneratorWorker | None = None
        self._cancelled = threading.Event()
        self._bar: ActivityBar | None = None
        self._patience = QTimer()
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE_MS)
        self._patience.timeout.connect(self._show_bar)
        self._release = QTimer()
        self._release.setInterval(RELEASE_CHECK_MS)
        self._release.timeout.connect(self._check_release)
        self._abandoned: set[GeneratorWorker] = set()

    def start(self, work: str, steps: Steps[Any], done: Callable[[Any], None]) -> None:
        """Begin `steps` in a thread; `done` gets the result in the main thread.

        A `MedzooError` becomes a notification of its sentence; any other error is raised in the main thread, where
        napari shows it with its traceback.

        Parameters
        ----------
        work : str
            What is done, as the person reads it: "Segment".
        steps : generator of Progress
        done : callable
        """
        if self._state.work:
            raise RuntimeError(f"'{work}' was started while '{self._state.work}' runs")
        self._cancelled = cancelled = threading.Event()
        self._state.work, self._state.progress = work, None
        worker = thread_worker(drive)(steps, cancelled)
        self._worker = worker
        _FullCollections.hold()
        # A cancelled job that has not let go yet takes one of the threads; with one processor there is one.
        pool = QThreadPool.globalInstance()
        pool.setMaxThreadCount(max(pool.maxThreadCount(), pool.activeThreadCount() + 1))
        worker.yielded.connect(lambda step: self._stepped(worker, step))
        worker.returned.connect(lambda outcome: self._returned(worker, outcome, done))
        worker.finished.connect(lambda: self._finished(worker, steps))
        worker.start()
        self._patience.start()

    def cancel(self) -> None:
        """Let go of the running job at once; what it still computes is thrown away when it comes."""
        if self._worker is None:
            return
        self._cancelled.set()
        self._abandoned.add(self._worker)
        self._state.releasing = True
        self._end()
        self._release.start()

    def _stepped(self, worker: GeneratorWorker, step: Progress) -> None:
        if worker is not self._worker or not step.stage:
            return
        self._state.progress = step
        self._fill_bar(step)

    def _show_bar(self) -> None:
        worker = self._worker
        bar = ActivityBar(total=0, desc=self._state.work, cancel_callback=self.cancel)
        if worker is not self._worker:  # napari processes events while it makes a bar
            bar.close()
            return
        self._bar = bar
        if self._state.progress is not None:
            self._fill_bar(self._state.progress)

    def _fill_bar(self, step: Progress) -> None:
        # napari's bar processes events at every change, so that the job may have ended before the next line.
        if self._bar is not None and self._bar.total != step.total:
            self._bar.total = step.total
        if self._bar is not None and self._bar.desc != f"{step.stage}: ":
            self._bar.set_description(step.stage)
        if self._bar is not None and self._bar.n != step.done:
            self._bar.update(step.done - self._bar.n)

    def _returned(self, worker: GeneratorWorker, outcome: Outcome, done: Callable[[Any], None]) -> None:
        if worker is not self._worker:
            return
        self._end()
        if isinstance(outcome.error, MedzooError):
            show_error(str(outcome.error))
        elif outcome.error is not None:
            raise outcome.error
        else:
            done(outcome.result)

    def _finished(self, worker: GeneratorWorker, steps: Steps[Any]) -> None:
        self._abandoned.discard(worker)
        if worker is self._worker:  # stopped by napari itself: its window closes, or its own cancel button
            steps.close()
            self._state.releasing = True
            self._end()
            self._release.start()

    def _end(self) -> None:
        self._worker = None
        _FullCollections.release()
        self._patience.stop()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._state.work, self._state.progress = "", None

    def _check_release(self) -> None:
        # A forward pass may outlive its generator; ask inference only if it was ever loaded.
        inference = sys.modules.get("napari_medzoo.inference")
        if not self._abandoned and not (inference is not None and inference.busy()):
            self._release.stop()
            self._state.releasing = False
