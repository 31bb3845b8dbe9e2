"""Two items as answers show them, and what the threshold and the labels say of them."""

import numpy as np
from pydantic import BaseModel

from retrieval.matches.pair_scores import scored_pairs
from retrieval.service.asking import cut_of
from retrieval.service.items import Item, SpaceScore, item_of, rounded
from retrieval.service.review import ReviewPair
from retrieval.service.service import Snapshot


class ItemPair(BaseModel):
    """Two items, their score, and what the threshold and the labels say of them, if anything."""

    first: Item
    second: Item
    score: float
    distance: float
    margin: float | None
    spaces: list[SpaceScore]
    is_match: bool | None
    is_labelled_same: bool | None


def pairs_of(snapshot: Snapshot, found: list[ReviewPair]) -> list[ItemPair]:
    """Pairs of rows, with their scores in each space."""
    rule = snapshot.pairs_rule
    firsts = np.array([pair.first for pair in found], np.int64)
    seconds = np.array([pair.second for pair in found], np.int64)
    scored = scored_pairs(snapshot.sides, rule, firsts, seconds)
    return [
        ItemPair(
            first=item_of(snapshot, pair.first),
            second=item_of(snapshot, pair.second),
            score=rounded(pair.score),
            distance=rounded(1 - pair.score),
            margin=None if pair.margin is None else rounded(pair.margin),
            spaces=_spaces(snapshot, pair, list(rule.spaces), scored.scores[:, place].tolist()),
            is_match=pair.is_match,
            is_labelled_same=_is_labelled_same(snapshot, pair),
        )
        for place, pair in enumerate(found)
    ]


def _spaces(
    snapshot: Snapshot, pair: ReviewPair, spaces: list[str], scores: list[float]
) -> list[SpaceScore]:
    cut = cut_of(snapshot, spaces, pair.first)
    found = []
    for name, score in zip(spaces, scores, strict=True):
        least = cut.of_space(name)
        agrees = None if least is None else score >= least
        found.append(SpaceScore(name=name, score=rounded(score), agrees=agrees))
    return found


def _is_labelled_same(snapshot: Snapshot, pair: ReviewPair) -> bool | None:
    """What the labels say; None where there is no label, or one of the items has none."""
    if snapshot.label is None or snapshot.label not in snapshot.store.columns:
        return None
    labels = snapshot.catalogue.texts(snapshot.label)
    first, second = str(labels[pair.first]), str(labels[pair.second])
    return first == second if first and second else None
