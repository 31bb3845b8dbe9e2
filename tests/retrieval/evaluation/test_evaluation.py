from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import FingerprintError, SettingsError, ThresholdError
from embed.store import Store
from retrieval.evaluation.evaluate import (
    MAY_BE_TUNED_HERE,
    TUNED_HERE,
    EvaluateSettings,
    compare,
    evaluate,
)
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuned import tune_threshold
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    near, labels = clustered(40, 4, spread=0.4)
    far, _ = clustered(40, 4, spread=1.5)
    seen = {"head": np.unique(labels, return_inverse=True)[1] % 2 == 0}  # every second group
    spaces = {
        "near": (dense_info(16, "near-1"), near),
        "far": (dense_info(16, "far-1"), far),
        "head": (dense_info(16, "head-1"), near),
    }
    return write_store(tmp_path / "store.h5", spaces, {"label": labels}, seen=seen)


def test_values_that_a_hand_can_check(tmp_path: Path) -> None:
    # On a line: a and a, then b, c, b; everything else is far away from it.
    angles = np.radians([0, 1, 40, 43, 47])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    columns = {"label": np.array(["a", "a", "b", "c", "b"], object)}
    path = write_store(tmp_path / "line.h5", {"line": (dense_info(2), vectors)}, columns)
    with Store(path) as store:
        threshold = float(np.cos(np.radians(3.5)))
        found = evaluate(store, EvaluateSettings(("line",), "label", threshold=threshold))
    # P: {0,1} {0,1} {2,3} {2,3} {4}
    assert found.row_f1 == pytest.approx((1 + 1 + 2 / 4 + 2 / 3 + 2 / 3) / 5)
    assert found.precision == pytest.approx((1 + 1 + 1 / 2 + 1 / 2 + 1) / 5)
    assert found.recall == pytest.approx((1 + 1 + 1 / 2 + 1 + 1 / 2) / 5)
    # The nearest others of both b are c and then the other b; c has no true match.
    assert found.map == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert found.mrr == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert (found.recall_at_1, found.recall_at_5) == (0.5, 1)
    assert (found.num_rows, found.num_queries, found.protocol) == (5, 4, "given")


def test_without_a_threshold_it_is_that_of_cross_fit(store_path: Path) -> None:
    with Store(store_path) as store:
        tuned = tune_threshold(store, TuneSettings(("far",), "label", k=8, seed=3))
        found = evaluate(store, EvaluateSettings(("far",), "label", k=8, seed=3))
    assert found.protocol == "cross-fit"
    for name in ("row_f1", "precision", "recall"):
        assert getattr(found, name) == tuned.reached[name]
    assert (found.interval, found.num_rows) == (tuned.interval, tuned.num_rows)
    assert ((found.score_threshold,), found.k) == (tuned.rule.thresholds, tuned.rule.k)


def test_recall_does_not_depend_on_a_small_k(store_path: Path) -> None:
    with Store(store_path) as store:
        few = evaluate(store, EvaluateSettings(("far",), "label", threshold=0.5, k=3))
        many = evaluate(store, EvaluateSettings(("far",), "label", threshold=0.5, k=50))
    assert few.recall_at_10 == many.recall_at_10 > few.recall_at_1 == many.recall_at_1
    assert few.mrr < many.mrr


def test_a_tuned_threshold_brings_its_k_and_warns_where_it_was_tuned(store_path: Path) -> None:
    with Store(store_path) as store:
        tuned = tune_threshold(store, TuneSettings(("far",), "label", k=6, protocol="same-rows"))
        found = evaluate(store, EvaluateSettings(("far",), "label", threshold=tuned))
    assert (found.k, found.warnings) == (6, (TUNED_HERE,))
    assert found.row_f1 == pytest.approx(tuned.reached["row_f1"])
    assert found.score_threshold == tuned.rule.thresholds[0]


@pytest.mark.parametrize(
    ("change", "warnings"),
    [
        ({}, (TUNED_HERE,)),
        ({"selection": {"where": ("kind=photo",)}}, (MAY_BE_TUNED_HERE,)),
        ({"selection": {"unseen_by": ("head",)}}, (MAY_BE_TUNED_HERE,)),
        ({"protocol": "holdout"}, (MAY_BE_TUNED_HERE,)),
        ({"num_rows": 20}, (MAY_BE_TUNED_HERE,)),
        ({"label": "other"}, ()),
    ],
)
def test_a_threshold_that_may_know_the_rows_is_warned_about(
    store_path: Path, change: dict[str, Any], warnings: tuple[str, ...]
) -> None:
    with Store(store_path) as store:
        tuned = replace(tune_threshold(store, TuneSettings(("far",), "label", k=6)), **change)
        found = evaluate(store, EvaluateSettings(("far",), "label", threshold=tuned))
        given = evaluate(store, EvaluateSettings(("far",), "label", threshold=0.5))
    assert found.warnings == warnings
    assert given.warnings == ()


def test_spaces_are_compared_on_rows_that_no_head_has_seen(store_path: Path) -> None:
    with Store(store_path) as store:
        settings = EvaluateSettings(("near",), "label", k=8)
        near, far, head = compare(store, ["near", "far", "head"], settings)
        alone = evaluate(store, settings)
    assert [near.space, far.space, head.space] == ["near", "far", "head"]
    assert near.num_rows == far.num_rows == head.num_rows < alone.num_rows
    assert replace(near, space="head") == head
    assert near.row_f1 > far.row_f1
    assert near.warnings == far.warnings
    assert "the head of space 'head' was trained or chosen on them" in near.warnings[0]


def test_json_has_the_names_that_machines_read(store_path: Path) -> None:
    with Store(store_path) as store:
        values = evaluate(store, EvaluateSettings(("near",), "label")).to_json()
    expected = "row_f1 precision recall map mrr recall@1 recall@5 recall@10 num_rows k"
    assert set(expected.split()) <= set(values)


def test_mistakes_are_told(store_path: Path) -> None:
    with Store(store_path) as store:
        settings = EvaluateSettings(("near",), "label")
        with pytest.raises(SettingsError, match="each named once: found near, near"):
            compare(store, ["near", "near"], settings)
        with pytest.raises(SettingsError, match="found none"):
            compare(store, [], settings)
        with pytest.raises(SettingsError, match="at least 2: found 1"):
            evaluate(store, replace(settings, k=1))
        tuned = tune_threshold(store, TuneSettings(("far",), "label"))
        with pytest.raises(ThresholdError, match="tuned on space 'far', not on 'near'"):
            evaluate(store, replace(settings, threshold=tuned))
        strange = replace(tuned, rule=replace(tuned.rule, fingerprints={"far": ""}))
        with pytest.raises(FingerprintError):
            evaluate(store, replace(settings, spaces=("far",), threshold=strange))
