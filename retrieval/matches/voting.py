"""Labels by the votes of nearest neighbours, for any columns of a catalogue, into a table."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Shaped

from embed.errors import SettingsError
from embed.files import refuse_existing
from embed.store import Store
from embed.tables import refuse_suffix, writing_table
from embed.wording import counted
from retrieval.choosing import Chosen, refuse_large_k
from retrieval.finding import EXACT, Finding, iterate_found
from retrieval.matches.vote_columns import ColumnOutcome, LabelColumn, outcome_of
from retrieval.matches.votes import NO_CLASS, VOTINGS, Votes, Voting, count_votes
from retrieval.search.neighbours import NO_ROW
from retrieval.search.sides import Sides

DEFAULT_VOTERS = 10


@dataclass(frozen=True, kw_only=True)
class VoteSettings(Chosen):
    """What is to be voted on, by whom, and where the outcome goes.

    Attributes:
        space: the space in which neighbours are near.
        columns: each is voted on by itself.
        output: a .csv or .parquet file.
        k: how many nearest others are asked; the item itself never is. None takes 10, or all where
            there are fewer.
        voting: weighted or uniform; `votes.count_votes` explains them.
        finding: how neighbours are found.
        force: replace the output if it exists.
    """

    space: str
    columns: tuple[str, ...]
    output: Path
    k: int | None = None
    voting: Voting = "weighted"
    finding: Finding = EXACT
    force: bool = False

    @property
    def num_voters(self) -> int:
        """How many are asked at most."""
        return DEFAULT_VOTERS if self.k is None else self.k


@dataclass(frozen=True)
class VoteSummary:
    """What was written, and how good it is where the truth is known.

    `attribute_score` is the mean score of the columns, None where none could be judged.
    """

    output: str
    space: str
    k: int
    voting: str
    num_rows: int
    num_gallery: int
    columns: tuple[ColumnOutcome, ...]
    attribute_score: float | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def vote(store: Store, settings: VoteSettings, gallery_store: Store | None = None) -> VoteSummary:
    """Write what the nearest neighbours of each item say of it: one line an item and column.

    The table has id, column, prediction, its share of the votes and num_voters; prediction and
    share are empty where nobody voted. A neighbour without a label (empty, null or `dummy`) has no
    vote, and the item itself never has one, so each item is judged as if its label were not known.

    Raises:
        OutputExistsError: the output exists and `force` was not given.
        StoreError: there is no such space or column, or a vector is not finite or, in a dense
            space, zero.
        SelectionError: nothing is left on one side.
        FingerprintError: the spaces of two stores hold vectors of different encoders.
        SettingsError: no column or one twice, k below 1 or above the number of others,
            another voting or another suffix.
    """
    _refuse_wrong(settings)
    sides = settings.sides(store, gallery_store)
    refuse_large_k(settings.k, len(sides.gallery) - int(sides.is_self_join))
    columns = {name: LabelColumn.of(name, sides) for name in settings.columns}
    outcomes: dict[str, list[Votes]] = {name: [] for name in columns}
    ids = sides.queries.ids
    with writing_table(settings.output) as write:
        for start, votes in _votes(sides, columns, settings):
            for name, outcome in votes.items():
                outcomes[name].append(outcome)
            num_rows = len(next(iter(votes.values())).classes)
            write(_table(ids[start : start + num_rows], columns, votes))
    return _summary(sides, settings, [_joined(outcomes[name]) for name in columns], columns)


def _votes(
    sides: Sides, columns: Mapping[str, LabelColumn], settings: VoteSettings
) -> Iterator[tuple[int, dict[str, Votes]]]:
    """Blocks of outcomes by column, each with the position of its first query."""
    for start, neighbours in iterate_found(
        sides, {settings.space: 1.0}, settings.num_voters + 1, settings.finding
    ):
        rows, scores = neighbours.rows[:, 1:], neighbours.scores[:, 1:]
        votes = {}
        for name, column in columns.items():
            classes = np.where(rows == NO_ROW, NO_CLASS, column.gallery[rows])
            votes[name] = count_votes(classes, scores, settings.voting)
        yield start, votes


def _table(
    ids: Shaped[np.ndarray, " b"], columns: Mapping[str, LabelColumn], votes: Mapping[str, Votes]
) -> pl.DataFrame:
    """One line an item and column: the columns of an item stand together."""
    names = list(columns)
    predictions = np.stack([columns[name].names[votes[name].classes] for name in names], axis=1)
    shares = np.stack([votes[name].shares for name in names], axis=1)
    num_voters = np.stack([votes[name].num_voters for name in names], axis=1)
    return pl.DataFrame(
        {
            "id": np.repeat(ids, len(names)).tolist(),
            "column": names * len(ids),
            "prediction": pl.Series(predictions.ravel().tolist(), dtype=pl.String),
            "share": pl.Series(shares.ravel().round(6)).fill_nan(None),
            "num_voters": num_voters.ravel(),
        }
    )


def _joined(blocks: list[Votes]) -> Votes:
    return Votes(
        np.concatenate([block.classes for block in blocks]),
        np.concatenate([block.shares for block in blocks]),
        np.concatenate([block.num_voters for block in blocks]),
    )


def _summary(
    sides: Sides, settings: VoteSettings, outcomes: list[Votes], columns: Mapping[str, LabelColumn]
) -> VoteSummary:
    seen = sides.queries.store.seen(settings.space)[sides.queries.rows]
    found = tuple(
        outcome_of(name, column, votes, (column.queries != NO_CLASS) & ~seen)
        for (name, column), votes in zip(columns.items(), outcomes, strict=True)
    )
    scores = [outcome.score for outcome in found if outcome.score is not None]
    num_others = len(sides.gallery) - int(sides.is_self_join)
    return VoteSummary(
        output=str(settings.output),
        space=settings.space,
        k=settings.num_voters,
        voting=settings.voting,
        num_rows=len(sides.queries),
        num_gallery=len(sides.gallery),
        columns=found,
        attribute_score=sum(scores) / len(scores) if scores else None,
        warnings=(
            *settings.finding.warnings_for(1 + min(settings.num_voters, num_others)),
            *_warnings(settings, int(seen.sum())),
        ),
    )


def _warnings(settings: VoteSettings, num_seen: int) -> tuple[str, ...]:
    if num_seen == 0:
        return ()
    return (
        f"{counted(num_seen, 'item', 'are')} not judged: the head of space '{settings.space}' was "
        f"trained or chosen on {'it' if num_seen == 1 else 'them'}",
    )


def _refuse_wrong(settings: VoteSettings) -> None:
    columns = settings.columns
    if not columns or len(set(columns)) < len(columns):
        raise SettingsError(
            f"--column names one or more different columns: found {', '.join(columns) or 'none'}"
        )
    if settings.num_voters < 1:
        raise SettingsError(f"--k is how many neighbours vote, at least 1: found {settings.k}")
    if settings.voting not in VOTINGS:
        raise SettingsError(f"--voting is {' or '.join(VOTINGS)}: found '{settings.voting}'")
    refuse_suffix(settings.output)
    refuse_existing(settings.output, force=settings.force)
