"""From the options of `heads train` to a task, and the stores that it reads."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from heads.features import FeatureStores
    from heads.tasks import Task


def task_of(kind: str, options: Mapping[str, Any]) -> "Task":
    """What is learnt, and from which rows; `options` are those of the command line."""
    from embed.rows import Split, Where
    from heads.tasks import Task
    from heads.training.limits import RowLimits

    targets, category = tuple(options["target"]), options["category"]
    is_projection = kind == "projection"
    group = options["group"] or (targets[0] if is_projection else "id")
    # A closed set of classes: each should be on both sides.
    stratify = (category or targets[0]) if group == "id" else None
    split = Split.parse(
        group, options["split"], options["split_seed"], options["split_column"], stratify
    )
    return Task(
        spaces=tuple(options["space"]),
        targets=targets,
        split=split,
        where=tuple(Where.parse(text) for text in options["where"]),
        category=category,
        weights=dict(_weight(text) for text in options["weight"]),
        limits=RowLimits(options["min_per_class"], options["max_per_class"]),
    )


def open_stores(stack: ExitStack, path: Path, joined: Sequence[str]) -> "FeatureStores":
    """A store and those that are joined to it, open until the stack ends."""
    from embed.store import Store
    from heads.features import FeatureStores

    paths = [path, *map(Path, joined)]
    return FeatureStores(*(stack.enter_context(Store(name)) for name in paths))


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """Numbers with commas between them; None where the option was not given."""
    if text is None:
        return None
    try:
        return tuple(float(number) for number in str(text).split(","))
    except ValueError as error:
        raise click.UsageError(
            f"{option} takes numbers with commas between them: found '{text}'"
        ) from error


def _weight(text: str) -> tuple[str, float]:
    name, _, factor = text.rpartition("=")
    try:
        return name, float(factor)
    except ValueError as error:
        raise click.UsageError(
            f"--weight takes NAME=FACTOR, such as clip=0.6: found '{text}'"
        ) from error
