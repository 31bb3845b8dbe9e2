import numpy as np
import pytest
from jaxtyping import Int

from embed.errors import SelectionError, SettingsError
from embed.rows import group_position
from retrieval.metrics.intervals import bootstrap_interval
from retrieval.metrics.judgements import Judgements, judge_join
from retrieval.search.neighbours import Neighbours, neighbours_of_vectors
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.curves import metrics_at, score_curve
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.protocols import Tuned, report, tuned
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.strategies import OneThreshold
from tests.retrieval.retrieval_stores import clustered

GROUPS = np.arange(20)


def strategy(neighbours: Neighbours, judged: Judgements) -> OneThreshold:
    return OneThreshold(Pool.of(Candidates.of(neighbours), judged, Rules()), Objective())


def tune(neighbours: Neighbours, judged: Judgements, protocol: str, seed: int) -> Tuned:
    return tuned(strategy(neighbours, judged), judged.groups, GROUPS, protocol, seed)


def example(num_groups: int = 20, group_size: int = 5) -> tuple[Neighbours, Judgements]:
    vectors, labels = clustered(num_groups, group_size, spread=0.8)
    neighbours = neighbours_of_vectors(vectors, 10)
    return neighbours, judge_join(neighbours.rows, labels)


def test_cross_fit_tunes_every_group_on_other_groups() -> None:
    neighbours, judged = example()
    tuning = tune(neighbours, judged, "cross-fit", seed=0)
    whole = score_curve(neighbours, judged)
    assert tuning.fit.thresholds == (whole.threshold(whole.best_cut()),)
    assert tuning.is_reported.all()
    assert tuning.is_tuned_on.all()
    explained = np.zeros(len(judged.groups), bool)
    for fold in folds_by_hand(np.unique(judged.groups), 5, seed=0):
        rows = np.isin(judged.groups, fold)
        curve = score_curve(neighbours, judged, ~rows)
        expected = metrics_at(neighbours, judged, curve.threshold(curve.best_cut()))
        np.testing.assert_allclose(tuning.outcome.f1[rows], expected[0][rows])
        np.testing.assert_allclose(tuning.outcome.recall[rows], expected[2][rows])
        explained |= rows
    assert explained.all()


def folds_by_hand(groups: Int[np.ndarray, " g"], num_folds: int, seed: int) -> list[list[int]]:
    ordered = sorted(groups.tolist(), key=lambda name: group_position(f"threshold:{name}", seed))
    return [
        [group for at, group in enumerate(ordered) if at * num_folds // len(ordered) == fold]
        for fold in range(num_folds)
    ]


def test_holdout_tunes_on_half_of_the_groups_and_reports_the_others() -> None:
    neighbours, judged = example()
    tuning = tune(neighbours, judged, "holdout", seed=0)
    reported = set(judged.groups[tuning.is_reported])
    assert len(reported) == 10
    assert not reported & set(judged.groups[~tuning.is_reported])
    curve = score_curve(neighbours, judged, ~tuning.is_reported)
    assert tuning.fit.thresholds == (curve.threshold(curve.best_cut()),)
    reached = report(tuning, judged.groups, np.random.default_rng(0))
    expected = metrics_at(neighbours, judged, tuning.fit.thresholds[0])[:, tuning.is_reported]
    found = [reached.figures[name] for name in ("row_f1", "precision", "recall")]
    assert found == pytest.approx(list(expected.mean(axis=1)))
    assert reached.num_rows == 50


def test_same_rows_is_never_below_the_honest_protocols() -> None:
    neighbours, judged = example()
    reached = {}
    for protocol in ("same-rows", "cross-fit"):
        tuning = tune(neighbours, judged, protocol, seed=1)
        found = report(tuning, judged.groups, np.random.default_rng(0))
        reached[protocol] = found.figures["row_f1"] or 0.0
    assert reached["same-rows"] >= reached["cross-fit"] > 0
    assert reached["same-rows"] == pytest.approx(score_curve(neighbours, judged).f1.max())


def test_the_groups_that_a_head_has_not_seen_fall_into_all_folds() -> None:
    # A head's test groups are those at .9 and above, with the same seed.
    unseen = np.array([group for group in range(300) if group_position(group, 0) >= 0.9])
    labels = np.repeat(np.arange(len(unseen)), 2)
    vectors = np.random.default_rng(0).standard_normal((len(labels), 8))
    neighbours = neighbours_of_vectors(vectors, 5)
    judged = judge_join(neighbours.rows, labels)
    tuning = tuned(strategy(neighbours, judged), labels, unseen, "holdout", seed=0)
    halves = [group_position(group, 0) for group in unseen[labels[tuning.is_reported]].tolist()]
    assert min(halves) < 0.93 < 0.97 < max(halves)


def test_the_seed_decides_the_folds_and_nothing_else_does() -> None:
    neighbours, judged = example()
    sides = [tune(neighbours, judged, "holdout", seed).is_reported for seed in (0, 0, 1)]
    np.testing.assert_array_equal(sides[0], sides[1])
    assert (sides[0] != sides[2]).any()


def test_mistakes_are_told() -> None:
    neighbours, judged = example(num_groups=4)
    with pytest.raises(SelectionError, match=r"cross-fit needs 5 groups or more .* have 4: .*same"):
        tune(neighbours, judged, "cross-fit", seed=0)
    assert tune(neighbours, judged, "holdout", seed=0).is_reported.sum() == 10
    with pytest.raises(SettingsError, match="no protocol 'leave-one-out': they are cross-fit, "):
        tune(neighbours, judged, "leave-one-out", seed=0)


def test_the_interval_is_that_of_a_plain_loop_over_draws() -> None:
    generator = np.random.default_rng(5)
    groups = generator.integers(0, 12, 90) * 3  # numbers need not be dense
    values = generator.random(90)
    low, high = bootstrap_interval(values, groups, np.random.default_rng(7))
    plain = np.random.default_rng(7)
    means = []
    for _ in range(1000):
        drawn = np.unique(groups)[plain.integers(0, len(np.unique(groups)), len(np.unique(groups)))]
        rows = np.concatenate([values[groups == group] for group in drawn])
        means.append(rows.mean())
    assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    assert low < values.mean() < high


def test_the_interval_does_not_depend_on_how_many_draws_fit_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, groups = np.random.default_rng(0).random(50), np.arange(50) // 2
    at_once = bootstrap_interval(values, groups, np.random.default_rng(0))
    monkeypatch.setattr("retrieval.metrics.intervals.DRAW_CELLS", 100)
    assert bootstrap_interval(values, groups, np.random.default_rng(0)) == at_once
