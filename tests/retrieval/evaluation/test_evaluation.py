import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import (
    FingerprintError,
    SelectionError,
    SettingsError,
    StoreError,
    ThresholdError,
)
from embed.rows import Where
from embed.store import Store
from retrieval.evaluation.evaluate import (
    MAY_BE_TUNED_HERE,
    TUNED_HERE,
    EvaluateSettings,
    evaluate,
)
from retrieval.finding import EXACT, Finding
from retrieval.refining.refinements import Refinements
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import tune_threshold
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
    columns = {"label": labels, "half": np.where(labels < 15, "first", "second").astype(object)}
    return write_store(tmp_path / "store.h5", spaces, columns, seen=seen)


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
    metrics = found.metrics
    assert metrics["row_f1"] == pytest.approx((1 + 1 + 2 / 4 + 2 / 3 + 2 / 3) / 5)
    assert metrics["precision"] == pytest.approx((1 + 1 + 1 / 2 + 1 / 2 + 1) / 5)
    assert metrics["recall"] == pytest.approx((1 + 1 + 1 / 2 + 1 + 1 / 2) / 5)
    # Pairs: {0,1} is right, {2,3} is wrong, {2,4} is not found.
    assert [metrics[f"pair_{name}"] for name in ("precision", "recall", "f1")] == [0.5] * 3
    # The nearest others of both b are c and then the other b; c has no true match.
    assert metrics["map"] == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert metrics["mrr"] == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert metrics["map_trec"] == metrics["map"]
    at_one = ("recall@1", "found@1", "mp@5", "r_precision", "map@r")
    assert [metrics[name] for name in at_one] == [0.5] * 5
    assert metrics["recall@5"] == 1
    assert metrics["precision@5"] == pytest.approx(1 / 5)
    assert (found.num_rows, found.num_gallery, found.num_queries) == (5, 5, 4)
    assert found.protocol == "given"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Two photos of a and one of b, and a picture of a, b and c; the second photo is nearer b."""
    angles = np.radians([0, 60, 90, 10, 80, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    columns = {
        "label": np.array(["a", "a", "b", "a", "b", "c"], object),
        "kind": np.array(["photo"] * 3 + ["picture"] * 3, object),
        "shelf": np.array(["low", "high", "", "low", "low", "low"], object),
    }
    return write_store(tmp_path / "shop.h5", {"plane": (dense_info(2), vectors)}, columns)


PHOTOS_AMONG_PICTURES = EvaluateSettings(
    ("plane",),
    "label",
    query_where=(Where("kind", "photo"),),
    gallery_where=(Where("kind", "picture"),),
    threshold=0.9,
)


def test_queries_look_among_a_gallery(shop: Path) -> None:
    with Store(shop) as store:
        found = evaluate(store, PHOTOS_AMONG_PICTURES)
    assert (found.num_rows, found.num_gallery, found.num_queries) == (3, 3, 3)
    # cos 10° and cos 10° reach 0.9, cos 20° too: photo 1 matches b alone, which is wrong.
    assert found.metrics["row_f1"] == pytest.approx((1 + 2 / 4 + 1) / 3)
    assert (found.metrics["pair_precision"], found.metrics["pair_recall"]) == (2 / 3, 2 / 3)
    assert found.metrics["recall@1"] == pytest.approx(2 / 3)
    assert found.metrics["map"] == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_k_counts_neighbours_where_there_is_a_gallery(shop: Path) -> None:
    # Photo 1 has b at 20° and a at 50°: with k = 2 both may match.
    with Store(shop) as store:
        found = evaluate(store, replace(PHOTOS_AMONG_PICTURES, threshold=0.6, k=2))
    assert found.metrics["pair_recall"] == 1
    assert found.metrics["mrr"] == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_a_gallery_of_another_store_is_the_same(shop: Path, tmp_path: Path) -> None:
    copy = shutil.copy(shop, tmp_path / "copy.h5")
    with Store(shop) as store, Store(copy) as gallery:
        one = evaluate(store, PHOTOS_AMONG_PICTURES)
        two = evaluate(store, PHOTOS_AMONG_PICTURES, gallery)
    assert one.to_json() == two.to_json()


def test_each_value_of_a_column_is_shown_among_the_whole_gallery(shop: Path) -> None:
    with Store(shop) as store:
        found = evaluate(store, replace(PHOTOS_AMONG_PICTURES, by="shelf"))
        with pytest.raises(StoreError, match="no column 'floor'"):
            evaluate(store, replace(PHOTOS_AMONG_PICTURES, by="floor"))
    about = [(one.value, one.num_rows, one.metrics["row_f1"]) for one in found.categories]
    assert about == [("high", 1, 0.5), ("low", 1, 1), (None, 1, 1)]
    json = found.to_json()
    assert json["by"] == "shelf"
    assert [one["recall@1"] for one in json["categories"]] == [0, 1, 1]


def test_categories_add_up(store_path: Path) -> None:
    with Store(store_path) as store:
        found = evaluate(store, EvaluateSettings(("far",), "label", by="half", k=8))
    for name in ("row_f1", "map", "mp@5"):
        weighted = [one.num_rows * (one.metrics[name] or 0) for one in found.categories]
        assert sum(weighted) / found.num_rows == pytest.approx(found.metrics[name])
    for one in found.categories:
        low, high = one.intervals["row_f1"] or (1, 0)
        assert low < (one.metrics["row_f1"] or 0) < high


def test_a_ranking_needs_no_threshold_and_no_five_groups(shop: Path) -> None:
    settings = replace(PHOTOS_AMONG_PICTURES, threshold=None)
    with Store(shop) as store:
        with pytest.raises(SelectionError, match="cross-fit needs 5 groups"):
            evaluate(store, settings)
        found = evaluate(store, replace(settings, ranking_only=True))
    assert found.thresholds == ()
    assert found.metrics["recall@1"] == pytest.approx(2 / 3)
    json = found.to_json()
    assert not {"row_f1", "pair_f1", "interval", "score_threshold"} & set(json)
    with pytest.raises(SettingsError, match="leave --threshold out"):
        replace(PHOTOS_AMONG_PICTURES, ranking_only=True)


@pytest.mark.parametrize("combine", ["concat", "sum", "union"])
def test_spaces_are_evaluated_together_as_they_are_tuned(store_path: Path, combine: str) -> None:
    about: dict[str, Any] = {"spaces": ("near", "far"), "label": "label", "combine": combine}
    with Store(store_path) as store:
        tuned = tune_threshold(store, TuneSettings(**about, k=8, protocol="same-rows"))
        crossed = tune_threshold(store, TuneSettings(**about, k=8))
        found = evaluate(store, EvaluateSettings(**about, k=8))
        given = evaluate(store, EvaluateSettings(**about, threshold=tuned))
    assert found.thresholds == given.thresholds == tuned.rule.thresholds
    for result, reached in ((found, crossed.reached), (given, tuned.reached)):
        assert {name: result.metrics[name] for name in reached} == pytest.approx(dict(reached))
    assert found.metrics["map"] == given.metrics["map"]
    assert found.space == ("near|far" if combine == "union" else "near+far")
    names = ("score_threshold", "score_thresholds")
    has_one = combine != "union"
    assert [name in found.to_json() for name in names] == [has_one, not has_one]


def test_what_is_too_deep_to_be_looked_at_is_left_out_and_said(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = EvaluateSettings(("far",), "half", k=3, ranking_only=True)
    with Store(store_path) as store:
        deep = evaluate(store, about)
        monkeypatch.setattr("retrieval.evaluation.evaluations.DEEPEST_CELLS", 100)
        shallow = evaluate(store, about)
    assert "map@r" in deep.metrics
    assert deep.warnings == ()
    left_out = {"r_precision", "map@r"}
    assert {n: v for n, v in deep.metrics.items() if n not in left_out} == shallow.metrics
    assert "R-precision and MAP@R are left out" in shallow.warnings[0]


def test_without_a_threshold_it_is_that_of_cross_fit(store_path: Path) -> None:
    with Store(store_path) as store:
        tuned = tune_threshold(store, TuneSettings(("far",), "label", k=8, seed=3))
        found = evaluate(store, EvaluateSettings(("far",), "label", k=8, seed=3))
    assert found.protocol == "cross-fit"
    assert (found.thresholds, found.k) == (tuned.rule.thresholds, tuned.rule.k)
    for name, reached in tuned.reached.items():
        assert found.metrics[name] == pytest.approx(reached)
    assert found.intervals["row_f1"] == pytest.approx(tuned.interval)
    assert found.to_json()["interval"] == found.intervals["row_f1"]


def test_a_row_f1_of_items_left_alone_is_told(store_path: Path) -> None:
    with Store(store_path) as store:
        found = evaluate(store, EvaluateSettings(("near",), "label", threshold=1.0))
    assert found.metrics["row_f1"] == pytest.approx(2 / 5)  # 1 of 4 is found: 2·1 / (4 + 1)
    assert (found.metrics["pair_precision"], found.metrics["pair_f1"]) == (None, 0)
    assert found.intervals["pair_precision"] is None
    assert found.row_f1_alone == found.to_json()["row_f1_alone"] == pytest.approx(2 / 5)
    (warning,) = found.warnings
    assert "leaves 100 % of the items that have a true match alone, and row F1 is 0.4" in warning


def test_a_threshold_can_be_the_best_for_pairs(store_path: Path) -> None:
    about = EvaluateSettings(("far",), "label", k=8)
    with Store(store_path) as store:
        by_rows, by_pairs = (
            evaluate(store, replace(about, objective=Objective(name)))
            for name in ("row-f1", "pair-f1")
        )
    assert (by_pairs.metrics["pair_f1"] or 0) > (by_rows.metrics["pair_f1"] or 1)
    assert (by_pairs.metrics["row_f1"] or 1) < (by_rows.metrics["row_f1"] or 0)


def test_recall_does_not_depend_on_a_small_k(store_path: Path) -> None:
    with Store(store_path) as store:
        few = evaluate(store, EvaluateSettings(("far",), "label", threshold=0.5, k=3))
        many = evaluate(store, EvaluateSettings(("far",), "label", threshold=0.5, k=50))
    for name in ("recall@1", "recall@10", "found@5", "mp@5", "r_precision", "map@r"):
        assert few.metrics[name] == many.metrics[name]
    assert (few.metrics["recall@1"] or 1) < (few.metrics["recall@10"] or 0)
    assert (few.metrics["mrr"] or 1) < (many.metrics["mrr"] or 0)


def test_recall_of_spaces_together_does_not_depend_on_a_small_k(store_path: Path) -> None:
    about = EvaluateSettings(("near", "far"), "label", combine="union", ranking_only=True, k=40)
    with Store(store_path) as store:
        deep = evaluate(store, about)
        few = evaluate(store, replace(about, ranking_only=False, k=8))
    for name in ("recall@10", "found@10", "precision@10"):
        assert few.metrics[name] == deep.metrics[name]


def test_a_tuned_threshold_brings_its_k_and_warns_where_it_was_tuned(store_path: Path) -> None:
    with Store(store_path) as store:
        tuned = tune_threshold(store, TuneSettings(("far",), "label", k=6, protocol="same-rows"))
        found = evaluate(store, EvaluateSettings(("far",), "label", threshold=tuned))
    assert (found.k, found.warnings) == (6, (TUNED_HERE,))
    assert found.metrics["row_f1"] == pytest.approx(tuned.reached["row_f1"])
    assert found.thresholds == tuned.rule.thresholds


def test_what_a_threshold_file_says_is_not_overruled(store_path: Path) -> None:
    both, expand = ("near", "far"), Finding(refinements=Refinements(expand=2))
    with Store(store_path) as store:
        weights = {"near": 3.0}
        tuned = tune_threshold(store, TuneSettings(both, "label", combine="sum", weights=weights))
        about = EvaluateSettings(both, "label", threshold=tuned)
        alike = evaluate(store, replace(about, combine="sum", weights={"near": 6.0, "far": 2.0}))
        assert alike.metrics == evaluate(store, about).metrics
        for change, message in (
            ({"combine": "union"}, "tuned with --combine sum, not union"),
            ({"weights": {"far": 2.0}}, r"other shares than --weight says: near 0\.75, far 0\.25"),
            ({"finding": expand}, "tuned without refinements, and others are given: with expand 2"),
        ):
            with pytest.raises(SettingsError, match=message):
                evaluate(store, replace(about, **change))


def test_refinements_go_with_a_score_or_with_the_file_that_has_them(store_path: Path) -> None:
    expand = Finding(refinements=Refinements(expand=2, blend_nearest=7))
    with Store(store_path) as store:
        about = EvaluateSettings(("far",), "label", threshold=0.6)
        plain, refined = (evaluate(store, replace(about, finding=f)) for f in (EXACT, expand))
        tuned = tune_threshold(store, TuneSettings(("far",), "label", finding=expand))
        with_file, alike = (
            evaluate(store, replace(about, threshold=tuned, finding=f)) for f in (EXACT, expand)
        )
        other = Finding(refinements=Refinements(expand=3))
        with pytest.raises(SettingsError, match=r"tuned with expand 2.*given: with expand 3"):
            evaluate(store, replace(about, threshold=tuned, finding=other))
    assert plain.metrics["map"] != refined.metrics["map"]
    assert refined.metrics["map"] == with_file.metrics["map"] == alike.metrics["map"]


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


def test_json_has_the_names_that_machines_read(store_path: Path) -> None:
    with Store(store_path) as store:
        values = evaluate(store, EvaluateSettings(("near",), "label")).to_json()
    expected = "row_f1 precision recall map mrr recall@1 recall@5 recall@10 num_rows k"
    assert set(expected.split()) <= set(values)


def test_mistakes_are_told(store_path: Path) -> None:
    with Store(store_path) as store:
        settings = EvaluateSettings(("near",), "label")
        with pytest.raises(SettingsError, match="at least 2: found 1"):
            evaluate(store, replace(settings, k=1))
        tuned = tune_threshold(store, TuneSettings(("far",), "label"))
        with pytest.raises(ThresholdError, match="tuned on space 'far', not on 'near'"):
            evaluate(store, replace(settings, threshold=tuned))
        strange = replace(tuned, rule=replace(tuned.rule, fingerprints={"far": ""}))
        with pytest.raises(FingerprintError):
            evaluate(store, replace(settings, spaces=("far",), threshold=strange))
        union = replace(settings, spaces=("near", "far"), combine="union", threshold=0.5)
        with pytest.raises(SettingsError, match=r"0\.5 is one score: give a threshold file"):
            evaluate(store, union)
