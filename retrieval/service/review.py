"""People's review of doubtful pairs: what they are asked, what they decide, what comes of it."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

import numpy as np

from embed.errors import DecisionsError, IdError, SettingsError, WorkbenchError
from retrieval.decisions.journal import Decisions, new_id, now_utc
from retrieval.decisions.records import Decision, Pair, Verdict, pair_of
from retrieval.matches.pair_scores import scored_pairs
from retrieval.service.background import Background, Report
from retrieval.service.doubtful import DoubtfulPairs, doubtful_pairs
from retrieval.service.retuning import Retuned, accept, retuned
from retrieval.service.service import NOT_SERVED, Service, Snapshot
from retrieval.thresholds.match_rules import categories_of

MOST_PAIRS = 500
"""Undecided pairs that people are asked about, until the threshold is tuned again."""

SHOWN_SECONDS = 60.0
"""How long a pair that was given to one person comes last for the others."""


@dataclass(frozen=True)
class Counts:
    """How many pairs were decided, and how many of those to be asked about are left."""

    num_same: int
    num_different: int
    num_unsure: int
    num_left: int | None


@dataclass(frozen=True)
class ReviewPair:
    """A pair of rows to be decided; `margin` is its distance to the nearest threshold."""

    first: int
    second: int
    score: float
    margin: float | None
    is_match: bool | None


class Reviewing:
    """The decisions of one store, whoever makes them, and thresholds that were tuned with them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._shown: dict[Pair, tuple[str, float]] = {}
        self._lock = Lock()

    def queue(self, snapshot: Snapshot) -> Background[DoubtfulPairs]:
        """The pairs that people are asked about, those included that were decided before.

        Raises:
            SettingsError: nothing says when two items match.
        """
        rule = snapshot.needed_rule()
        most = MOST_PAIRS + len(snapshot.journal.read())

        def work(report: Report) -> DoubtfulPairs:
            candidates = snapshot.pairs.followed(report, 0.9)
            return doubtful_pairs(
                candidates, rule, categories_of(snapshot.sides, rule.category), most
            )

        return snapshot.works.once(("review",), work)

    def pairs(
        self, snapshot: Snapshot, queue: DoubtfulPairs, limit: int, by: str
    ) -> list[ReviewPair]:
        """The next undecided pairs, nearest to the threshold first.

        Those that somebody else has just been given come last, so that two people who review at
        once are not asked the same.
        """
        standing, now = snapshot.journal.read().standing, time.monotonic()
        free, given = list[tuple[int, Pair]](), list[tuple[int, Pair]]()
        for place, pair in enumerate(_pairs_of(snapshot, queue)):
            if pair in standing:
                continue
            who, when = self._shown.get(pair, (by, now))
            is_given = who != by and now - when < SHOWN_SECONDS
            (given if is_given else free).append((place, pair))
            if len(free) == limit:
                break
        chosen = (free + given)[:limit]
        with self._lock:
            self._shown = {
                pair: (who, when)
                for pair, (who, when) in self._shown.items()
                if now - when < SHOWN_SECONDS
            } | {pair: (by, now) for _, pair in chosen}
        return [_review_pair(queue, place) for place, _ in chosen]

    def counts(self, snapshot: Snapshot, decisions: Decisions | None = None) -> Counts:
        """How far the review is."""
        standing = (decisions or snapshot.journal.read()).standing
        made = [decision.decision for decision in standing.values()]
        left = self._num_left(snapshot, standing)
        return Counts(made.count("same"), made.count("different"), made.count("unsure"), left)

    def _num_left(self, snapshot: Snapshot, standing: Mapping[Pair, Decision]) -> int | None:
        """None until it is known, and where it can't be: who asks for the pairs is told why."""
        if snapshot.rule is None:
            return None
        with suppress(WorkbenchError):  # a decision is kept, whatever becomes of the other pairs
            if (work := self.queue(snapshot)).is_ready:
                return sum(pair not in standing for pair in _pairs_of(snapshot, work.result()))
        return None

    def decide(
        self, snapshot: Snapshot, first: str, second: str, verdict: Verdict, by: str
    ) -> Counts:
        """Keep what somebody has decided of a pair: it is on the disk when this returns.

        Raises:
            IdError: there is no such item.
            SettingsError: the two are one item.
            OutputError: it can't be written.
        """
        rows = [snapshot.catalogue.row_of(name) for name in (first, second)]
        if first == second:
            raise SettingsError(f"a pair is of two items: found '{first[:200]}' twice")
        rule, store = snapshot.pairs_rule, snapshot.store
        scored = scored_pairs(snapshot.sides, rule, *(np.array([row]) for row in rows))
        decision = Decision(
            id=new_id(),
            at=now_utc(),
            by=by,
            first=first,
            second=second,
            decision=verdict,
            score=float(scored.combined[0]),
            scores=dict(zip(rule.spaces, map(float, scored.scores[:, 0]), strict=True)),
            fingerprints={space: store.space(space).fingerprint for space in rule.spaces},
            threshold=_threshold(snapshot),
        )
        return self.counts(snapshot, snapshot.journal.append(decision))

    def undo(self, snapshot: Snapshot, by: str) -> tuple[ReviewPair | None, Counts]:
        """Take back somebody's last decision: the pair that is open again, None if it has gone.

        Raises:
            DecisionsError: there is none.
            OutputError: it can't be written.
        """
        undone, decisions = snapshot.journal.undo(by)
        counts = self.counts(snapshot, decisions)
        try:
            first, second = map(snapshot.catalogue.row_of, (undone.first, undone.second))
        except IdError:  # the store was replaced since
            return None, counts
        return ReviewPair(first, second, undone.score, None, None), counts

    def retune(self, snapshot: Snapshot) -> tuple[str, Background[Retuned]]:
        """Tune the threshold again with all decisions, and the token to accept it by.

        It begins once for the same decisions, however often it is asked for.
        """
        decisions = snapshot.journal.read()
        if not decisions.standing:
            raise DecisionsError("nobody has decided anything yet: review some pairs first")
        work = snapshot.works.once(
            ("thresholds", decisions.digest), lambda report: retuned(snapshot, decisions, report)
        )
        return f"{snapshot.number}-{decisions.digest}", work

    def accept(self, token: str) -> str:
        """Serve a threshold that was tuned again, and write it in the place of the other.

        Returns the name of the file.

        Raises:
            DecisionsError: it is not known any more, or another one is served meanwhile.
            OutputError: it can't be written.
        """
        number, _, digest = token.partition("-")
        with self._service.held() as snapshot:
            work = snapshot.works.known(("thresholds", digest))
            if work is None or not work.is_ready or number != str(snapshot.number):
                raise DecisionsError(NOT_SERVED)
            result = work.result().result
            return self._service.use_threshold(snapshot, lambda: accept(snapshot, result)).name


def _pairs_of(snapshot: Snapshot, queue: DoubtfulPairs) -> list[Pair]:
    ids = snapshot.store.ids
    return [
        pair_of(str(one), str(other))
        for one, other in zip(ids[queue.one], ids[queue.other], strict=True)
    ]


def _review_pair(queue: DoubtfulPairs, place: int) -> ReviewPair:
    return ReviewPair(
        int(queue.one[place]),
        int(queue.other[place]),
        float(queue.scores[place]),
        float(queue.margins[place]),
        bool(queue.is_match[place]),
    )


def _threshold(snapshot: Snapshot) -> float | dict[str, float] | None:
    rule = snapshot.rule
    if rule is None:
        return None
    if len(rule.thresholds) == 1:
        return float(rule.thresholds[0])
    return dict(zip(rule.spaces, map(float, rule.thresholds), strict=True))
