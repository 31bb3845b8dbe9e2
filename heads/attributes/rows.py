"""The rows that attributes are learnt from or judged on: their categories and labels as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from embed.labels import label_texts
from embed.rows import codes
from embed.store import Store
from embed.wording import agreeing, counted
from heads.attributes.vocabulary import Codes, Columns, Vocabulary
from heads.features import SpaceReference
from heads.info import HeadInfo
from heads.tasks import Sides, Task, choose_sides, limited


@dataclass(frozen=True)
class AttributeRows:
    """Both sides of a task; `groups` (m,) number the val rows that stand or fall together."""

    sides: Sides
    vocabulary: Vocabulary
    train: Codes
    val: Codes
    groups: Int[np.ndarray, " m"]
    notes: tuple[str, ...]


def attribute_rows(store: Store, task: Task) -> AttributeRows:
    """The rows with a label of any target, and the classes that the training rows have.

    Raises:
        StoreError: a column that the store does not have.
        SelectionError: a side without rows, or a target with fewer than two classes.
    """
    names = [*task.targets, *([task.category] if task.category else [])]
    columns = {name: store.column(name) for name in names}
    chosen = choose_sides(store, task, labelled_rows(columns, task.targets))
    sides, notes = limited(store, task, chosen, _rows_of_classes(columns, task))
    vocabulary = Vocabulary.of(_of_rows(columns, sides.train), task.targets, task.category)
    train = vocabulary.encode(_of_rows(columns, sides.train))
    val = vocabulary.encode(_of_rows(columns, sides.val))
    notes = (*notes, *_notes(vocabulary, val))
    return AttributeRows(sides, vocabulary, train, val, row_groups(store, task, sides.val), notes)


def labelled_rows(columns: Columns, targets: Sequence[str]) -> Bool[np.ndarray, " n"]:
    """True at the rows that have a label of any target."""
    is_present = [[text is not None for text in label_texts(columns[name])] for name in targets]
    return np.asarray(np.any(np.array(is_present, bool), axis=0))


def _rows_of_classes(columns: Columns, task: Task) -> Bool[np.ndarray, " n"]:
    """True at the rows with a class of the first target, and a category where there are some."""
    labelled = labelled_rows(columns, task.targets[:1])
    if task.category is not None:
        labelled &= labelled_rows(columns, [task.category])
    return labelled


def row_groups(store: Store, task: Task, rows: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """A number for each row, equal for those that the split keeps on one side.

    By a split column, these are the rows of one value of the split's group as well; rows without a
    value stand alone.
    """
    numbers = np.arange(len(rows))
    if task.split.group in ("", "id"):
        return numbers
    groups = codes(store.column(task.split.group)[rows])
    return np.where(groups >= 0, groups, len(rows) + numbers)


def attribute_info(
    kind: str,
    task: Task,
    spaces: tuple[SpaceReference, ...],
    rows: AttributeRows,
    *,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
) -> HeadInfo:
    """What a head that predicts attributes says of itself, its metrics still empty."""
    return HeadInfo(
        kind=kind,
        spaces=spaces,
        targets=task.targets,
        splits=(task.split,),
        settings=settings,
        training={**training, **asdict(task.limits)},
        num_train=len(rows.sides.train),
        num_validation=len(rows.sides.val),
        metrics={},
        vocabulary=asdict(rows.vocabulary),
        where=tuple(f"{where.column}={where.value}" for where in task.where),
    )


def category_note(strange: Mapping[str, int]) -> str:
    """A warning about rows of categories that training never saw; nothing where there are none.

    `strange` counts the rows of each of them, '' being those without a category.
    """
    if not strange:
        return ""
    frequent = sorted(strange.items(), key=lambda item: -item[1])
    shown = ", ".join(f"'{name}' ({count:,})" for name, count in frequent[:5])
    return (
        f"{counted(sum(strange.values()), 'row', 'are')} of categories that the head never saw, "
        f"and nothing is predicted for them: {shown}{', …' if len(strange) > 5 else ''}"
    )


def _notes(vocabulary: Vocabulary, val: Codes) -> list[str]:
    notes = [category_note(val.strange_categories)]
    once, constant = vocabulary.classes_seen_once, vocabulary.constant_pairs
    if once:
        pair, name = once[0]
        notes.append(
            f"{counted(len(once), 'class', 'have')} one training row, such as '{name}' of "
            f"{pair.attribute}"
        )
    if constant:
        pair = constant[0]
        notes.append(
            f"{counted(len(constant), 'attribute')} of a category "
            f"{agreeing(len(constant), 'have')} one class, which is always "
            f"predicted, such as {pair.attribute} of '{pair.category}'"
        )
    if val.num_unknown:
        notes.append(
            f"{val.num_unknown:,} validation labels are of classes that training never saw: they "
            f"count as wrong"
        )
    return [note for note in notes if note]


def _of_rows(columns: Columns, rows: Int[np.ndarray, " m"]) -> dict[str, Shaped[np.ndarray, " m"]]:
    return {name: values[rows] for name, values in columns.items()}
