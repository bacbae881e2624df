"""The positions that were tried, so that each can be had back."""

from __future__ import annotations

from napari_medzoo.preprocess.alignment import Pose


class History:
    """A line of poses and the present one among them.

    Parameters
    ----------
    first : Pose
    """

    def __init__(self, first: Pose) -> None:
        self._poses, self._at, self._open = [first], 0, ""

    @property
    def pose(self) -> Pose:
        """The present one."""
        return self._poses[self._at]

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier pose."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a later pose."""
        return self._at < len(self._poses) - 1

    def push(self, pose: Pose, part_of: str = "") -> None:
        """Go on to a new pose; what was undone is dropped. Equal names `part_of` in a row make one step of undo."""
        goes_on = bool(part_of) and part_of == self._open and not self.can_redo
        self._poses = [*self._poses[: self._at + (not goes_on)], pose]
        self._at = len(self._poses) - 1
        self._open = part_of

    def undo(self) -> None:
        """Go back one pose, where there is one."""
        self._at, self._open = max(self._at - 1, 0), ""

    def redo(self) -> None:
        """Go on one pose, where there is one."""
        self._at, self._open = min(self._at + 1, len(self._poses) - 1), ""
