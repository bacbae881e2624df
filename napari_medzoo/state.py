"""What the window shows, as evented data without Qt.

`State` is the one record; everything else here is a plain function of it that says what is possible and, if
something is not, why in one sentence. Views listen to ``state.events.<field>`` and never keep a copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import is_
from typing import TYPE_CHECKING, ClassVar

from psygnal import SignalGroupDescriptor

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import LabelTable, Segmentation
from napari_medzoo.preprocess.recipe import Align, BiasCorrection, BrainMask, HeadCrop, Normalise, Preprocessing
from napari_medzoo.progress import Progress
from napari_medzoo.space import Grid
from napari_medzoo.study import MODALITIES, Study, Volume, describe

if TYPE_CHECKING:
    from napari_medzoo.evaluate import EvaluationReport
    from napari_medzoo.preprocess import Prepared

LEFT_OUT = "left out"
"""What a slot's modality reads when the person leaves the scan out of the study."""

STEPS = {
    "align": ("Align the scans to each other", Align),
    "bias_correction": ("Correct bias field (N4)", BiasCorrection),
    "head_crop": ("Crop to the head", HeadCrop),
    "brain_mask": ("Keep the brain only (classical mask)", BrainMask),
    "normalise": ("Scale intensities", Normalise),
}
"""Steps of `Preprocessing` that can be switched: field → words for the window, settings when switched on."""


@dataclass(frozen=True, eq=False)
class Slot:
    """One scan the person gave.

    Attributes
    ----------
    volume : Volume
        As read, on its own grid.
    modality : str
        A key of `MODALITIES`, ``"unknown"`` or `LEFT_OUT`; what the person chose wins over the guess.
    reason : str
        Why it was taken for that, one sentence.
    """

    volume: Volume
    modality: str
    reason: str = ""


@dataclass
class State:
    """Everything the panel shows.

    Attributes
    ----------
    slots : tuple of Slot
        The scans, in the order they were given.
    study_name : str
    cards : mapping of str to ModelCard
    card : str
        Name of the chosen model; empty when there is none.
    settled : tuple of pairs of Grid
        Scans that a person laid on each other by hand; see `napari_medzoo.preprocess.alignment.known_transforms`.
    recipe : Preprocessing or None
        The preparation to use; None takes the card's.
    grid : str
        Modality on whose grid the labels shall lie; empty takes the model's first.
    device, backend : str
        Handed to `napari_medzoo.inference.predict`.
    prepared : Prepared or None
        The last preparation; `prepared_for` tells of what it is (see `preparation_key`).
    segmentation : Segmentation or None
    report : EvaluationReport or None
    work : str
        What runs now, empty when idle.
    progress : Progress or None
    releasing : bool
        A cancelled run still holds its memory; nothing heavy may start before it is gone.
    """

    slots: tuple[Slot, ...] = ()
    study_name: str = "study"
    cards: Mapping[str, ModelCard] = field(default_factory=dict)
    card: str = ""
    settled: tuple[tuple[Grid, Grid], ...] = ()
    recipe: Preprocessing | None = None
    grid: str = ""
    device: str = "auto"
    backend: str = "auto"
    prepared: Prepared | None = None
    prepared_for: tuple[object, ...] = ()
    segmentation: Segmentation | None = None
    report: EvaluationReport | None = None
    work: str = ""
    progress: Progress | None = None
    releasing: bool = False

    # Arrays cannot be compared with ==; a field has changed when it is another object.
    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor(
        equality_operators=dict.fromkeys(("prepared", "segmentation", "report", "recipe", "cards"), is_),
        connect_child_events=False,
    )


def with_modality(slots: tuple[Slot, ...], position: int, modality: str) -> tuple[Slot, ...]:
    """`slots` with the one at `position` marked by hand."""
    words = "Left out by hand." if modality == LEFT_OUT else "Chosen by hand."
    changed = replace(slots[position], modality=modality, reason=words)
    return (*slots[:position], changed, *slots[position + 1 :])


def with_scans(slots: tuple[Slot, ...], new: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """`slots` and `new` ones; a file given again takes its former place instead of standing twice."""
    merged = list(slots)
    for slot in new:
        same = [i for i, old in enumerate(merged) if _same_scan(old.volume, slot.volume)]
        if same:
            merged[same[0]] = slot
        else:
            merged.append(slot)
    return tuple(merged)


def _same_scan(one: Volume, other: Volume) -> bool:
    same_file = one.file is not None and other.file is not None and one.file.path == other.file.path
    return same_file or one.data is other.data


def study_problem(state: State) -> str:
    """Why the slots do not make a study, or an empty text."""
    used = [slot for slot in state.slots if slot.modality != LEFT_OUT]
    if not used:
        return "Choose the scans of one person first."
    for modality, count in Counter(slot.modality for slot in used).items():
        names = " and ".join(f"'{slot.volume.name}'" for slot in used if slot.modality == modality)
        if count > 1 and modality == "unknown":
            return f"Say which contrast {names} are, or leave some out."
        if count > 1:
            return f"{names} are all marked {MODALITIES[modality]}; mark one otherwise or leave it out."
    return ""


def study(state: State) -> Study:
    """The study that the slots make.

    Raises
    ------
    MedzooError
        With the sentence of `study_problem`.
    """
    problem = study_problem(state)
    if problem:
        raise MedzooError(problem)
    used = [slot for slot in state.slots if slot.modality != LEFT_OUT]
    return Study(
        {slot.modality: slot.volume.with_modality(slot.modality) for slot in used},
        state.study_name,
        {slot.modality: slot.reason for slot in used},
    )


def chosen_card(state: State) -> ModelCard:
    """The chosen model with the preparation the person wants.

    Raises
    ------
    MedzooError
        If no model is chosen.
    """
    if state.card not in state.cards:
        raise MedzooError("Choose a model first.")
    card = state.cards[state.card]
    return card.model_copy(update={"preprocessing": recipe(state)})


def recipe(state: State) -> Preprocessing:
    """The preparation in force: the person's, else the chosen card's, else the default one."""
    if state.recipe is not None:
        return state.recipe
    return state.cards[state.card].preprocessing if state.card in state.cards else Preprocessing()


def switched(state: State, step: str, on: bool) -> Preprocessing:
    """The recipe in force with one step of `STEPS` on or off; on takes the card's settings where it has some."""
    card = state.cards.get(state.card)
    settings = (getattr(card.preprocessing, step) if card else None) or STEPS[step][1]()
    return recipe(state).model_copy(update={step: settings if on else None})


def differs_from_card(state: State) -> str:
    """Which steps differ from what the model was trained with, as a sentence; empty when none."""
    card = state.cards.get(state.card)
    if card is None or state.recipe is None:
        return ""
    changed = [
        STEPS[step][0].lower() for step in STEPS if getattr(recipe(state), step) != getattr(card.preprocessing, step)
    ]
    if not changed:
        return ""
    return f"Model '{card.name}' was trained otherwise ({', '.join(changed)}): its labels may be worse."


def channels(state: State) -> tuple[str, ...]:
    """Modalities that the chosen model takes, in order; without a model all of the study.

    Raises
    ------
    MedzooError
        If the study does not exist or does not suit the model.
    """
    current = study(state)
    return chosen_card(state).choose(current) if state.card in state.cards else current.modalities


def result_grid(state: State) -> str:
    """Modality on whose grid labels will lie (the chosen one, else the model's first)."""
    return state.grid if state.grid in study(state).modalities else channels(state)[0]


def preview_modalities(state: State) -> tuple[str, ...]:
    """What Preview prepares: every scan of the study, the model's first (the others are aligned to it)."""
    taken = channels(state)
    return (*taken, *(modality for modality in study(state).modalities if modality not in taken))


def preparation_key(state: State) -> tuple[object, ...]:
    """What a preparation depends on; a kept one serves `segment` only while this is the same."""
    current = study(state)
    volumes = tuple((modality, id(current[modality].data)) for modality in current.modalities)
    return (volumes, channels(state)[0], recipe(state).model_dump_json())


def kept_preparation(state: State) -> Prepared | None:
    """The previewed preparation, if it is just what the model would be given."""
    wanted = {*channels(state), result_grid(state)}
    kept = state.prepared
    if kept is None or set(kept.modalities) != wanted or state.prepared_for != preparation_key(state):
        return None
    return kept


def busy_problem(state: State) -> str:
    """Why nothing heavy can start now, or an empty text."""
    if state.work:
        return f"{state.work} is still running."
    if state.releasing:
        return "The cancelled run is still giving its memory back; this takes a few seconds."
    return ""


def prepare_problem(state: State) -> str:
    """Why Preview is not possible, or an empty text."""
    return busy_problem(state) or _problem_of(channels, state)


def segment_problem(state: State) -> str:
    """Why Segment is not possible, or an empty text: the sentence under the button."""
    if not state.cards:
        return "There is no model; put a card and its weights into the models folder."
    return (
        busy_problem(state) or study_problem(state) or _problem_of(chosen_card, state) or _problem_of(channels, state)
    )


def model_note(state: State) -> str:
    """What the chosen model is, takes and gives, and which scans it would use."""
    card = state.cards.get(state.card)
    if card is None:
        return ""
    labels = f"Needs {card.needs}; gives {len(card.label_table.foreground)} labels ({card.label_scheme})."
    lines = [card.description, labels]
    if not study_problem(state) and not _problem_of(channels, state):
        taken = channels(state)
        others = [modality for modality in study(state).modalities if modality not in taken]
        lines.append(f"Takes the {describe(taken)}{f', not the {describe(others)}' if others else ''}.")
    return "\n".join(filter(None, lines))


def volume_rows(segmentation: Segmentation) -> list[tuple[int, str, float]]:
    """Index, name and volume in mL of each label that is present, largest first."""
    volumes = segmentation.volumes_ml()
    rows = [(label.index, label.name, volumes[label.index]) for label in segmentation.table.foreground]
    return sorted((row for row in rows if row[2] > 0), key=lambda row: -row[2])


def label_names(table: LabelTable) -> dict[int, str]:
    """Index → name, background included."""
    return {label.index: label.name for label in table}


def _problem_of(function: Callable[[State], object], state: State) -> str:
    try:
        function(state)
    except MedzooError as error:
        return str(error)
    return ""
