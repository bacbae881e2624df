"""The offer to bring back corrections that a crash or a closed window left unsaved."""

from __future__ import annotations

from napari.utils.notifications import show_error
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_medzoo.changes import difference
from napari_medzoo.errors import MedzooError
from napari_medzoo.journal import Unsaved, find_unsaved
from napari_medzoo.widgets.editing import Editing
from napari_medzoo.widgets.parts import button, note, row
from napari_medzoo.widgets.scoring.background import Newest


class RestoreView(QWidget):
    """Seen only if there is something to bring back to the layer under correction.

    Attributes
    ----------
    unsaved : list of Unsaved
        Newest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unsaved: list[Unsaved] = []
        self.newest = Newest(self)
        self._editing: Editing | None = None
        self.text = note()
        self.text.setStyleSheet("background: #7a4b00; color: white; padding: 4px;")
        self.restore = button("Restore", "Bring the corrections back as one step of undo", self.bring_back)
        self.discard = button("Throw away", "Delete them for good", self.throw_away)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 6)
        layout.addWidget(self.text)
        layout.addLayout(row(self.restore, self.discard))
        self._offer([])

    def look(self, editing: Editing | None) -> None:
        """Look for what was left of a layer's labels, in a thread; None looks for nothing."""
        self._editing = editing
        self._offer([])
        if editing is not None:
            original = editing.original
            self.newest.ask("unsaved", lambda: find_unsaved(original), lambda found: self._found(editing, found))

    def bring_back(self) -> None:
        """Bring back the newest corrections that were not saved."""
        editing = self._editing
        if editing is None or not self.unsaved:
            return
        unsaved = self.unsaved[0]
        try:
            change = difference(editing.original, unsaved.restored(editing.original))
        except MedzooError as error:
            show_error(str(error))
            return
        editing.apply(change, "Restore unsaved corrections", unsaved.edits)
        editing.flush()  # it is in the new journal before the old one goes
        self.throw_away()

    def throw_away(self) -> None:
        """Delete the corrections that were offered."""
        if self.unsaved:
            self.unsaved[0].path.unlink(missing_ok=True)
        self._offer(self.unsaved[1:])

    def _found(self, editing: Editing, found: list[Unsaved]) -> None:
        if editing is self._editing:
            self._offer(found)

    def _offer(self, unsaved: list[Unsaved]) -> None:
        self.unsaved = unsaved
        self.setVisible(bool(unsaved))
        if unsaved:
            edits = unsaved[0].edits
            when = edits[-1].when.replace("T", " ").replace("+00:00", " UTC")
            count = "A correction was not saved" if len(edits) == 1 else f"{len(edits)} corrections were not saved"
            last = "" if len(edits) == 1 else "the last "
            self.text.setText(
                f"{count}, {last}({edits[-1].action.lower()}) by {edits[-1].who} at {when}, on labels "
                f"called '{unsaved[0].name}'."
            )
