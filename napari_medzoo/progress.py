"""How long work reports itself: generators that yield `Progress` and return their result.

Whoever iterates decides what to do with a step (a progress bar, napari's activity dock, nothing) and
cancels by closing the generator. There are no callbacks.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """One step of a longer piece of work.

    Attributes
    ----------
    stage : str
        What is being done, in words a clinician understands: "Aligning T2w".
    done, total : int
        Finished and expected steps of the stage; `total` is 0 where it cannot be known.
    """

    stage: str
    done: int = 0
    total: int = 0


Steps = Generator[Progress, None, Result]
"""A generator of `Progress` whose return value is the result."""


def run(steps: Steps[Result]) -> Result:
    """Exhaust `steps` without showing anything and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
