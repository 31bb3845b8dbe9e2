"""Groups of matches, their weakest links and their order: by plain loops over small stores."""

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.errors import IdError, SettingsError
from retrieval.matches.grouping import Linkage
from retrieval.service.groups import StoreGroups, groups_of, make_groups
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.candidates import Candidates
from tests.conftest import Invoke
from tests.retrieval.retrieval_stores import dense_info, exact_vectors, write_store
from tests.retrieval.service.snapshots import opened_snapshot

SECONDS = 20.0
Pairs = dict[tuple[int, int], float]


def grouped(num_items: int, pairs: Pairs, threshold: float, linkage: Linkage) -> StoreGroups:
    """Groups of items whose scores are given; what is not given is no candidate."""
    rows = np.full((num_items, num_items), -1)
    scores = np.full((num_items, num_items), -np.inf, np.float32)
    rows[:, 0], scores[:, 0] = np.arange(num_items), 1
    for item in range(num_items):
        near = {
            other: pairs[min(item, other), max(item, other)]
            for other in range(num_items)
            if (min(item, other), max(item, other)) in pairs
        }
        order = sorted(near, key=lambda other: (-near[other], other))
        rows[item, 1 : 1 + len(order)] = order
        scores[item, 1 : 1 + len(order)] = [near[other] for other in order]
    candidates = Candidates(rows, scores[None], scores)
    taken = (scores >= threshold) & (rows >= 0)
    return make_groups(candidates, taken, linkage, np.array([[threshold]]))


def test_a_chain_is_as_weak_as_its_weakest_link() -> None:
    pairs = {(0, 1): 0.9, (1, 2): 0.75, (2, 3): 0.875, (0, 2): 0.25, (5, 6): 1.0}
    found = grouped(7, pairs, 0.5, "single")
    assert found.num_shared == 2
    assert found.ordered("size").tolist() == [0, 2]
    assert found.ordered("doubt").tolist() == [0, 2]
    assert found.items(0).tolist() == [1, 2, 0, 3]  # the weakest link first
    assert found.weakest_link(0) == (1, 2)
    assert found.margins[0] == pytest.approx(0.25)
    assert found.groups.lowest_score[0] == 0.25
    assert found.groups.is_flagged.tolist() == [True, False, False]
    assert [pair for pair, _ in found.links(0)] == [(1, 2), (2, 3), (0, 1)]
    assert found.weakest_link(1) is None
    assert found.items(1).tolist() == [4]


def test_the_weakest_link_is_on_the_best_way() -> None:
    # A weaker link beside a stronger way round ties nothing together.
    pairs = {(0, 1): 0.9, (1, 2): 0.9, (0, 2): 0.5}
    found = grouped(3, pairs, 0.5, "single")
    assert found.weakest_link(0) in ((0, 1), (1, 2))
    assert next(found.links(0)) == ((0, 2), 0.5)


def test_complete_groups_have_no_chains() -> None:
    pairs = {(0, 1): 0.9, (1, 2): 0.75, (2, 3): 0.875}
    found = grouped(4, pairs, 0.5, "complete")
    assert [found.items(number).tolist() for number in range(2)] == [[0, 1], [2, 3]]
    assert not found.groups.is_flagged.any()


def test_no_match_makes_no_group() -> None:
    found = grouped(3, {(0, 1): 0.25}, 0.5, "single")
    assert found.num_shared == 0
    assert len(found.ordered("size")) == 0


def test_a_group_that_there_is_not() -> None:
    with pytest.raises(IdError, match="no group 4: groups are numbered from 1 to 3"):
        grouped(3, {}, 0.5, "single").items(3)


@settings(max_examples=40)
@given(st.data())
def test_groups_are_those_of_a_plain_loop(data: st.DataObject) -> None:
    num_items = data.draw(st.integers(1, 8))
    scores = st.sampled_from([0.125, 0.25, 0.5, 0.625, 0.75, 1.0])
    pairs = {
        pair: score
        for pair in combinations(range(num_items), 2)
        if (score := data.draw(st.none() | scores)) is not None
    }
    found = grouped(num_items, pairs, 0.5, "single")
    wanted = plain_groups(num_items, pairs, 0.5)
    shared = sorted(group for group in wanted if len(group) > 1)
    ordered = found.ordered("doubt").tolist()
    assert sorted(sorted(found.items(number).tolist()) for number in ordered) == shared
    margins = [found.margins[number] for number in ordered]
    assert margins == sorted(margins)
    for number in ordered:
        group = sorted(found.items(number).tolist())
        widest = plain_weakest(group, pairs, 0.5)
        link = found.weakest_link(number)
        assert link is not None and pairs[link] == found.groups.weakest_chain[number] == widest
    sizes = [found.groups.sizes[number] for number in found.ordered("size")]
    assert sizes == sorted(sizes, reverse=True)


def plain_groups(num_items: int, pairs: Pairs, threshold: float) -> list[list[int]]:
    groups = [{item} for item in range(num_items)]
    for (one, other), score in pairs.items():
        if score >= threshold:
            joined = [group for group in groups if one in group or other in group]
            groups = [group for group in groups if group not in joined]
            groups.append(set().union(*joined))
    return [sorted(group) for group in groups]


def plain_weakest(group: list[int], pairs: Pairs, threshold: float) -> float:
    """The highest score at which the group still holds together."""
    scores = sorted({score for score in pairs.values() if score >= threshold}, reverse=True)
    num_items = 1 + max(group)
    known = {pair: score for pair, score in pairs.items() if set(pair) <= set(group)}
    return next(score for score in scores if group in plain_groups(num_items, known, score))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    vectors = exact_vectors(40, seed=5)
    return write_store(tmp_path / "store.h5", {"dense": (dense_info(16), vectors)})


@pytest.mark.parametrize("linkage", ["single", "complete"])
def test_groups_are_those_that_retrieval_match_writes(
    path: Path, linkage: Linkage, retrieval_cli: Invoke, tmp_path: Path
) -> None:
    file = tmp_path / "groups.csv"
    arguments = ("--space", "dense", "--groups", file, "--linkage", linkage)
    retrieval_cli("match", path, "--threshold", "0.6", "-o", tmp_path / "matches.csv", *arguments)
    snapshot = opened_snapshot(ServiceSettings(path, "0.6", "dense"))
    found = groups_of(snapshot, linkage).result(SECONDS)
    lines = pl.read_csv(file)
    for number in range(len(found.groups.sizes)):
        wanted = lines.filter(pl.col("group") == number + 1)
        ids = {snapshot.catalogue.id_of(row) for row in found.items(number).tolist()}
        assert ids == set(wanted["id"])
        if len(ids) > 1:
            assert found.groups.weakest_chain[number] == pytest.approx(wanted["weakest_chain"][0])
            assert found.groups.lowest_score[number] == pytest.approx(wanted["lowest_score"][0])
        assert bool(found.groups.is_flagged[number]) is wanted["flagged"][0]
    snapshot.close()


def test_without_a_threshold_one_has_to_be_given(path: Path) -> None:
    snapshot = opened_snapshot(ServiceSettings(path))
    with pytest.raises(SettingsError, match="give threshold=SCORE"):
        groups_of(snapshot, "single")
    low = groups_of(snapshot, "single", ["0.25"]).result(SECONDS)
    high = groups_of(snapshot, "single", ["0.9"]).result(SECONDS)
    assert low.groups.sizes.max() > high.groups.sizes.max()
    snapshot.close()
