"""A head for each fold: what they reach on rows that they never saw, and what they say of each row.

Groups fall into K folds by the hash of their value, as they fall into train, val and test
elsewhere. The head of fold f is reported on fold f, which neither trains it nor picks its epoch:
fold f + 1 picks that (and a projection's threshold, and the temperature of --calibrate), fold 1
after the last. It is trained on the other K − 2.

HEAD-fold-1.safetensors and so on are the heads, with their own files beside them. HEAD.folds.json
has each one's figures, their mean and standard deviation; HEAD.folds.parquet has every row once, as
the head that did not see it describes it. Vectors of different folds are of different spaces:
compare them within a fold only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from jaxtyping import Bool

from embed.errors import SelectionError
from embed.files import replacing
from embed.rows import Split, has_value, select_rows
from embed.store import Store
from embed.wording import counted
from heads.head import Head
from heads.studies.held_out import HeldOut, judge_held_out
from heads.studies.members import (
    Member,
    Plan,
    Running,
    Study,
    member_path,
    train_members,
    write_report,
)
from heads.tasks import Task, rows_digest

REPORT, TABLE = ".folds.json", ".folds.parquet"


@dataclass
class _HeldOutTables:
    """What each fold's head says of its rows, as the folds come in."""

    plan: Plan
    tables: list[pl.DataFrame] = field(default_factory=list)

    def __call__(self, member: Member, head: Head) -> tuple[int, Mapping[str, float]]:
        held_out: HeldOut = judge_held_out(self.plan.stores, member.task, head)
        self.tables.append(held_out.table)
        return held_out.num_rows, held_out.metrics


def train_folds(plan: Plan, num_folds: int, running: Running | None = None) -> Study:
    """Train and judge a head for each fold; figures are those of the held-out folds.

    Raises:
        SettingsError: fewer than 3 folds, a task with a split column, and what `train_head` raises.
        OutputExistsError: a file of the study exists, and neither `force` nor `resume`.
        SelectionError: a fold without rows, or without enough of them to validate on.
    """
    split = plan.task.split.of_fold(num_folds, 1)  # refuses what has no folds
    refuse_empty_folds(plan.stores.items, plan.task, num_folds)
    members = [_member(plan, num_folds, fold) for fold in range(1, num_folds + 1)]
    report, table = plan.beside(REPORT), plan.beside(TABLE)
    judged = _HeldOutTables(plan)
    study = train_members(plan.stores, members, [report, table], judged, running or Running())
    study = replace(study, notes=(*study.notes, *_rows_without_fold(plan, split)))
    _write_table(plan, judged.tables)
    details = {"folds": num_folds, "predictions": table.name}
    write_report(study, "folds", {**details, "validation_rows": _rows_of(plan, split)})
    return study


def refuse_empty_folds(store: Store, task: Task, num_folds: int) -> None:
    """Raise SelectionError where the groups of the rows with a label leave a fold without any."""
    split = task.split.of_fold(num_folds, 1)
    numbers = split.fold_numbers(store)
    chosen = select_rows(store, task.where) & _has_label(store, task) & (numbers > 0)
    empty = np.setdiff1d(np.arange(1, num_folds + 1), numbers[chosen])
    if len(empty):
        num_groups = len(np.unique(store.column(split.group)[chosen]))
        raise SelectionError(
            f"{counted(num_groups, 'group')} (values of '{split.group}') cannot fill {num_folds} "
            f"folds: {len(empty)} would have no row of {store.path} with a value of "
            f"{' or '.join(task.targets)}, fold {empty[0]} for one; take fewer --folds"
        )


def _has_label(store: Store, task: Task) -> Bool[np.ndarray, " n"]:
    labelled = [has_value(store.column(name)) for name in task.targets]
    return np.asarray(np.logical_or.reduce(labelled), bool)


def _rows_of(plan: Plan, split: Split) -> str:
    """What tells the rows of two studies apart: all of them, and how they fall into folds."""
    chosen = select_rows(plan.stores.items, plan.task.where).nonzero()[0]
    rule = f"{split.folds} folds of {split.group} in {split.stratify}, seed {split.seed}"
    return f"{rule}: {rows_digest(plan.stores.items, plan.task, chosen)}"


def _member(plan: Plan, num_folds: int, fold: int) -> Member:
    split = plan.task.split.of_fold(num_folds, fold)
    name = f"fold {fold}"
    head = member_path(plan.output, name)
    return Member(name, head, replace(plan.task, split=split), plan.settings)


def _rows_without_fold(plan: Plan, split: Split) -> list[str]:
    chosen = select_rows(plan.stores.items, plan.task.where)
    missing = int((chosen & (split.fold_numbers(plan.stores.items) == 0)).sum())
    if not missing:
        return []
    return [
        f"{counted(missing, 'row', 'have')} no value of '{split.group}', so they are in no fold "
        f"and not in {plan.beside(TABLE)}"
    ]


def _write_table(plan: Plan, tables: list[pl.DataFrame]) -> None:
    """All rows, in the store's order."""
    store = plan.stores.items
    joined = pl.concat(tables)
    order = store.rows_of(joined["id"].to_list()).argsort()
    with replacing(plan.beside(TABLE)) as temporary:
        joined[order].write_parquet(temporary)
