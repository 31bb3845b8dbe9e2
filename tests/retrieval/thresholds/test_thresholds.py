import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import (
    FingerprintError,
    OutputExistsError,
    SelectionError,
    SettingsError,
    StoreError,
    ThresholdError,
)
from embed.rows import Where
from embed.store import Store
from retrieval.metrics.judgements import judge_join
from retrieval.search.neighbours import neighbours_of_vectors
from retrieval.thresholds.curves import score_curve
from retrieval.thresholds.files import fit_to_store, load, parse_threshold, save
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.threshold_json import to_json
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import ThresholdResult, tune_threshold
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    vectors, labels = clustered(12, 5, spread=0.6)
    spaces = {"image": (dense_info(16), vectors), "other": (dense_info(16, "other-1"), -vectors)}
    columns = {"label": labels, "alone": np.arange(60), "pair": np.arange(60) // 30}
    return write_store(tmp_path / "store.h5", spaces, columns)


@pytest.fixture
def result(store_path: Path) -> ThresholdResult:
    with Store(store_path) as store:
        return tune_threshold(store, TuneSettings(("image",), "label", k=8))


def test_same_rows_is_the_top_of_the_curve_and_says_that_it_is_optimistic(store_path: Path) -> None:
    vectors, labels = clustered(12, 5, spread=0.6)
    neighbours = neighbours_of_vectors(vectors, 4)
    curve = score_curve(neighbours, judge_join(neighbours.rows, labels))
    best = curve.best_cut()
    with Store(store_path) as store:
        settings = TuneSettings(("image",), "label", k=4, protocol="same-rows")
        result = tune_threshold(store, settings)
    assert result.reached["row_f1"] == pytest.approx(curve.f1[best])
    assert result.reached["precision"] == pytest.approx(curve.precision[best])
    assert result.reached["recall"] == pytest.approx(curve.recall[best])
    assert result.rule.thresholds == (curve.threshold(best),)
    assert result.recall_within_k == pytest.approx(curve.recall[-1])
    assert result.recall_within_k <= 4 / 5
    assert result.interval is None
    assert result.where_tuned == result.reached
    found, true = judge_join(neighbours.rows, labels).relevant[:, 1:].sum(), 60 * 4
    assert result.warnings == (
        "same-rows: tuned and reported on the same rows, so row F1 is optimistic",
        f"only {100 * found / true:.0f} % of the true matches are among the 4 nearest: give a "
        f"larger --k",
    )


def test_cross_fit_is_the_default_and_gives_an_interval(result: ThresholdResult) -> None:
    assert (result.protocol, result.num_rows, result.num_reported) == ("cross-fit", 60, 60)
    assert (result.num_groups, result.rule.fingerprints, result.rule.k) == (
        12,
        {"image": "dense-1"},
        8,
    )
    assert result.interval is not None
    assert result.interval[0] <= (result.reached["row_f1"] or 0) <= result.interval[1]
    assert result.warnings == ()


def test_a_space_that_tells_nothing_apart_is_said_to(tmp_path: Path) -> None:
    vectors = np.ones((30, 2), np.float32)
    spaces = {"flat": (dense_info(2), vectors)}
    path = write_store(tmp_path / "flat.h5", spaces, {"label": np.arange(30) // 2})
    with Store(path) as store:
        result = tune_threshold(store, TuneSettings(("flat",), "label", k=20))
    assert result.rule.thresholds[0] > 1
    assert result.reached["row_f1"] == pytest.approx(2 / 3)
    assert result.row_f1_alone == pytest.approx(2 / 3)
    assert result.reached["pair_precision"] is None
    assert (result.k, result.rule.k) == (20, 20)
    assert result.warnings[0] == (
        "the threshold leaves 100 % of the items that have a true match alone, and row F1 is "
        "0.6667 where all are: give --objective pair-f1, or look at the ranking"
    )


def test_k_is_what_was_asked_for_on_either_kind_of_sides(store_path: Path, tmp_path: Path) -> None:
    """Between queries and a gallery k does not count the item itself: 3 others and not 2."""
    about = TuneSettings(("image",), "label", k=3)
    with Store(store_path) as store:
        copy = Store(shutil.copy(store_path, tmp_path / "copy.h5"))
        with copy as gallery:
            between = tune_threshold(store, about, gallery)
        among, deep = tune_threshold(store, about), tune_threshold(store, replace(about, k=4))
        everything = tune_threshold(store, replace(about, k=None, where=(Where("pair", "0"),)))
    assert (between.rule.k, between.k, among.rule.k, among.k) == (3, 3, 3, 3)
    assert between.recall_within_k == pytest.approx(deep.recall_within_k)
    assert (between.is_self_join, among.is_self_join) == (False, True)
    assert among.recall_within_k < deep.recall_within_k
    assert (everything.rule.k, everything.k, everything.recall_within_k) == (50, 30, 1)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (TuneSettings(("nope",), "label"), StoreError, "no space 'nope'"),
        (TuneSettings(("image",), "alone"), SelectionError, "no two of the 60 selected rows share"),
        (TuneSettings(("image",), "pair"), SelectionError, "cross-fit needs 5 groups or more"),
        (TuneSettings(("image",), "label", k=1), SettingsError, "at least 2: found 1"),
    ],
)
def test_mistakes_are_told(
    store_path: Path, settings: TuneSettings, error: type[Exception], message: str
) -> None:
    with Store(store_path) as store, pytest.raises(error, match=message):
        tune_threshold(store, settings)


def test_a_file_gives_back_all_but_the_curve(tmp_path: Path, result: ThresholdResult) -> None:
    path = tmp_path / "threshold.json"
    save(result, path)
    assert load(path) == replace(result, picture=None)
    with pytest.raises(OutputExistsError):
        save(result, path)
    optimistic = replace(result, protocol="same-rows", interval=None)
    save(optimistic, path, force=True)
    assert "interval" not in json.loads(path.read_text())
    assert load(path) == replace(optimistic, picture=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "embedding-store"}, "should have format retrieval-threshold version 2: found"),
        ({"format_version": 1}, "found retrieval-threshold version 1"),
        (
            {"score_threshold": "high"},
            "score_threshold should be a finite number such as 0.73: found 'high'",
        ),
        ({"score_threshold": 73}, "score_threshold should be a score between −1 and 1: found 73"),
        ({"score_threshold": float("nan")}, "finite number such as 0.73: found nan"),
        ({"spaces": None}, "spaces should be an object: found None"),
        ({"spaces": {}}, "it names no spaces"),
        ({"spaces": {"image": {"weight": 1.0}}}, "should say its 'fingerprint', and does not"),
        (
            {"spaces": {"image": {"weight": -1, "fingerprint": "a"}}},
            "weights of spaces add up to more than 0: found image=-1",
        ),
        (
            {"spaces": {"image": {"weight": 0, "fingerprint": "a"}}},
            "weight of a space is a number other than 0: found image=0",
        ),
        ({"label": 3}, "label should be a text: found 3"),
        ({"num_rows": "many"}, "num_rows should be a whole number: found 'many'"),
        ({"row_f1": None}, "row_f1 should be a finite number such as 0.73: found None"),
        ({"interval": [0.1]}, "interval should have two ends"),
        ({"category": 5}, "category should be a text: found 5"),
        ({"by_category": {"a": [float("inf")]}}, "by_category of 'a' should be a finite number"),
        ({"by_category": {"a": [1.5]}}, "by_category of 'a' should be a score between"),
        ({"calibration": {"scores": [2, 1], "probabilities": [0, 1]}}, "rising scores"),
        ({"calibration": {"scores": [1, 2], "probabilities": [1]}}, "rising scores"),
        ({"objective": "luck"}, "there is no objective 'luck'"),
        ({"k": 5.5}, "k should be a whole number: found 5.5"),
        ({"rules": {"colour": "red"}}, "there is no rule 'colour'"),
        ({"combine": "both"}, "a combination that there is not"),
        ({"by_category": {"a": [0.1, 0.2]}}, "as many thresholds as there are in common"),
    ],
)
def test_a_file_that_is_no_threshold_is_refused(
    tmp_path: Path, result: ThresholdResult, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "threshold.json"
    path.write_text(json.dumps(to_json(result) | change))
    with pytest.raises(ThresholdError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n  1", "is no threshold file .*line 2 column 3"),
        ("[1]", "one JSON object: found a list"),
        ("{}", "None"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "threshold.json"
    path.write_text(text)
    with pytest.raises(ThresholdError, match=message):
        load(path)
    with pytest.raises(ThresholdError, match="no threshold at"):
        load(tmp_path / "nowhere.json")


def test_a_threshold_is_a_file_or_a_score(tmp_path: Path, result: ThresholdResult) -> None:
    path = tmp_path / "0.5"
    save(result, path)
    assert parse_threshold(str(path)) == replace(result, picture=None)
    assert parse_threshold("0.5") == 0.5
    assert parse_threshold("1.000001") == 1.000001
    for text, message in (("73", "between −1 and 1"), ("nan", "between"), ("x.json", "neither")):
        with pytest.raises(ThresholdError, match=message):
            parse_threshold(text)


def test_a_threshold_fits_the_space_that_it_was_tuned_on(
    store_path: Path, result: ThresholdResult
) -> None:
    with Store(store_path) as store:
        assert fit_to_store(store, result, None, None) == result.rule
        assert fit_to_store(store, result, "image", 5).k == 5
        assert fit_to_store(store, 0.5, "other", None) == MatchRule({"other": 1.0}, (0.5,), 50)
        with pytest.raises(ThresholdError, match="tuned on space 'image', not on 'other'"):
            fit_to_store(store, result, "other", None)
        with pytest.raises(SettingsError, match="say with --space of which space"):
            fit_to_store(store, 0.5, None, None)
        with pytest.raises(StoreError, match="no space 'nope'"):
            fit_to_store(store, 0.5, "nope", None)
        with pytest.raises(SettingsError, match="is 1 or more: found 0"):
            fit_to_store(store, result, None, 0)
        old = replace(result, rule=replace(result.rule, fingerprints={"image": "dense-0"}))
        with pytest.raises(FingerprintError, match=r"fingerprint dense-0, .* has dense-1"):
            fit_to_store(store, old, None, None)
