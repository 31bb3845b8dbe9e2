"""`/review`: the pairs nearest to the threshold, what people decide, and what that changes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, StringConstraints

from retrieval.decisions.records import Verdict
from retrieval.service.dependencies import CurrentSnapshot
from retrieval.service.disclosure import folders_of_settings, without_folders
from retrieval.service.fields import Body
from retrieval.service.item_pairs import ItemPair, pairs_of
from retrieval.service.items import Item, item_of, rounded
from retrieval.service.retuning import Reached, Retuned
from retrieval.service.review import Counts, Reviewing
from retrieval.service.routes.progress import WAIT_SECONDS, Progress
from retrieval.service.service import Snapshot

router = APIRouter(prefix="/review", tags=["review"])

MOST_SHOWN = 50
"""Pairs that are sent at once, and changes of a new threshold."""

RETUNE_SECONDS = 2.0
"""How long an answer waits for a threshold that is nearly tuned."""

Who = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$"
    ),
]
Id = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]


class CountsAnswer(BaseModel):
    """How many pairs were decided; `num_left` of the doubtful ones, null until it is known."""

    num_same: int
    num_different: int
    num_unsure: int
    num_left: int | None


class PairsAnswer(Progress):
    """The next undecided pairs, nearest to the threshold first."""

    pairs: list[ItemPair]
    progress_of_review: CountsAnswer


class DecisionBody(Body):
    """What somebody decides of a pair."""

    first: Id
    second: Id
    decision: Verdict
    by: Who


class ByBody(Body):
    """Who asks."""

    by: Who


class UndoAnswer(BaseModel):
    """The pair that is open again; null where the store has its items no more."""

    pair: ItemPair | None
    progress_of_review: CountsAnswer


class ReachedAnswer(BaseModel):
    """A threshold and what it reaches: decisions go before labels.

    `score_threshold` and `distance_threshold` are null where each space has its own. `num_matches`
    are pairs of the whole store, each once, decisions honoured.
    """

    score_threshold: float | None
    distance_threshold: float | None
    score_thresholds: dict[str, float]
    row_f1: float | None
    precision: float | None
    recall: float | None
    pair_f1: float | None
    pair_precision: float | None
    pair_recall: float | None
    interval: list[float] | None
    protocol: str
    num_rows: int
    num_matches: int


class ChangeAnswer(BaseModel):
    """A pair that changes sides, and whether it matches by the new threshold."""

    first: Item
    second: Item
    score: float
    is_match: bool


class RetuneAnswer(Progress):
    """A threshold that was tuned again; `token` accepts it. `changes` are the first 50.

    `is_other` is false where it is the one that is served: nothing is to be accepted.
    `is_labelled` is false where nothing but decided pairs counts.
    """

    token: str
    before: ReachedAnswer | None = None
    after: ReachedAnswer | None = None
    is_other: bool | None = None
    is_labelled: bool | None = None
    num_decisions_used: int | None = None
    num_changed: int | None = None
    changes: list[ChangeAnswer]
    warnings: list[str]


class AcceptBody(Body):
    """Which threshold to serve from now on."""

    token: Annotated[str, StringConstraints(max_length=200)]


class AcceptAnswer(BaseModel):
    """The name of the file that the threshold was written to."""

    path: str


def current_reviewing(request: Request) -> Reviewing:
    """The review that the application was made with."""
    reviewing = request.app.state.reviewing
    assert isinstance(reviewing, Reviewing)
    return reviewing


CurrentReviewing = Annotated[Reviewing, Depends(current_reviewing)]


@router.get("/pairs")
def pairs(
    snapshot: CurrentSnapshot,
    reviewing: CurrentReviewing,
    limit: Annotated[int, Query(ge=1, le=MOST_SHOWN)] = 10,
    by: Annotated[str, Query(max_length=200, description="Who reviews.")] = "",
) -> PairsAnswer:
    """The undecided pairs that are nearest to the threshold, each pair once."""
    work = reviewing.queue(snapshot)
    if not work.is_ready_within(WAIT_SECONDS):
        return PairsAnswer(
            ready=False,
            progress=work.progress,
            pairs=[],
            progress_of_review=_counts(reviewing.counts(snapshot)),
        )
    found = reviewing.pairs(snapshot, work.result(), limit, by)
    return PairsAnswer(
        ready=True,
        progress=1,
        pairs=pairs_of(snapshot, found),
        progress_of_review=_counts(reviewing.counts(snapshot)),
    )


@router.post("/decisions")
def decide(
    body: DecisionBody, snapshot: CurrentSnapshot, reviewing: CurrentReviewing
) -> CountsAnswer:
    """Keep a decision; it is on the disk when this answers. The last one of a pair counts."""
    return _counts(reviewing.decide(snapshot, body.first, body.second, body.decision, body.by))


@router.post("/undo")
def undo(body: ByBody, snapshot: CurrentSnapshot, reviewing: CurrentReviewing) -> UndoAnswer:
    """Take back the last decision of somebody."""
    pair, counts = reviewing.undo(snapshot, body.by)
    shown = [] if pair is None else pairs_of(snapshot, [pair])
    return UndoAnswer(pair=shown[0] if shown else None, progress_of_review=_counts(counts))


@router.post("/retune")
def retune(body: ByBody, snapshot: CurrentSnapshot, reviewing: CurrentReviewing) -> RetuneAnswer:
    """Tune the threshold again with all decisions; nothing is written. Ask until it is ready."""
    token, work = reviewing.retune(snapshot)
    if not work.is_ready_within(RETUNE_SECONDS):
        return RetuneAnswer(
            ready=False, progress=work.progress, token=token, changes=[], warnings=[]
        )
    return _retuned(snapshot, token, work.result())


@router.post("/accept")
def accept(body: AcceptBody, reviewing: CurrentReviewing) -> AcceptAnswer:
    """Write the threshold of this token in the place of the old one, and serve it from now on."""
    return AcceptAnswer(path=reviewing.accept(body.token))


def _counts(counts: Counts) -> CountsAnswer:
    return CountsAnswer(**vars(counts))


def _retuned(snapshot: Snapshot, token: str, found: Retuned) -> RetuneAnswer:
    spaces = list(found.result.rule.spaces)
    folders = folders_of_settings(snapshot.settings)
    return RetuneAnswer(
        ready=True,
        progress=1,
        token=token,
        before=_reached(spaces, found.before),
        after=_reached(spaces, found.after),
        is_other=found.is_other,
        is_labelled=found.result.label is not None,
        num_decisions_used=found.num_decisions,
        num_changed=len(found.changes),
        changes=[
            ChangeAnswer(
                first=item_of(snapshot, change.one),
                second=item_of(snapshot, change.other),
                score=rounded(change.score),
                is_match=change.is_match,
            )
            for change in found.changes[:MOST_SHOWN]
        ],
        warnings=[without_folders(each, folders) for each in found.result.warnings],
    )


def _reached(spaces: list[str], reached: Reached) -> ReachedAnswer:
    (common,) = reached.thresholds if len(reached.thresholds) == 1 else (None,)
    own = {} if common is not None else dict(zip(spaces, reached.thresholds, strict=True))
    return ReachedAnswer(
        score_threshold=common,
        distance_threshold=None if common is None else 1 - common,
        score_thresholds=own,
        **reached.figures,
        interval=None if reached.interval is None else list(reached.interval),
        protocol=reached.protocol,
        num_rows=reached.num_rows,
        num_matches=reached.num_matches,
    )
