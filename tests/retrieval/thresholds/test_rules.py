import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.errors import SettingsError
from retrieval.search.ranking import NO_ROW
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.rules import Rules, bounds, mutual_entries
from tests.retrieval.thresholds.plain_matching import allowed, example

ONE = np.array([[1, 0.9, 0.85, 0.4, 0.35]], np.float32)


def of_one_row(scores: np.ndarray) -> Candidates:
    rows = np.where(np.isfinite(scores), np.arange(scores.shape[1]), NO_ROW)
    return Candidates(rows, scores[None], scores)


@pytest.mark.parametrize(
    ("rules", "always", "possible"),
    [
        (Rules(), "10000", "11111"),
        (Rules(at_least=2), "11000", "11111"),
        (Rules(at_most=3), "10000", "11100"),
        (Rules(gap=True), "10000", "11100"),
        (Rules(at_least=4, gap=True), "11110", "11110"),
        (Rules(at_least=2, at_most=2), "11000", "11000"),
    ],
)
def test_rules_by_hand(rules: Rules, always: str, possible: str) -> None:
    found = bounds(of_one_row(ONE), rules)
    assert "".join(map(str, found.always[0].astype(int))) == always
    assert "".join(map(str, found.possible[0].astype(int))) == possible


@pytest.mark.parametrize(
    ("scores", "num_possible"),
    [
        ([1, 0.2, 0.1], 1),  # the widest fall is from the item itself
        ([1, 0.75, 0.5, 0.25], 1),  # equal falls: the first
        ([1, 1, 1], 3),  # nothing falls
        ([1, 0.9, 0.3, -np.inf, -np.inf], 2),  # beyond the last candidate nothing falls
        ([1, -np.inf], 1),
        ([1], 1),
    ],
)
def test_the_gap_by_hand(scores: list[float], num_possible: int) -> None:
    found = bounds(of_one_row(np.array([scores], np.float32)), Rules(gap=True))
    assert found.possible.sum() == num_possible
    assert found.possible[0, :num_possible].all()


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.data())
def test_rules_are_those_of_sets(seed: int, is_self_join: bool, data: st.DataObject) -> None:
    case = example(seed, is_self_join=is_self_join)
    at_least = data.draw(st.integers(1, 4))
    at_most = data.draw(st.none() | st.integers(at_least, 6))
    reciprocal = is_self_join and data.draw(st.booleans())
    rules = Rules(at_least, at_most, data.draw(st.booleans()), reciprocal)
    found = bounds(case.candidates, rules, is_self_join=is_self_join)
    for row in range(len(case.own)):
        always, may = allowed(case, rules, row)
        ids = case.candidates.rows[row]
        assert set(ids[1:][found.always[row, 1:]].tolist()) == always
        assert set(ids[1:][found.possible[row, 1:]].tolist()) == always | may
        assert found.always[row, 0]
        if at_least > 1 and case.listed(row):
            assert found.always[row].sum() > 1


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_mutual_candidates_are_those_of_sets(seed: int, is_self_join: bool) -> None:
    case = example(seed, is_self_join=is_self_join)
    rows = case.candidates.rows
    taken = np.random.default_rng(seed).random(rows.shape) < 0.7
    width = rows.shape[1]
    directed = {
        (int(case.own[row]), int(rows[row, place])): row * width + place
        for row, place in np.argwhere(taken & (rows != NO_ROW)).tolist()
        if case.own[row] not in (NO_ROW, rows[row, place])
    }
    expected = {
        (entry, directed[other, own])
        for (own, other), entry in directed.items()
        if (other, own) in directed
    }
    found = mutual_entries(rows, taken)
    assert set(zip(*found.tolist(), strict=True)) == expected
    assert found.shape[1] == len(expected)


def test_mistakes_are_told() -> None:
    with pytest.raises(SettingsError, match=r"at-least counts the item itself .*: found 0"):
        Rules(at_least=0)
    with pytest.raises(SettingsError, match="should not be below --at-least: found 1 and 2"):
        Rules(at_least=2, at_most=1)
    with pytest.raises(
        SettingsError, match="--reciprocal is for items that look among one another"
    ):
        bounds(of_one_row(ONE), Rules(reciprocal=True), is_self_join=False)
