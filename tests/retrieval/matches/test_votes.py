"""Votes against scikit-learn, a plain loop, and a hand."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from retrieval.matches.votes import NO_CLASS, VOTINGS, Voting, count_votes
from retrieval.search.neighbours import neighbours_of_vectors
from tests.retrieval.retrieval_stores import clustered

NOBODY = -np.inf


def test_votes_by_hand() -> None:
    classes = np.array(
        [
            [2, 1, 1, NO_CLASS],  # two of three
            [2, 1, NO_CLASS, 0],  # a tie: the nearest wins
            [2, 1, 0, NO_CLASS],  # a tie of equally near ones: the lowest number
            [NO_CLASS, NO_CLASS, 0, 0],  # nobody
        ]
    )
    scores = np.array(
        [
            [0.9, 0.5, 0.25, 0.1],
            [0.8, 0.7, 0.6, 0.5],
            [0.5, 0.5, 0.5, 0.1],
            [0.9, 0.8] + [NOBODY] * 2,
        ],
        np.float32,
    )
    equal = count_votes(classes, scores, "uniform")
    assert equal.classes.tolist() == [1, 2, 0, NO_CLASS]
    np.testing.assert_allclose(equal.shares, [2 / 3, 1 / 3, 1 / 3, np.nan])
    assert equal.num_voters.tolist() == [3, 3, 3, 0]
    weighted = count_votes(classes, scores, "weighted")
    assert weighted.classes.tolist() == [2, 2, 0, NO_CLASS]
    np.testing.assert_allclose(weighted.shares[:2], [0.9 / 1.65, 0.8 / 2], rtol=1e-6)


def test_a_score_of_0_or_below_is_no_vote_by_score() -> None:
    classes, scores = np.array([[0, 1, 1]]), np.array([[0.1, 0.0, -0.5]], np.float32)
    weighted = count_votes(classes, scores, "weighted")
    assert (weighted.classes[0], weighted.shares[0], weighted.num_voters[0]) == (0, 1, 1)
    equal = count_votes(classes, scores, "uniform")
    assert (equal.classes[0], equal.num_voters[0]) == (1, 3)


def test_no_items() -> None:
    assert len(count_votes(np.zeros((0, 3), int), np.zeros((0, 3)), "uniform").classes) == 0


@pytest.mark.parametrize("voting", VOTINGS)
def test_votes_are_those_of_scikit_learn(voting: Voting) -> None:
    """The item itself is the first neighbour, and has no vote."""
    vectors, labels = clustered(8, 12, spread=1.6, dim=6)
    neighbours = neighbours_of_vectors(vectors, 6)
    found = count_votes(labels[neighbours.rows[:, 1:]], neighbours.scores[:, 1:], voting)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = []
    for row in range(len(unit)):
        others = np.arange(len(unit)) != row
        classifier = KNeighborsClassifier(
            5,
            metric="cosine",
            algorithm="brute",
            weights="uniform" if voting == "uniform" else lambda d: np.maximum(1 - d, 0),
        )
        classifier.fit(unit[others], labels[others])
        expected.append(classifier.predict_proba(unit[row : row + 1])[0])
    shares = np.stack(expected)
    np.testing.assert_allclose(found.shares, shares.max(axis=1), rtol=1e-5)
    untied = np.sort(shares, axis=1)[:, -1] > np.sort(shares, axis=1)[:, -2] + 1e-6
    assert untied.sum() > 60
    np.testing.assert_array_equal(found.classes[untied], shares.argmax(axis=1)[untied])


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2000), st.sampled_from(list(VOTINGS)))
def test_votes_are_those_of_a_plain_loop(q: int, k: int, seed: int, voting: Voting) -> None:
    generator = np.random.default_rng(seed)
    classes = generator.integers(NO_CLASS, 4, (q, k))
    # Multiples of 1/4, so that sums are exact and ties are everywhere.
    scores = np.sort(generator.integers(-2, 5, (q, k)) / 4)[:, ::-1].astype(np.float32)
    found = count_votes(classes, scores, voting)
    for row in range(q):
        totals: dict[int, float] = defaultdict(float)
        nearest: dict[int, float] = {}
        for number, score in zip(classes[row].tolist(), scores[row].tolist(), strict=True):
            vote = score if voting == "weighted" else 1.0
            if number != NO_CLASS and vote > 0:
                totals[number] += vote
                nearest[number] = max(nearest.get(number, NOBODY), score)
        if not totals:
            assert (found.classes[row], found.num_voters[row]) == (NO_CLASS, 0)
            continue
        best = min(totals, key=lambda number: (-totals[number], -nearest[number], number))
        assert found.classes[row] == best
        assert found.shares[row] == pytest.approx(totals[best] / sum(totals.values()))
