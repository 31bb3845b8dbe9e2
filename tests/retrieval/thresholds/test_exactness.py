"""Tuned values against brute force over every distinct score, with ties, rules and missing rows."""

from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.store import Store
from retrieval.metrics.judgements import Judgements
from retrieval.selection import evaluation_rows
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.joint import SeveralThresholds
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.preparing import prepare
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.strategies import OneThreshold, matches_of
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import tune_threshold
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store
from tests.retrieval.thresholds.plain_matching import (
    Example,
    distinct_scores,
    example,
    plain_matches,
    plain_pairs,
    plain_value,
    whole_groups,
)

SEEDS = st.integers(0, 2**32 - 1)
OBJECTIVES = st.one_of(
    st.sampled_from([Objective(), Objective("pair-f1")]),
    st.builds(
        Objective,
        st.sampled_from(["recall-at-precision", "precision-at-recall"]),
        st.sampled_from([0.25, 0.5, 0.8, 1.0]),
    ),
)


@st.composite
def rules_of(draw: st.DrawFn, *, is_self_join: bool) -> Rules:
    at_least = draw(st.integers(1, 3))
    at_most = draw(st.none() | st.integers(at_least, 5))
    return Rules(at_least, at_most, draw(st.booleans()), is_self_join and draw(st.booleans()))


@settings(max_examples=150)
@given(SEEDS, st.booleans(), OBJECTIVES, st.data())
def test_one_threshold_is_that_of_brute_force(
    seed: int, is_self_join: bool, objective: Objective, data: st.DataObject
) -> None:
    case = example(seed, is_self_join=is_self_join)
    rules = data.draw(rules_of(is_self_join=is_self_join))
    strategy = OneThreshold(case.pool(rules), objective)
    for chosen in whole_groups(case, seed):
        fit = strategy.fit(chosen)
        reached = {
            cut: plain_value(case, rules, objective, plain_matches(case, rules, (cut,)), chosen)
            for cut in [*distinct_scores(case, 0), fit.thresholds[0]]
        }
        assert fit.value == pytest.approx(max(reached.values()), abs=1e-9)
        assert reached[fit.thresholds[0]] == pytest.approx(fit.value, abs=1e-9)
        highest = max(cut for cut, value in reached.items() if value >= fit.value - 1e-9)
        taken, fewest = (plain_matches(case, rules, (cut,)) for cut in (*fit.thresholds, highest))
        assert [taken[row] for row in np.flatnonzero(chosen)] == [
            fewest[row] for row in np.flatnonzero(chosen)
        ]


@settings(max_examples=40)
@given(SEEDS, st.booleans(), st.booleans(), OBJECTIVES, st.data())
def test_two_thresholds_are_those_of_brute_force(
    seed: int, is_self_join: bool, takes_any: bool, objective: Objective, data: st.DataObject
) -> None:
    case = example(seed, 2, is_self_join=is_self_join, num_rows=6)
    rules = data.draw(rules_of(is_self_join=is_self_join))
    strategy = SeveralThresholds(case.pool(rules), objective, takes_any=takes_any)
    for chosen in whole_groups(case, seed):
        fit = strategy.fit(chosen)
        cuts = product(distinct_scores(case, 0), distinct_scores(case, 1))
        values = {
            pair: plain_value(
                case,
                rules,
                objective,
                plain_matches(case, rules, pair, takes_any=takes_any),
                chosen,
            )
            for pair in [*cuts, fit.thresholds]
        }
        assert fit.value == pytest.approx(max(values.values()), abs=1e-9)
        assert values[fit.thresholds] == pytest.approx(fit.value, abs=1e-9)


@settings(max_examples=15)
@given(SEEDS, st.booleans(), OBJECTIVES)
def test_three_thresholds_are_those_of_brute_force(
    seed: int, takes_any: bool, objective: Objective
) -> None:
    case, rules = example(seed, 3, num_rows=5), Rules()
    fit = SeveralThresholds(case.pool(rules), objective, takes_any=takes_any).fit(np.ones(5, bool))
    values = [
        plain_value(
            case,
            rules,
            objective,
            plain_matches(case, rules, cuts, takes_any=takes_any),
            np.ones(5, bool),
        )
        for cuts in product(*(distinct_scores(case, space) for space in range(3)))
    ]
    assert fit.value == pytest.approx(max(values), abs=1e-9)


@pytest.mark.parametrize("combine", ["union", "intersection"])
def test_two_thresholds_are_no_worse_than_any_of_a_grid_of_nine_by_nine(
    tmp_path: Path, combine: str
) -> None:
    vectors = [clustered(200, 3, spread=0.9, seed=seed) for seed in (0, 1)]
    spaces = {name: (dense_info(16), found) for name, (found, _) in zip("ab", vectors, strict=True)}
    path = write_store(tmp_path / "a.h5", spaces, {"label": vectors[0][1]})
    tune = TuneSettings(("a", "b"), "label", combine=combine, protocol="same-rows", k=10)
    with Store(path) as store:
        prepared = prepare(evaluation_rows(store, tune), tune, 10)
        result = tune_threshold(store, tune)
    pool, takes_any = prepared.pools[prepared.shares], combine == "union"
    assert len(np.unique(pool.candidates.scores)) > 5000  # far more than are tried at first

    def mean_f1(cuts: tuple[float, ...]) -> float:
        matches = matches_of(
            pool.candidates, pool.limits, np.array(cuts)[:, None], takes_any=takes_any
        )
        return float(pool.outcome(matches).f1.mean())

    tenths = [tenth / 10 for tenth in range(1, 10)]
    best = max(map(mean_f1, product(tenths, repeat=2)))
    assert result.reached["row_f1"] == pytest.approx(mean_f1(result.rule.thresholds))
    assert mean_f1(result.rule.thresholds) >= best


@settings(max_examples=100)
@given(SEEDS, st.booleans(), st.booleans(), st.data())
def test_what_is_taken_and_its_pairs_are_those_of_sets(
    seed: int, is_self_join: bool, takes_any: bool, data: st.DataObject
) -> None:
    case = example(seed, 2, is_self_join=is_self_join)
    rules = data.draw(rules_of(is_self_join=is_self_join))
    cuts = data.draw(st.tuples(*[st.sampled_from(distinct_scores(case, at)) for at in (0, 1)]))
    pool = case.pool(rules)
    matches = matches_of(pool.candidates, pool.limits, np.array(cuts)[:, None], takes_any=takes_any)
    plain = plain_matches(case, rules, cuts, takes_any=takes_any)
    assert _sets(case, matches) == plain
    outcome = pool.outcome(matches)
    pairs, hits, true_pairs = plain_pairs(case, rules, plain, list(range(len(plain))))
    assert (outcome.pairs.sum(), outcome.hits.sum(), pool.num_true_pairs()) == (
        pairs,
        hits,
        true_pairs,
    )
    assert outcome.num_taken.tolist() == [1 + len(taken) for taken in plain]


@settings(max_examples=60)
@given(SEEDS, OBJECTIVES, st.integers(1, 3), st.booleans(), st.randoms(use_true_random=False))
def test_a_gallery_of_all_queries_counts_pairs_as_a_self_join_does(
    seed: int, objective: Objective, at_least: int, gap: bool, random: Random
) -> None:
    # The queries come in any order, so that their numbers are not those of the gallery.
    case, rules = example(seed), Rules(at_least, gap=gap)
    order = np.array(random.sample(range(len(case.own)), len(case.own)))
    judged = case.pool(rules).judged
    found = []
    for rows, is_self_join in ((np.arange(len(order)), True), (order, False)):
        candidates = Candidates(
            case.candidates.rows[rows],
            case.candidates.scores[:, rows],
            case.candidates.combined[rows],
        )
        moved = Judgements(
            judged.relevant[rows],
            judged.num_true[rows],
            judged.groups[rows],
            judged.num_shared[rows],
        )
        pool = Pool.of(candidates, moved, rules, is_self_join=is_self_join)
        strategy = OneThreshold(pool, objective)
        fit = strategy.fit(np.ones(len(rows), bool))
        outcome = strategy.outcome(fit)
        counts = outcome.pairs, outcome.hits, outcome.true_pairs
        found.append((fit, [values[np.argsort(rows)].tolist() for values in counts]))
    assert found[0][0].thresholds == found[1][0].thresholds
    assert found[0][0].value == pytest.approx(found[1][0].value, abs=1e-12)
    assert found[0][1] == found[1][1]


def _sets(case: Example, matches: np.ndarray) -> list[set[int]]:
    return [
        {int(other) for other in rows[1:][taken[1:]]}
        for rows, taken in zip(case.candidates.rows, matches, strict=True)
    ]
