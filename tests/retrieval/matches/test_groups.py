"""Groups against a plain search, scipy's linkage, a plain agglomeration, and a hand."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from retrieval.matches.complete_link import complete_groups
from retrieval.matches.groups import connected_groups, describe_groups, in_order
from retrieval.matches.links import Links

Matrix = Float[np.ndarray, "n n"]


def links_of(matrix: Matrix, threshold: float = -np.inf) -> Links:
    one, other = np.nonzero(np.triu(matrix >= threshold, 1))
    return Links.of(one, other, matrix[one, other])


def drawn_scores(num_items: int, seed: int, *, ties: bool = False) -> Matrix:
    generator = np.random.default_rng(seed)
    scores = np.zeros((num_items, num_items))
    above = np.triu_indices(num_items, 1)
    scores[above] = generator.permutation(len(above[0])) / max(1, len(above[0]))
    if ties:
        scores[above] = np.floor(5 * scores[above]) / 5
    return scores + scores.T


def by_plain_search(num_items: int, links: Links) -> list[int]:
    neighbours: list[list[int]] = [[] for _ in range(num_items)]
    for one, other in zip(links.one.tolist(), links.other.tolist(), strict=True):
        neighbours[one].append(other)
        neighbours[other].append(one)
    groups = [-1] * num_items
    for start in range(num_items):
        if groups[start] >= 0:
            continue
        number = max(groups) + 1
        queue = deque([start])
        while queue:
            item = queue.popleft()
            if groups[item] < 0:
                groups[item] = number
                queue.extend(neighbours[item])
    return groups


def by_plain_agglomeration(matrix: Matrix, threshold: float) -> Int[np.ndarray, " n"]:
    groups = [[item] for item in range(len(matrix))]
    while True:
        pairs = [
            (-min(matrix[i, j] for i in one for j in other), one[0], other[0], one, other)
            for one in groups
            for other in groups
            if one[0] < other[0]
        ]
        best = min(pairs, default=None)
        if best is None or -best[0] < threshold:
            break
        groups = [group for group in groups if group is not best[3] and group is not best[4]]
        groups.append(sorted(best[3] + best[4]))
    numbers = np.zeros(len(matrix), int)
    for number, group in enumerate(groups):
        numbers[group] = number
    return np.asarray(in_order(numbers))


def test_links_are_kept_once_with_the_better_score() -> None:
    one, other = np.array([3, 1, 1, 2, 0]), np.array([1, 3, 0, 2, 1])
    links = Links.of(one, other, np.array([0.5, 0.7, 0.2, 1.0, 0.1], np.float32))
    assert links.one.tolist() == [0, 1]
    assert links.other.tolist() == [1, 3]
    assert links.scores.tolist() == np.array([0.2, 0.7], np.float32).tolist()
    assert len(links.within(np.array([0, 0, 1, 1]))) == 1


def test_groups_by_hand() -> None:
    """0–1–2 in a chain whose ends do not match, 4 and 5 at the threshold, 3 alone."""
    known = Links.of(
        np.array([0, 1, 0, 4, 3]), np.array([1, 2, 2, 5, 5]), np.array([0.9, 0.8, 0.1, 0.7, 0.2])
    )
    matches = known.where(known.scores >= 0.7)
    groups = describe_groups(connected_groups(6, matches), matches, known, 0.7)
    assert groups.numbers.tolist() == [0, 0, 0, 1, 2, 2]
    assert groups.sizes.tolist() == [3, 1, 2]
    np.testing.assert_array_equal(groups.weakest_chain, [0.8, np.nan, 0.7])
    np.testing.assert_array_equal(groups.lowest_score, [0.1, np.nan, 0.7])
    assert groups.num_unmatched.tolist() == [1, 0, 0]
    assert groups.is_flagged.tolist() == [True, False, False]
    assert groups.num_shared == 2
    # Without the pair that is known not to match, the lowest score is that of a match.
    assert describe_groups(groups.numbers, matches).lowest_score[0] == 0.8
    assert complete_groups(6, matches).tolist() == [0, 0, 1, 2, 3, 3]


def test_a_match_below_the_threshold_flags_its_group() -> None:
    """As rules that give every item a match may leave it."""
    matches = Links.of(np.array([0, 2]), np.array([1, 3]), np.array([0.4, 0.6]))
    groups = describe_groups(connected_groups(4, matches), matches, threshold=0.5)
    assert groups.is_flagged.tolist() == [True, False]


def test_no_items_and_no_links() -> None:
    nothing = Links.of(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    assert connected_groups(3, nothing).tolist() == [0, 1, 2]
    assert complete_groups(3, nothing).tolist() == [0, 1, 2]
    assert not describe_groups(np.arange(3), nothing).is_flagged.any()
    assert connected_groups(0, nothing).tolist() == []
    assert describe_groups(np.arange(0), nothing).sizes.tolist() == []


@given(st.integers(1, 30), st.integers(0, 500), st.floats(0, 1))
def test_connected_groups_are_those_of_a_plain_search(
    num_items: int, seed: int, threshold: float
) -> None:
    links = links_of(drawn_scores(num_items, seed), threshold)
    assert connected_groups(num_items, links).tolist() == by_plain_search(num_items, links)


@pytest.mark.parametrize("seed", range(5))
def test_chains_are_where_single_linkage_joins(seed: int) -> None:
    """The last joint of single linkage within a group is its weakest chain."""
    scores = drawn_scores(25, seed)
    threshold = 0.9
    links = links_of(scores, threshold)
    groups = describe_groups(connected_groups(25, links), links, links_of(scores), threshold)
    distances = squareform(1 - scores - np.eye(25), checks=False)
    joints = linkage(distances, "single")
    expected = fcluster(joints, 1 - threshold, "distance")
    np.testing.assert_array_equal(groups.numbers, in_order(expected))
    for number in range(len(groups.sizes)):
        members = np.flatnonzero(groups.numbers == number)
        if len(members) > 1:
            inner = scores[np.ix_(members, members)]
            above = squareform(1 - inner - np.eye(len(members)), checks=False)
            assert groups.weakest_chain[number] == pytest.approx(
                1 - linkage(above, "single")[-1, 2]
            )
            assert groups.lowest_score[number] == inner[np.triu_indices(len(members), 1)].min()


def test_chains_tell_scores_apart_that_differ_in_the_last_bit() -> None:
    low = np.nextafter(np.float32(1e-20), np.float32(0))
    scores = np.array([1e-20, low, 0.0, -1.0], np.float32)
    links = Links.of(np.array([0, 1, 3, 5]), np.array([1, 2, 4, 6]), scores)
    groups = describe_groups(connected_groups(7, links), links)
    assert groups.weakest_chain.tolist() == [float(low), 0.0, -1.0]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.9])
def test_complete_groups_are_those_of_scipy(seed: int, threshold: float) -> None:
    scores = drawn_scores(20, seed)
    joints = linkage(squareform(1 - scores - np.eye(20), checks=False), "complete")
    expected = fcluster(joints, 1 - threshold + 1e-12, "distance")
    found = complete_groups(20, links_of(scores, threshold))
    np.testing.assert_array_equal(found, in_order(expected))


@given(st.integers(1, 14), st.integers(0, 500), st.sampled_from([0.0, 0.2, 0.4, 0.8]))
def test_complete_groups_break_ties_as_a_plain_agglomeration(
    num_items: int, seed: int, threshold: float
) -> None:
    scores = drawn_scores(num_items, seed, ties=True)
    found = complete_groups(num_items, links_of(scores, threshold))
    np.testing.assert_array_equal(found, by_plain_agglomeration(scores, threshold))


@given(st.integers(1, 40), st.integers(0, 500), st.floats(0, 1))
def test_all_pairs_of_a_complete_group_match(num_items: int, seed: int, threshold: float) -> None:
    links = links_of(drawn_scores(num_items, seed, ties=True), threshold)
    numbers = complete_groups(num_items, links)
    groups = describe_groups(numbers, links, threshold=threshold)
    assert not groups.is_flagged.any()
    # None of them leaves the group that chains make.
    whole = connected_groups(num_items, links)
    assert len(np.unique(np.stack([whole, numbers]), axis=1)[0]) == numbers.max() + 1
