"""From matches to pairs, and from queries to categories and intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Bool, Int

from retrieval.evaluation.measuring import Measured, pair_counts, ranking_values, row_values
from retrieval.metrics.judgements import judge_join
from retrieval.metrics.sets import PairCounts
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.rules import Rules


def measured(
    rows: Int[np.ndarray, "n c"], matches: Bool[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]
) -> Measured:
    """Everything about matches among items that look among one another."""
    judged = judge_join(rows, labels)
    scores = np.linspace(1, 0, rows.size, dtype=np.float32).reshape(rows.shape)
    outcome = Pool.of(Candidates(rows, scores[None], scores), judged, Rules()).outcome(matches)
    values = row_values(outcome) | ranking_values(judged, rows.shape[1] - 1)
    return Measured(values, pair_counts(outcome), judged.groups)


def test_a_pair_counts_once_from_whichever_side_it_was_found() -> None:
    # 0–1 is found by both, 2–0 by 2 alone and is wrong; 2–3 is true and found by nobody.
    rows = np.array([[0, 1], [1, 0], [2, 0], [3, 1]])
    matches = np.array([[1, 1], [1, 1], [1, 1], [1, 0]], bool)
    means = measured(rows, matches, np.array([0, 0, 1, 1])).means()
    assert [means[f"pair_{name}"] for name in ("precision", "recall", "f1")] == [0.5] * 3


@settings(max_examples=50)
@given(st.data())
def test_pairs_are_those_of_a_set(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 6))
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    orders = [data.draw(st.permutations(range(size))) for _ in range(size)]
    rows = np.array([[n, *(m for m in order if m != n)] for n, order in enumerate(orders)])
    chosen = data.draw(st.lists(st.booleans(), min_size=rows.size, max_size=rows.size))
    matches = np.array(chosen).reshape(rows.shape)
    matches[:, 0] = True
    pairs = measured(rows, matches, labels).pairs
    assert pairs is not None
    found = {
        frozenset((n, int(m))) for n in range(size) for m in rows[n, matches[n]] if int(m) != n
    }
    true = {frozenset((a, b)) for a in range(size) for b in range(a) if labels[a] == labels[b]}
    sums = pairs.num_matched.sum(), pairs.num_common.sum(), pairs.num_true.sum()
    assert sums == (len(found), len(found & true), len(true))


def test_pairs_are_shown_for_parts_that_cut_none_in_two() -> None:
    rows = np.array([[0, 1], [1, 0], [2, 3], [3, 2]])
    whole = measured(rows, np.ones((4, 2), bool), np.array([0, 0, 1, 1]))
    first_group = whole.of(np.array([True, True, False, False])).means()
    assert first_group["pair_f1"] == 1
    cut = whole.of(np.array([True, False, False, False]))
    assert "pair_f1" not in cut.means()
    assert cut.means()["row_f1"] == 1


def test_intervals_draw_groups_and_leave_out_what_has_no_value() -> None:
    # Group 0 has values 1, 1; group 1 has 0 and none: 1000 draws of two groups each.
    values = {"recall@1": np.array([1.0, 1, 0, np.nan]), "never": np.full(4, np.nan)}
    whole = Measured(values, None, np.array([0, 0, 1, 1]))
    assert whole.means() == {"recall@1": pytest.approx(2 / 3), "never": None}
    intervals = whole.intervals(np.random.default_rng(0))
    assert intervals == {"recall@1": (0, 1), "never": None}


def test_intervals_of_pairs_are_of_ratios_of_sums() -> None:
    generator = np.random.default_rng(1)
    true, matched = generator.integers(1, 4, (2, 300)).astype(float)
    common = np.minimum(true, matched) * generator.integers(0, 2, 300)
    groups = np.repeat(np.arange(100), 3)
    whole = Measured({}, PairCounts(common, matched, true), groups)
    low, high = whole.intervals(np.random.default_rng(2))["pair_f1"] or (1, 0)
    drawn = np.random.default_rng(3).integers(0, 100, (4000, 100))
    sums = [values.reshape(100, 3).sum(axis=1)[drawn].sum(axis=1) for values in (common, matched)]
    total = sums[1] + true.reshape(100, 3).sum(axis=1)[drawn].sum(axis=1)
    np.testing.assert_allclose(
        (low, high), np.percentile(2 * sums[0] / total, [2.5, 97.5]), atol=0.01
    )


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 4, 30)
    rows = np.array([[n, *generator.permutation(np.delete(np.arange(30), n))] for n in range(30)])
    for width in (30, 6):  # in 6 columns, R-precision can't be had of all
        judged = judge_join(rows[:, :width], labels)
        whole = ranking_values(judged, 5)
        with monkeypatch.context() as patch:
            patch.setattr("retrieval.evaluation.measuring.BLOCK_CELLS", 4 * width)
            blocks = ranking_values(judged, 5)
        assert list(blocks) == list(whole)
        assert ("map@r" in whole) == (width == 30)
        for name, values in whole.items():
            np.testing.assert_array_equal(blocks[name], values)
