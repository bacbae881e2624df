"""Short work off the main thread, where only the newest request of a kind matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.qt.threading import FunctionWorker, thread_worker
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal

from napari_medzoo.errors import MedzooError
from napari_medzoo.widgets.jobs import Outcome


class Newest(QObject):
    """Runs one request at a time; one that waits is replaced by a newer one of its kind.

    So a brush that asks for its score ten times a second, and clicks faster than their answer, never queue up.
    """

    idle = Signal()
    """Nothing runs and nothing waits any more."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {}
        self._worker: FunctionWorker | None = None

    @property
    def busy(self) -> bool:
        """Whether something runs."""
        return self._worker is not None

    def ask(self, kind: str, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run `work` in a thread as soon as possible; `done` gets its result in the main thread.

        A `MedzooError` becomes a notification, any other error is raised in the main thread.
        """
        self._waiting[kind] = (work, done)
        self._next()

    def forget(self) -> None:
        """Drop what waits, and the answer of what runs."""
        self._waiting.clear()
        self._worker = None

    def _next(self) -> None:
        if self._worker is not None:
            return
        if not self._waiting:
            self.idle.emit()
            return
        work, done = self._waiting.pop(next(iter(self._waiting)))
        worker = thread_worker(_outcome)(work)
        self._worker = worker
        worker.returned.connect(lambda outcome: self._returned(worker, outcome, done))
        worker.start()

    def _returned(self, worker: FunctionWorker, outcome: Outcome, done: Callable[[Any], None]) -> None:
        if worker is not self._worker:
            return
        self._worker = None
        try:
            if isinstance(outcome.error, MedzooError):
                show_error(str(outcome.error))
            elif outcome.error is not None:
                raise outcome.error
            else:
                done(outcome.result)
        finally:
            self._next()


def _outcome(work: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(work())
    except Exception as error:  # handed to the main thread, which raises what is not meant for the person
        return Outcome(error=error)
