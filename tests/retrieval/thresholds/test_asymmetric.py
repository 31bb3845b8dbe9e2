"""Objectives of pairs where scores are not the same both ways round, as after query expansion."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.store import Store
from retrieval.finding import Finding
from retrieval.refining.refinements import Refinements
from retrieval.selection import evaluation_rows
from retrieval.thresholds.grids import Grid
from retrieval.thresholds.joint import SeveralThresholds
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.preparing import prepare
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.strategies import OneThreshold, matches_of
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import tune_threshold
from tests.retrieval.retrieval_stores import dense_info, exact_vectors, write_store
from tests.retrieval.thresholds.plain_matching import (
    Example,
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


@pytest.mark.parametrize("takes_any", [True, False], ids=["union", "intersection"])
@pytest.mark.parametrize("seed", [13, 31, 40])
def test_two_thresholds_are_the_best_where_the_spaces_disagree_on_who_is_first(
    seed: int, takes_any: bool
) -> None:
    case = example(seed, 2, is_symmetric=False, num_rows=6)
    assert case.pool(Rules()).uneven_pairs is not None
    assert_best(case, Rules(), Objective("pair-f1"), seed + 1, takes_any=takes_any)


@settings(max_examples=30)
@given(SEEDS, st.booleans(), st.booleans(), OBJECTIVES, st.data())
def test_two_thresholds_are_those_of_brute_force(
    seed: int, is_self_join: bool, takes_any: bool, objective: Objective, data: st.DataObject
) -> None:
    case = example(seed, 2, is_self_join=is_self_join, is_symmetric=False, num_rows=6)
    rules = data.draw(rules_of(is_self_join=is_self_join))
    assert_best(case, rules, objective, seed, takes_any=takes_any)


def assert_best(
    case: Example, rules: Rules, objective: Objective, seed: int, *, takes_any: bool
) -> None:
    """The thresholds are the best of all, for all rows and some, and what they are said to be."""
    strategy = SeveralThresholds(case.pool(rules), objective, takes_any=takes_any)
    for chosen in whole_groups(case, seed):
        fit = strategy.fit(chosen)
        cuts = product(distinct_scores(case, 0), distinct_scores(case, 1))
        matches = {
            pair: plain_matches(case, rules, pair, takes_any=takes_any)
            for pair in [*cuts, fit.thresholds]
        }
        values = {
            pair: plain_value(case, rules, objective, taken, chosen)
            for pair, taken in matches.items()
        }
        assert fit.value == pytest.approx(max(values.values()), abs=1e-9)
        assert values[fit.thresholds] == pytest.approx(fit.value, abs=1e-9)


@settings(max_examples=60)
@given(SEEDS, st.booleans(), st.booleans(), OBJECTIVES, st.data())
def test_every_cell_of_a_grid_is_what_its_thresholds_reach(
    seed: int, is_self_join: bool, takes_any: bool, objective: Objective, data: st.DataObject
) -> None:
    case = example(seed, 2, is_self_join=is_self_join, is_symmetric=False, num_rows=6)
    assert_cells(case, data.draw(rules_of(is_self_join=is_self_join)), objective, seed, takes_any)


@pytest.mark.parametrize("takes_any", [True, False], ids=["union", "intersection"])
@pytest.mark.parametrize("seed", [13, 31, 40])
def test_every_cell_is_where_the_spaces_disagree_on_who_is_first(
    seed: int, takes_any: bool
) -> None:
    case = example(seed, 2, is_symmetric=False, num_rows=6)
    assert case.pool(Rules()).uneven_pairs is not None
    assert_cells(case, Rules(), Objective("pair-f1"), seed + 1, takes_any)


def assert_cells(
    case: Example, rules: Rules, objective: Objective, seed: int, takes_any: bool
) -> None:
    """Each cell of a grid of all distinct scores is the plain value, of all rows and of some."""
    levels = [np.array(distinct_scores(case, space)) for space in (0, 1)]
    grid, pool = Grid(levels, takes_any), case.pool(rules)
    for chosen in whole_groups(case, seed):
        values = grid.values(pool, objective, chosen)
        assert values.shape == tuple(map(len, levels))
        for pair, value in zip(product(*levels), values.reshape(-1), strict=True):
            taken = plain_matches(case, rules, pair, takes_any=takes_any)
            plain = plain_value(case, rules, objective, taken, chosen)
            assert value == pytest.approx(plain, abs=1e-6)


def test_uneven_pairs_are_not_looked_for_where_no_pair_counts() -> None:
    case = example(13, 2, is_symmetric=False, num_rows=6)
    pool = case.pool(Rules())
    SeveralThresholds(pool, Objective("row-f1"), takes_any=True).fit(np.ones(6, bool))
    assert "uneven_pairs" not in vars(pool)


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
    cuts = [(cut,) for cut in cuts_of(pool, 0)]
    best = max(pair_f1_of_sets(pool, cut) for cut in cuts)
    assert prepared.strategy.fit(np.ones(NUM_ROWS, bool)).value == pytest.approx(best)
    assert reached == pytest.approx(best)


def cuts_of(pool: Pool, space: int) -> list[float]:
    """Each score of a space, and one that none reaches."""
    scores = pool.candidates.scores[space]
    return [*np.unique(scores[np.isfinite(scores)]).tolist(), 2.0]


def pair_f1_of_sets(pool: Pool, cuts: tuple[float, ...], *, takes_any: bool = True) -> float:
    """F1 of the pairs that are taken, each of them once, of items that look among one another."""
    thresholds = np.array(cuts)[:, None]
    matches = matches_of(pool.candidates, pool.limits, thresholds, takes_any=takes_any)[:, 1:]
    rows, columns = np.nonzero(matches)
    others, relevant = pool.candidates.rows[:, 1:], pool.judged.relevant[:, 1:]
    taken = {
        frozenset((int(row), int(others[row, column]))): bool(relevant[row, column])
        for row, column in zip(rows, columns, strict=True)
    }
    return 2 * sum(taken.values()) / (len(taken) + pool.num_true_pairs())


@pytest.mark.parametrize("combine", ["union", "intersection"])
def test_items_among_those_of_another_store_with_their_ids_are_tuned_exactly(
    tmp_path: Path, combine: str
) -> None:
    labels = np.arange(14) // 2
    paths = [
        write_store(
            tmp_path / f"{seed}.h5",
            {
                "a": (dense_info(16), exact_vectors(14, seed)),
                "b": (dense_info(16), exact_vectors(14, seed + 1)),
            },
            {"label": labels},
        )
        for seed in (3, 5)
    ]
    tune = TuneSettings(
        ("a", "b"),
        "label",
        combine=combine,
        objective=Objective("pair-f1"),
        protocol="same-rows",
        k=14,
    )
    with Store(paths[0]) as store, Store(paths[1]) as gallery:
        prepared = prepare(evaluation_rows(store, tune, gallery), tune, 13)
        reached = tune_threshold(store, tune, gallery).reached["pair_f1"]
    pool = prepared.pools[prepared.shares]
    assert pool.uneven_pairs is not None
    takes_any = combine == "union"
    cuts = product(cuts_of(pool, 0), cuts_of(pool, 1))
    best = max(pair_f1_of_sets(pool, pair, takes_any=takes_any) for pair in cuts)
    assert reached == pytest.approx(best)
