"""What a trial of a search tries, of the settings that fit the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from embed.errors import SettingsError
from embed.rows import has_value
from embed.store import Store
from heads.features import FeatureStores
from heads.kinds import PROJECTION
from heads.projection.bodies import DEFAULT_DIM
from heads.projection.settings import ProjectionSettings
from heads.settings import PAIR_LOSSES, HeadSettings, head_settings
from heads.studies.search import (
    SEARCH_SPACES,
    Choice,
    Range,
    SearchSpace,
    by_option,
    draws_by_class,
    is_used,
)
from heads.tasks import Task, choose_sides, limited
from heads.training.sampling import PER_CLASS

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Search:
    """What is searched: `fixed` options of `heads train` by name, and the others' `space`.

    A trial's value is the mean over so many `seeds`, or over `folds` but the last. With
    `keeps_batches_by_class` no batch size is drawn where batches are of whole classes: training
    then takes one that the classes can fill.
    """

    stores: FeatureStores
    task: Task
    kind: str
    fixed: Mapping[str, Any]
    space: SearchSpace
    seeds: int = 1
    folds: int | None = None
    keeps_batches_by_class: bool = False

    def __post_init__(self) -> None:
        if self.seeds < 1 or (self.folds is not None and self.seeds > 1):
            raise SettingsError(
                f"a trial's value is the mean over --seeds, at least 1, or over --folds: found "
                f"{self.seeds} seeds and {self.folds or 'no'} folds"
            )

    def settings(self, chosen: Mapping[str, Any]) -> HeadSettings:
        """Those of a trial, by the names of options."""
        given = {**self.fixed, **chosen}
        if self.kind == "projection" and isinstance(given.get("dropout"), int | float):
            given["dropout"] = (float(given["dropout"]),)
        return head_settings(self.kind, given)

    @property
    def final_task(self) -> Task:
        """What the best settings are trained on in the end."""
        return self.tasks()[0]

    def tasks(self) -> list[Task]:
        """What a trial is trained on: once, or for each fold that validates."""
        if self.folds is None:
            return [self.task]
        split, last = self.task.split, self.folds
        splits = [split.of_fold(last, last, fold) for fold in range(1, max(last, 2))]
        return [replace(self.task, split=split) for split in splits]


def fitted(search: Search) -> Search:
    """The search without what the classes can't fill, where that is of the usual space.

    Losses of pairs need two rows of each class, and a batch no more classes than there are. What
    the user asks to search stays as it is.
    """
    own, space = SEARCH_SPACES[search.kind], dict(search.space)
    is_usual = {name: space.get(name) == own.get(name) for name in ("loss", "batch_size")}
    if search.kind != PROJECTION:
        return replace(search, keeps_batches_by_class=is_usual["batch_size"])
    sizes = [_class_sizes(search.stores.items, task) for task in search.tasks()]
    per_class = search.fixed.get("per_class", PER_CLASS)
    loss, batch = own["loss"], own["batch_size"]
    assert isinstance(loss, Choice) and isinstance(batch, Choice)
    fixed_fits = _can_fill([search.fixed.get("batch_size")], per_class, sizes)
    has_pairs = all(int(of_task.min()) > 1 for of_task in sizes)
    takes_rows = "sampler" in search.fixed and not draws_by_class(search.fixed)
    if is_usual["loss"] and not (takes_rows or (has_pairs and fixed_fits)):
        space["loss"] = Choice(tuple(name for name in loss.values if name not in PAIR_LOSSES))
    keeps = is_usual["batch_size"] and not _can_fill(batch.values, per_class, sizes)
    return replace(search, space=space, keeps_batches_by_class=keeps)


def _class_sizes(store: Store, task: Task) -> Int[np.ndarray, " c"]:
    """The number of training rows of each class of a projection."""
    values = store.column(task.targets[0])
    labelled = has_value(values)
    sides, _ = limited(store, task, choose_sides(store, task, labelled), labelled)
    return np.asarray(np.unique(values[sides.train], return_counts=True)[1])


def _can_fill(
    batch_sizes: Sequence[Any], per_class: int, sizes: Sequence[Int[np.ndarray, " _"]]
) -> bool:
    """Whether the classes suffice for all of these; training chooses one that fits for None."""
    most = min(len(of_task) for of_task in sizes) * per_class
    return all(
        size is None or (size % per_class == 0 and 2 * per_class <= size <= most)
        for size in batch_sizes
    )


def draw(search: Search, trial: "optuna.Trial") -> dict[str, Any]:
    """What a trial tries: a value of each option that does something beside those before it."""
    chosen: dict[str, Any] = {}
    for name, dimension in search.space.items():
        if not _is_drawn(search, name, {**search.fixed, **chosen}):
            continue
        if not isinstance(dimension, Range):
            chosen[name] = trial.suggest_categorical(name, dimension.values)
        elif dimension.is_whole:
            low, high = int(dimension.low), int(dimension.high)
            chosen[name] = trial.suggest_int(name, low, high, log=dimension.log)
        else:
            chosen[name] = trial.suggest_float(
                name, dimension.low, dimension.high, log=dimension.log
            )
    return chosen


def _is_drawn(search: Search, name: str, chosen: Mapping[str, Any]) -> bool:
    if name == "batch_size" and search.keeps_batches_by_class and draws_by_class(chosen):
        return False
    return is_used(search.kind, name, chosen)


def defaults(search: Search) -> dict[str, Any]:
    """What the settings are without a search, where the search could draw it."""
    settings = search.settings({})
    found = by_option(settings)
    if isinstance(settings.kind, ProjectionSettings):
        # What stands for None, and the one rate of several.
        found["dim"] = found["dim"] or DEFAULT_DIM
        found["margin_cosine"] = settings.kind.loss.cosine_margin
        found["dropout"] = found["dropout"][0]
    return {
        name: found[name]
        for name, dimension in search.space.items()
        if dimension.holds(found[name])
    }
