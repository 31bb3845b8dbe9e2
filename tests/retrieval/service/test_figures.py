"""What thresholds give for a store: counted in plain loops, and as the command lines print it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from embed.store import Store
from retrieval.matches.match_blocks import match_blocks
from retrieval.service.curves import curve_of
from retrieval.service.figures import StoreFigures, figures_of
from retrieval.service.service import Snapshot
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.files import load, save
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import tune_threshold
from tests.conftest import Invoke, json_of
from tests.retrieval.retrieval_stores import (
    clustered,
    dense_info,
    exact_vectors,
    sparse_info,
    write_store,
)
from tests.retrieval.service.snapshots import opened_snapshot

SECONDS = 20.0
OF_LABELS = ("row_f1", "precision", "recall", "pair_f1", "pair_precision", "pair_recall")
GIVEN = (-2.0, -0.5, 0.0, 0.25, 0.5, 0.515625, 0.75, 1.0, 1.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """48 items of 16 products with ties everywhere; some have no label, some a head has seen."""
    _, groups = clustered(16, 3, spread=0.5)
    labels = np.array([f"product {group}" for group in groups], object)
    labels[::11] = ""
    kinds = np.array([f"kind {group % 2}" for group in groups], object)
    spaces = {
        "dense": (dense_info(16), exact_vectors(48, seed=1) + 4 * np.eye(16)[groups] + 0),
        "sparse": (sparse_info(16), exact_vectors(48, seed=2, signed=False)),
        "head": (dense_info(16, "head-1"), exact_vectors(48, seed=3)),
    }
    spaces = {name: (info, vectors.astype(np.float32)) for name, (info, vectors) in spaces.items()}
    seen = {"head": np.arange(48) < 12}
    return write_store(tmp_path / "store.h5", spaces, {"label": labels, "kind": kinds}, seen=seen)


@pytest.fixture
def threshold_path(path: Path) -> Path:
    return tuned(path, TuneSettings(("dense",), "label", k=9))


def tuned(path: Path, settings: TuneSettings, **changes: Any) -> Path:
    file = path.with_name("threshold.json")
    with Store(path) as store:
        result = tune_threshold(store, settings)
        if changes:
            result = replace(result, rule=replace(result.rule, **changes))
        save(result, file, force=True)
    return file


def opened(path: Path, **settings: Any) -> tuple[Snapshot, StoreFigures]:
    snapshot = opened_snapshot(ServiceSettings(path, **settings))
    return snapshot, figures_of(snapshot).result(SECONDS)


RULES = [
    MatchRule({"dense": 1.0}, (0.5,), 9),
    MatchRule({"head": 1.0}, (0.25,), 9),
    MatchRule({"dense": 1.0}, (0.5,), 9, rules=Rules(at_least=2, at_most=4, gap=True)),
    MatchRule({"dense": 1.0}, (0.5,), 9, rules=Rules(reciprocal=True)),
    MatchRule({"dense": 0.75, "sparse": 0.25}, (0.4,), 7),
    MatchRule({"dense": 0.5, "sparse": 0.5}, (0.4,), 7, "sum"),
    MatchRule({"dense": 0.5, "sparse": 0.5}, (0.6, 0.8), 7, "union"),
    MatchRule({"dense": 0.5, "sparse": 0.5}, (0.5, 0.25), 7, "intersection"),
    MatchRule({"dense": 0.5, "head": 0.5}, (0.5, 0.25), 7, "union", rules=Rules(at_most=3)),
    MatchRule({"dense": 1.0}, (0.5,), 9, category="kind", by_category={"kind 0": (0.75,)}),
]


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_counts_are_those_of_a_plain_loop(path: Path, rule: MatchRule) -> None:
    file = of_rule(path, rule)
    snapshot, figures = opened(path, threshold=str(file), label="label")
    for score in GIVEN:
        thresholds = (score,) * len(rule.thresholds)
        pairs, items = plain_matches(snapshot, replace(rule, thresholds=thresholds, by_category={}))
        found = figures.at(thresholds)
        assert (found.num_pairs, found.num_items_with_match) == (len(pairs), len(items))
    pairs, items = plain_matches(snapshot, rule)
    own = figures.at_own()
    assert (own.num_pairs, own.num_items_with_match) == (len(pairs), len(items))
    snapshot.close()


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_figures_are_those_of_retrieval_evaluate(
    path: Path, rule: MatchRule, retrieval_cli: Invoke
) -> None:
    file = of_rule(path, rule)
    snapshot, figures = opened(path, threshold=str(file))
    assert_evaluated(figures.at_own(), path, rule, str(file), retrieval_cli)
    if len(rule.thresholds) == 1 and rule.rules == Rules() and rule.combine == "concat":
        for score in (0.25, 0.5, 0.9):
            assert_evaluated(figures.at((score,)), path, rule, str(score), retrieval_cli)
    snapshot.close()


def assert_evaluated(
    found: Any, path: Path, rule: MatchRule, threshold: str, retrieval_cli: Invoke
) -> None:
    spaces: list[object] = [part for space in rule.spaces for part in ("--space", space)]
    if not threshold.endswith(".json"):
        spaces += ["--k", rule.k]
        if len(rule.spaces) > 1:
            shares = rule.spaces.items()
            spaces += [part for name, share in shares for part in ("--weight", f"{name}={share}")]
    arguments = (path, *spaces, "--label", "label", "--threshold", threshold, "--json")
    wanted = json_of(retrieval_cli("evaluate", *arguments))
    assert found.num_rows == wanted["num_rows"]
    for name in OF_LABELS:
        assert getattr(found, name) == pytest.approx(wanted[name], abs=1e-12), name


def test_counts_are_those_of_retrieval_match(
    path: Path, threshold_path: Path, retrieval_cli: Invoke, tmp_path: Path
) -> None:
    snapshot, figures = opened(path, threshold=str(threshold_path))
    output = tmp_path / "matches.parquet"
    summary = json_of(
        retrieval_cli("match", path, "--threshold", threshold_path, "-o", output, "--json")
    )
    own, lines = figures.at_own(), pl.read_parquet(output)
    assert own.num_items_with_match == summary["num_rows"] - summary["num_alone"]
    pairs = {frozenset(pair) for pair in lines.select(lines.columns[:2]).iter_rows()}
    assert own.num_pairs == len(pairs)
    snapshot.close()


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_each_point_of_the_curve_is_what_the_figures_say(path: Path, rule: MatchRule) -> None:
    file = of_rule(path, rule)
    snapshot, figures = opened(path, threshold=str(file))
    for number, space in enumerate(rule.spaces if len(rule.thresholds) > 1 else [None]):
        curve = curve_of(snapshot, space).result(SECONDS)
        assert len(curve.thresholds) <= 512
        assert (np.diff(curve.thresholds) > 0).all()
        assert curve.chosen == rule.thresholds[number]
        assert curve.row_f1 is not None and curve.precision is not None
        assert curve.recall is not None and curve.best is not None
        assert curve.chosen in curve.thresholds and curve.best in curve.thresholds
        for point, threshold in enumerate(curve.thresholds.tolist()):
            own = list(rule.thresholds)
            own[number] = threshold
            found = figures.at(own)
            assert curve.num_pairs[point] == found.num_pairs
            assert curve.num_items_with_match[point] == found.num_items_with_match
            for name in ("row_f1", "precision", "recall"):
                assert getattr(curve, name)[point] == pytest.approx(getattr(found, name), abs=1e-9)
        best = curve.row_f1[curve.thresholds.tolist().index(curve.best)]
        assert best == pytest.approx(curve.row_f1.max(), abs=1e-9)
    snapshot.close()


def test_the_curve_goes_from_all_candidates_to_no_match(path: Path, threshold_path: Path) -> None:
    snapshot, figures = opened(path, threshold=str(threshold_path))
    curve = curve_of(snapshot).result(SECONDS)
    assert curve.num_pairs[-1] == curve.num_items_with_match[-1] == 0
    assert curve.num_pairs[0] == figures.at((-2.0,)).num_pairs
    assert (np.diff(curve.num_pairs) <= 0).all()
    # Every distinct score of so small a store is a cut of its own.
    assert set(curve.num_pairs) >= {figures.at((score,)).num_pairs for score in GIVEN}
    snapshot.close()


def test_the_best_cut_is_the_tuned_one(path: Path) -> None:
    file = tuned(path, TuneSettings(("dense",), "label", k=9, protocol="same-rows"))
    snapshot, _ = opened(path, threshold=str(file))
    curve = curve_of(snapshot).result(SECONDS)
    assert curve.best == load(file).rule.thresholds[0] == curve.chosen
    snapshot.close()


def test_without_labels_there_are_counts_and_the_reason(path: Path) -> None:
    snapshot, figures = opened(path, threshold="0.5", space="dense")
    found = figures.at_own()
    assert found.num_pairs > 0
    assert all(getattr(found, name) is None for name in (*OF_LABELS, "num_rows"))
    assert "--label" in figures.warnings[0]
    curve = curve_of(snapshot).result(SECONDS)
    assert (curve.row_f1, curve.best) == (None, None)
    snapshot.close()


def test_a_label_that_never_repeats_is_told_and_harms_nothing(path: Path) -> None:
    snapshot, figures = opened(path, threshold="0.5", space="dense", label="id")
    assert figures.labelled is None
    assert "no two of the 48" in figures.warnings[0]
    snapshot.close()


def test_rows_that_are_not_judged_are_told(path: Path) -> None:
    snapshot, figures = opened(path, threshold="0.25", space="head", label="label")
    assert "was trained or chosen on them" in " ".join(figures.warnings)
    assert figures.at_own().num_rows == 33  # of 36 that the head has not seen
    snapshot.close()


def of_rule(path: Path, rule: MatchRule) -> Path:
    """A threshold file of a rule, made of one that was tuned."""
    names = tuple(rule.spaces)
    with Store(path) as store:
        fingerprints = {name: store.space(name).fingerprint for name in names}
    settings = TuneSettings(("dense",), "label", k=9, protocol="same-rows")
    values = {name: getattr(rule, name) for name in rule.__dataclass_fields__}
    return tuned(path, settings, **(values | {"fingerprints": fingerprints}))


def plain_matches(snapshot: Snapshot, rule: MatchRule) -> tuple[set[frozenset[int]], set[int]]:
    """The pairs without a direction, and the items that match another one."""
    pairs, items = set(), set()
    for block in match_blocks(snapshot.sides, rule):
        for query, column in zip(*np.nonzero(block.is_match), strict=True):
            item, other = block.start + int(query), int(block.candidates.rows[query, column])
            if other not in (item, -1):
                pairs.add(frozenset((item, other)))
                items.add(item)
    return pairs, items
