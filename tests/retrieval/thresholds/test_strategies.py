"""Fits that see nothing of the rows they are reported on; thresholds of categories; weights."""

import numpy as np
import pytest
from jaxtyping import Bool, Int

from retrieval.metrics.judgements import judge_join
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.joint import SeveralThresholds
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.pools import Pool
from retrieval.thresholds.protocols import given, report, tuned
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.strategies import (
    ByCategory,
    Fit,
    OneThreshold,
    Strategy,
    matches_of,
    reach,
)
from retrieval.thresholds.weighing import BestOf

NUM_ROWS, WIDTH = 60, 12
CATEGORIES = np.array(["shoes", "hats", ""])[np.arange(NUM_ROWS) // 3 % 3]
EVERYWHERE = np.ones(NUM_ROWS, bool)


def pool(labels: Int[np.ndarray, " n"], rules: Rules, num_spaces: int = 2, seed: int = 0) -> Pool:
    """Items of which three share a label; scores in shoes are lower than in hats."""
    generator = np.random.default_rng(seed)
    same = np.arange(NUM_ROWS)[:, None] // 3 == np.arange(NUM_ROWS) // 3
    noise = generator.normal(0, 0.15, (num_spaces, NUM_ROWS, NUM_ROWS))
    scores = 0.3 + 0.25 * same + (noise + noise.transpose(0, 2, 1)) / 2
    scores -= 0.2 * (CATEGORIES == "shoes")[:, None]
    combined = scores.mean(axis=0)
    np.fill_diagonal(combined, 9)
    rows = np.argsort(-combined, axis=1)[:, :WIDTH]
    cells = np.take_along_axis(scores, rows[None], 2).astype(np.float32)
    cells[:, :, 0] = 1
    candidates = Candidates(rows, cells, cells.mean(axis=0))
    return Pool.of(candidates, judge_join(rows, labels), rules, categories=CATEGORIES)


def strategy_of(kind: str, labels: Int[np.ndarray, " n"], rules: Rules) -> Strategy:
    objective = Objective("pair-f1")
    if kind in ("union", "intersection"):
        plain: Strategy = SeveralThresholds(
            pool(labels, rules), objective, takes_any=kind == "union"
        )
    else:
        by_weights: dict[tuple[float, ...], Strategy] = {
            (0.1 * seed, 1 - 0.1 * seed): OneThreshold(pool(labels, rules, 1, seed), objective)
            for seed in (1, 2, 3)
        }
        plain = BestOf(by_weights) if kind == "weights" else next(iter(by_weights.values()))
    return ByCategory(plain, CATEGORIES, shrinkage=5.0)


@pytest.mark.parametrize("kind", ["one", "weights", "union", "intersection"])
@pytest.mark.parametrize("rules", [Rules(), Rules(2, 6, gap=True, reciprocal=True)], ids=repr)
def test_no_row_is_reported_by_a_fit_that_saw_its_group(kind: str, rules: Rules) -> None:
    labels = np.arange(NUM_ROWS) // 3
    groups = np.arange(NUM_ROWS)
    honest = strategy_of(kind, labels, rules)
    tuning = tuned(honest, labels, groups, "cross-fit", seed=0)
    outcome = tuning.outcome
    for number, fold in enumerate(_folds(labels, groups)[:2]):
        assert tuning.by_fit[number][0] == honest.fit(~fold)
        np.testing.assert_array_equal(tuning.by_fit[number][1], fold)
        others = honest.outcome(honest.fit(~fold))
        for figure in ("num_taken", "num_common", "pairs", "hits"):
            np.testing.assert_array_equal(
                getattr(outcome, figure)[fold], getattr(others, figure)[fold]
            )
        # Whatever is said of the fold's own items, what they are reported at stays as it is.
        poisoned = np.where(fold, labels + np.arange(NUM_ROWS) + 100, labels)
        assert strategy_of(kind, poisoned, rules).fit(~fold) == honest.fit(~fold)


def rows_of(category: str) -> Bool[np.ndarray, " n"]:
    return np.array([name == category for name in CATEGORIES])


class Recorder(OneThreshold):
    """A threshold that remembers the rows it was fitted on."""

    def fit(self, chosen: Bool[np.ndarray, " q"]) -> Fit:
        self.seen = [*getattr(self, "seen", []), chosen]
        return super().fit(chosen)


def _folds(
    labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> list[Bool[np.ndarray, " n"]]:
    recorder = Recorder(pool(labels, Rules(), 1), Objective())
    tuned(recorder, labels, groups, "cross-fit", seed=0)
    folds = [~chosen for chosen in recorder.seen[1:]]
    assert recorder.seen[0].all()
    assert np.sum(folds, axis=0).tolist() == [1] * NUM_ROWS
    return folds


@pytest.mark.parametrize("takes_any", [None, True, False])
def test_shrinkage_leads_from_own_thresholds_to_the_common_ones(takes_any: bool | None) -> None:
    whole = pool(np.arange(NUM_ROWS) // 3, Rules(), 1 if takes_any is None else 2)
    if takes_any is None:
        plain: Strategy = OneThreshold(whole, Objective())
    else:
        plain = SeveralThresholds(whole, Objective(), takes_any=takes_any)
    common = plain.fit(EVERYWHERE)
    own = ByCategory(plain, CATEGORIES, 0.0).fit(EVERYWHERE)
    half = ByCategory(plain, CATEGORIES, float((CATEGORIES == "hats").sum())).fit(EVERYWHERE)
    near = ByCategory(plain, CATEGORIES, 1e12).fit(EVERYWHERE)
    assert set(own.by_category) == {"hats", "shoes"}  # items without a category have the common one
    for name, thresholds in own.by_category.items():
        alone = plain.fit(rows_of(name)).thresholds
        assert thresholds == pytest.approx(alone)
        assert half.by_category[name] == pytest.approx(np.mean([alone, common.thresholds], axis=0))
        assert near.by_category[name] == pytest.approx(common.thresholds)
    means = [plain.outcome(fit).f1.mean() for fit in (own, common)]
    assert means[0] > means[1]


def test_a_category_takes_what_its_own_threshold_takes() -> None:
    whole = pool(np.arange(NUM_ROWS) // 3, Rules(), 1)
    fit = Fit((0.5,), 0.0, {"shoes": (0.2,)})
    taken = matches_of(whole.candidates, whole.limits, fit.of_rows(CATEGORIES))
    for row in range(NUM_ROWS):
        cut = 0.2 if CATEGORIES[row] == "shoes" else 0.5
        expected = whole.candidates.scores[0, row] >= cut
        np.testing.assert_array_equal(taken[row], expected)


def test_weights_are_the_best_and_categories_keep_to_them() -> None:
    labels = np.arange(NUM_ROWS) // 3
    by_weights: dict[tuple[float, ...], Strategy] = {
        (0.1 * seed, 1 - 0.1 * seed): OneThreshold(pool(labels, Rules(), 1, seed), Objective())
        for seed in (1, 2, 3)
    }
    best = BestOf(by_weights).fit(EVERYWHERE)
    values = {weights: each.fit(EVERYWHERE).value for weights, each in by_weights.items()}
    assert best.value == max(values.values()) == values[best.weights or ()]
    fit = ByCategory(BestOf(by_weights), CATEGORIES, 0.0).fit(EVERYWHERE)
    alike = by_weights[best.weights or ()]
    assert fit.weights == best.weights
    for name, thresholds in fit.by_category.items():
        assert thresholds == pytest.approx(alike.fit(rows_of(name)).thresholds)


def test_fits_of_several_choices_are_those_of_each() -> None:
    labels = np.arange(NUM_ROWS) // 3
    choices = [EVERYWHERE, EVERYWHERE & (labels % 2 == 0), EVERYWHERE & (labels % 3 > 0)]
    for kind in ("one", "weights", "union"):
        strategy = strategy_of(kind, labels, Rules())
        assert strategy.fits(choices) == [strategy.fit(chosen) for chosen in choices]


def test_a_threshold_between_neighbouring_floats_parts_them() -> None:
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    between = (float(low) + float(high)) / 2
    scores = np.array([[low, high]])
    for threshold, expected in ((between, [False, True]), (float(low), [True, True])):
        assert reach(scores, np.array([threshold])).tolist() == [expected]
    assert reach(scores, np.array([np.inf])).tolist() == [[False, False]]


def test_rows_without_true_pairs_can_be_reported() -> None:
    alone = np.arange(NUM_ROWS)
    strategy = OneThreshold(pool(alone, Rules(), 1), Objective())
    for fit, precision in ((strategy.fit(EVERYWHERE), None), (Fit((-1.0,), 0.0), 0.0)):
        tuning = given(strategy, fit)
        reached = report(tuning, alone, np.random.default_rng(0)).figures
        assert (reached["pair_precision"], reached["pair_recall"]) == (precision, None)
        assert reached["pair_f1"] == precision
