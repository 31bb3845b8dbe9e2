"""Objectives of pairs where scores are not the same both ways round, as after query expansion."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.store import Store
from retrieval.finding import Finding
from retrieval.refining.refinements import Refinements
from retrieval.selection import evaluation_rows
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.preparing import prepare
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.strategies import OneThreshold, matches_of
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import tune_threshold
from tests.retrieval.retrieval_stores import dense_info, write_store
from tests.retrieval.thresholds.plain_matching import (
    distinct_scores,
    example,
    plain_matches,
    plain_pairs,
    plain_value,
    whole_groups,
)
from tests.retrieval.thresholds.test_exactness import OBJECTIVES, SEEDS, rules_of

NUM_ROWS = 60


@settings(max_examples=150)
@given(SEEDS, st.booleans(), OBJECTIVES, st.data())
def test_one_threshold_is_that_of_brute_force(
    seed: int, is_self_join: bool, objective: Objective, data: st.DataObject
) -> None:
    case = example(seed, is_self_join=is_self_join, is_symmetric=False)
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


@settings(max_examples=100)
@given(SEEDS, st.booleans(), st.data())
def test_each_pair_is_counted_once(seed: int, is_self_join: bool, data: st.DataObject) -> None:
    case = example(seed, is_self_join=is_self_join, is_symmetric=False)
    rules = data.draw(rules_of(is_self_join=is_self_join))
    cut = data.draw(st.sampled_from(distinct_scores(case, 0)))
    pool = case.pool(rules)
    outcome = pool.outcome(matches_of(pool.candidates, pool.limits, np.array([[cut]])))
    plain = plain_matches(case, rules, (cut,))
    found = outcome.pairs.sum(), outcome.hits.sum(), pool.num_true_pairs()
    assert found == plain_pairs(case, rules, plain, list(range(len(plain))))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    labels = np.sort(generator.integers(0, 20, NUM_ROWS))
    centres = generator.standard_normal((20, 16))
    vectors = (centres[labels] + generator.standard_normal((NUM_ROWS, 16))).astype(np.float32)
    return write_store(tmp_path / "store.h5", {"a": (dense_info(16), vectors)}, {"label": labels})


@pytest.mark.parametrize(
    "refinements", [Refinements(expand=3), Refinements(augment=3)], ids=["expand", "augment"]
)
@pytest.mark.parametrize("rules", [Rules(), Rules(at_most=4), Rules(at_least=2)], ids=str)
def test_refined_neighbours_are_tuned_exactly(
    path: Path, refinements: Refinements, rules: Rules
) -> None:
    with Store(path) as store:
        tune = TuneSettings(
            ("a",),
            "label",
            objective=Objective("pair-f1"),
            protocol="same-rows",
            k=20,
            finding=Finding(refinements=refinements),
            rules=rules,
        )
        prepared = prepare(evaluation_rows(store, tune), tune, 20)
        reached = tune_threshold(store, tune).reached["pair_f1"]
    pool = prepared.pools[prepared.shares]
    scores = pool.candidates.scores[0]
    values = []
    for cut in [*np.unique(scores[np.isfinite(scores)]).tolist(), 2.0]:
        matches = matches_of(pool.candidates, pool.limits, np.array([[cut]]))[:, 1:]
        rows, columns = np.nonzero(matches)
        others, relevant = pool.candidates.rows[:, 1:], pool.judged.relevant[:, 1:]
        taken = {
            frozenset((int(row), int(others[row, column]))): bool(relevant[row, column])
            for row, column in zip(rows, columns, strict=True)
        }
        values.append(2 * sum(taken.values()) / (len(taken) + pool.num_true_pairs()))
    assert prepared.strategy.fit(np.ones(NUM_ROWS, bool)).value == pytest.approx(max(values))
    assert reached == pytest.approx(max(values))
