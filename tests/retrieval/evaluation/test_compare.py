"""Spaces side by side: the same rows, stores joined by id, differences, tables and the picture."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Bool
from PIL import Image

from embed.errors import SelectionError, SettingsError, StoreError
from embed.rows import Where
from embed.store import Store
from retrieval.evaluation.compare import CompareSettings, compare
from retrieval.evaluation.comparison import Comparison
from retrieval.evaluation.evaluate import EvaluateSettings, evaluate
from retrieval.evaluation.plots import plot_comparison
from retrieval.evaluation.tables import (
    as_csv,
    as_markdown,
    differences_table,
    interval_text,
    metrics_table,
    summary_table,
)
from retrieval.metrics.intervals import Difference
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.rules import Rules
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store

NEAR, LABELS = clustered(30, 4, spread=0.4)
FAR, _ = clustered(30, 4, spread=1.5)
IDS = np.array([f"item-{n:03}" for n in range(len(LABELS))], object)
DARK, PALE = (0x4D, 0x9D, 0xC0), (0xBC, 0xD6, 0xE3)
KINDS = np.where(np.arange(len(LABELS)) % 4 == 0, "picture", "photo").astype(object)


def store_of(path: Path, names: Sequence[str], order: Any, seen: Any = None) -> Path:
    """A store with some of the items, in this order; the label is only in a store named first."""
    vectors = {"near": NEAR, "far": FAR, "head": NEAR}
    spaces = {name: (dense_info(16, name), vectors[name][order]) for name in names}
    columns = {"label": LABELS[order], "kind": KINDS[order]} if path.stem == "first" else {}
    return write_store(path, spaces, columns, IDS[order], {} if seen is None else {"head": seen})


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return store_of(tmp_path / "first.h5", ["near", "far"], np.arange(len(IDS)))


def compared(paths: Sequence[Path], *spaces: str, **settings: Any) -> Comparison:
    stores = [Store(path) for path in paths]
    try:
        return compare(stores, CompareSettings(spaces, "label", **{"k": 8} | settings))
    finally:
        for store in stores:
            store.close()


def test_spaces_of_one_store_are_what_each_of_them_reaches(first: Path) -> None:
    comparison = compared([first], "near", "far", seed=2)
    near, far = comparison.lines
    assert (near.name, far.name, comparison.against) == ("near", "far", "near")
    with Store(first) as store:
        alone = evaluate(store, EvaluateSettings(("far",), "label", k=8, seed=2))
    assert far.evaluation.to_json() == alone.to_json()
    difference = far.differences["row_f1"]
    values = [line.evaluation.metrics["row_f1"] or 0 for line in (near, far)]
    assert difference.value == pytest.approx(values[1] - values[0])
    assert difference.interval[0] < difference.value < difference.interval[1] < 0
    assert difference.is_clear
    assert near.differences == {}
    assert comparison.best == values[0]


def test_stores_are_joined_by_id_whatever_their_order(first: Path, tmp_path: Path) -> None:
    order = np.random.default_rng(5).permutation(len(IDS))
    second = store_of(tmp_path / "second.h5", ["near"], order)
    here, there = compared([first, second], "near").lines
    assert (here.name, there.name) == ("first:near", "second:near")
    assert here.evaluation.metrics == pytest.approx(there.evaluation.metrics)
    assert here.evaluation.thresholds == there.evaluation.thresholds
    # Not only the means are equal: row by row there is no difference.
    assert (there.differences["row_f1"].value, there.differences["row_f1"].interval) == (0, (0, 0))


def test_only_items_that_all_stores_have_and_no_head_has_seen(first: Path, tmp_path: Path) -> None:
    order = np.arange(len(IDS))[::-1][:-8]  # without the first two groups
    seen = LABELS[order] >= 25  # nor the last five
    second = store_of(tmp_path / "second.h5", ["head"], order, seen)
    comparison = compared([first, second], "near", "head")
    near, head = comparison.lines
    assert [line.name for line in comparison.lines] == ["first:near", "second:head"]
    assert near.evaluation.num_rows == head.evaluation.num_rows == 4 * 23
    assert near.evaluation.metrics == pytest.approx(head.evaluation.metrics)
    assert comparison.warnings == (
        f"8 rows are left out: {second} does not have them",
        f"20 rows are left out: the head of space 'head' of {second} was trained or chosen on them",
    )
    # It is as if the first store had the shared items alone.
    shared = (LABELS >= 2) & (LABELS < 25)
    few = store_of(tmp_path / "few" / "first.h5", ["near"], np.flatnonzero(shared))
    few_metrics = compared([few], "near").lines[0].evaluation.metrics
    assert few_metrics == pytest.approx(near.evaluation.metrics)
    everything = compared([first, second], "near", "head", include_training_rows=True)
    assert everything.lines[0].evaluation.num_rows == 4 * 28
    assert "20 of 112 rows are ones that the head of space 'head'" in everything.warnings[1]


def test_queries_among_a_gallery_in_several_stores(first: Path, tmp_path: Path) -> None:
    order = np.random.default_rng(6).permutation(len(IDS))
    second = store_of(tmp_path / "second.h5", ["near"], order)
    sides: dict[str, Any] = {
        "query_where": (Where("kind", "photo"),),
        "gallery_where": (Where("kind", "picture"),),
    }
    here, there = compared([first, second], "near", **sides).lines
    assert (here.evaluation.num_rows, here.evaluation.num_gallery) == (90, 30)
    assert here.evaluation.metrics == pytest.approx(there.evaluation.metrics)
    with Store(first) as store:
        alone = evaluate(store, EvaluateSettings(("near",), "label", k=8, **sides))
    assert here.evaluation.metrics == pytest.approx(alone.metrics)


def test_combinations_stand_beside_their_spaces(first: Path, tmp_path: Path) -> None:
    second = store_of(tmp_path / "second.h5", ["near"], np.arange(len(IDS)))
    comparison = compared([first, second], "near+far", "near|far", "far")
    assert [line.name for line in comparison.lines] == [
        "first:near+far",
        "first:near|far",
        "first:far",
    ]
    concat, union, far = (line.evaluation for line in comparison.lines)
    assert (len(concat.thresholds), len(union.thresholds)) == (1, 2)
    assert (concat.metrics["row_f1"] or 0) > (far.metrics["row_f1"] or 1)
    with Store(first) as store:
        settings = EvaluateSettings(("near", "far"), "label", k=8, combine="union")
        assert evaluate(store, settings).metrics == union.metrics


def test_blanks_around_the_marks_do_not_count(first: Path) -> None:
    comparison = compared([first], "near + far", "near", against="near  +far", ranking_only=True)
    assert [line.name for line in comparison.lines] == ["near+far", "near"]
    assert comparison.against == "near+far"
    with pytest.raises(SettingsError, match="each named once"):
        compared([first], "near + far", "near+far")
    with pytest.raises(StoreError, match="no space 'fra': there are near, far"):
        compared([first], "near | fra")


def test_no_difference_is_less_than_nothing(first: Path) -> None:
    difference = Difference("map", -1e-9, (-2e-6, 0.1))
    comparison = compared([first], "near", ranking_only=True)
    line = replace(comparison.lines[0], differences={"map": difference})
    comparison = replace(comparison, lines=(line,))
    assert differences_table(comparison)[1][0][2:4] == ["+0.0000", "+0.0000 – +0.1000"]
    assert interval_text((-1e-9, 0.5)) == "0.0000 – 0.5000"


@pytest.mark.parametrize(
    ("value", "interval", "shown"),
    [
        (-0.012, (-0.0243, -0.00003), ["-0.01200", "-0.02430 – -0.00003", "yes"]),
        (0.00003, (0.00002, 0.00005), ["+0.00003", "+0.00002 – +0.00005", "yes"]),
        (0.05, (0.000002, 0.1), ["+0.050000", "+0.000002 – +0.100000", "yes"]),
        (0.05, (4e-9, 0.1), ["+0.0500000", "+0.0000000 – +0.1000000", "yes"]),
        (-0.012, (-0.0243, -0.00006), ["-0.0120", "-0.0243 – -0.0001", "yes"]),
        (-0.012, (-0.0243, 0.00003), ["-0.0120", "-0.0243 – +0.0000", "no"]),
        (0.05, (1e-17, 0.1), ["+0.0500", "+0.0000 – +0.1000", "no"]),
        (-0.05, (-0.1, -1e-17), ["-0.0500", "-0.1000 – +0.0000", "no"]),
        (-0.05, (-0.1, -2e-12), ["-0.0500000", "-0.1000000 – +0.0000000", "yes"]),
    ],
)
def test_a_clear_difference_is_seen_to_leave_out_0(
    first: Path, value: float, interval: tuple[float, float], shown: list[str]
) -> None:
    comparison = compared([first], "near", ranking_only=True)
    line = replace(comparison.lines[0], differences={"map": Difference("map", value, interval)})
    assert differences_table(replace(comparison, lines=(line,)))[1][0][2:] == shown


def test_rankings_alone_and_another_line_to_compare_with(first: Path) -> None:
    comparison = compared([first], "near", "far", against="far", ranking_only=True)
    near, far = comparison.lines
    assert (comparison.best_by, comparison.against) == ("map", "far")
    assert set(near.differences) == {"map", "recall@1"}
    assert near.differences["map"].value > 0
    assert far.differences == {}
    assert "score ≥" not in summary_table(comparison)[0]
    assert compared([first], "far", "near", against="best").against == "near"


def test_the_best_of_one_space_is_what_combinations_are_compared_with(first: Path) -> None:
    comparison = compared([first], "far", "near+far", "near", "near|far", against="best-space")
    assert comparison.against == "near"
    with pytest.raises(SettingsError, match="best-space is for lines of one space: there is none"):
        compared([first], "near+far", against="best-space")


def test_which_is_the_best_goes_by_the_objective(tmp_path: Path) -> None:
    # Of 40 pairs and four groups of six, one space tells the pairs, the other one the groups.
    labels = np.concatenate([np.repeat(np.arange(40), 2), np.repeat(np.arange(40, 44), 6)])
    pairs = np.concatenate([labels[:80], np.arange(40, 64)])
    groups = np.concatenate([np.arange(4, 84), labels[80:] - 40])
    spaces = {
        name: (dense_info(84, name), np.eye(84, dtype=np.float32)[places])
        for name, places in (("pairs", pairs), ("groups", groups))
    }
    path = write_store(tmp_path / "a.h5", spaces, {"label": labels})
    for objective, best in (("row-f1", "pairs"), ("pair-f1", "groups")):
        for against in ("best", "best-space"):
            asked = {"objective": Objective(objective), "against": against}
            comparison = compared([path], "pairs", "groups", **asked)
            assert comparison.against == best
            header, rows = summary_table(comparison)
            assert header[3] == objective.replace("-f", " F")
            assert [row[0] for row in rows if row[3].endswith(" *")] == [best]
            assert header[5:7] == ["score ≥", "distance ≤"]
            assert metrics_table(comparison)[0].count("row F1") == (objective == "pair-f1")
            plot_comparison(comparison, tmp_path / "plot.png")
            assert top_colour(tmp_path / "plot.png") == (DARK if best == "pairs" else PALE)


def top_colour(path: Path) -> tuple[int, int, int]:
    """Which of the two colours the first line's bar has."""
    return min((DARK, PALE), key=lambda colour: int(shown_in(path, colour).any(axis=1).argmax()))


def shown_in(path: Path, colour: tuple[int, int, int]) -> Bool[np.ndarray, "h w"]:
    """Where a picture has a colour, but for what an encoder of pictures rounds."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return np.asarray(abs(pixels - np.array(colour)).sum(axis=2) < 12)


def test_the_difference_of_pair_f1_is_that_of_two_ratios(first: Path) -> None:
    near, far = compared([first], "near", "far").lines
    difference = far.differences["pair_f1"]
    values = [line.evaluation.metrics["pair_f1"] or 0 for line in (near, far)]
    assert difference.value == pytest.approx(values[1] - values[0])
    assert difference.interval[0] < difference.value < difference.interval[1] < 0


def test_weights_are_told_where_something_was_said_of_them(first: Path) -> None:
    comparison = compared([first], "near", "near+far", "3*near - 1*far", combine="sum")
    header, rows = summary_table(comparison)
    assert header[-1] == "weights"
    assert [row[-1] for row in rows] == ["–", "–", "1.50, -0.50"]
    assert [row["weights"] for row in csv.DictReader(io.StringIO(as_csv(comparison)))] == [
        "",
        "",
        "1.5 -0.5",
    ]
    told = comparison.to_json()["spaces"]
    assert told["3*near-1*far"]["weights"] == {"near": 1.5, "far": -0.5}
    assert "weights" not in told["near+far"]
    tuned = compared([first], "near+far", "1*near+1*far", tune_weights=True)
    assert tuned.lines[0].evaluation.weights["near"] > 0.5
    assert not tuned.lines[1].evaluation.weights
    assert "weights" not in summary_table(compared([first], "near"))[0]


@pytest.mark.parametrize(
    ("spaces", "settings", "message"),
    [
        (("near",), {"tune_weights": True}, "--tune-weights is for lines such as a"),
        (("near|far",), {"tune_weights": True}, "--tune-weights is for lines such as a"),
        (("2*near+far",), {"tune_weights": True}, "--tune-weights is for lines such as a"),
        (("near+far",), {"signed_weights": True}, "does nothing without --tune-weights"),
        (("near+far",), {"tune_weights": True, "ranking_only": True}, "--tune-weights chooses"),
        (("near",), {"rules": Rules(at_most=2), "ranking_only": True}, "rules of matches choose"),
        (("near+far",), {"combine": "union"}, "by concat or sum: found union"),
        (("0*near+far",), {}, "a number other than 0: found near=0"),
        (("near-1*far",), {}, "more than 0: found near=1, far=-1"),
        (("2*near+near",), {}, "takes different spaces"),
    ],
)
def test_weights_and_rules_that_do_nothing_are_refused(
    first: Path, spaces: tuple[str, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        compared([first], *spaces, **settings)


def test_mistakes_are_told(first: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="each named once: found near, near"):
        compared([first], "near", "near")
    with pytest.raises(SettingsError, match="found none"):
        compared([first])
    with pytest.raises(SettingsError, match="different stores, each named once"):
        compared([first, first], "near")
    with pytest.raises(SettingsError, match="at least 2: found 1"):
        compared([first], "near", k=1)
    with pytest.raises(
        SettingsError, match="one of the lines, near, far, or best or best-space: found head"
    ):
        compared([first], "near", "far", against="head")
    with pytest.raises(StoreError, match=r"has no space 'head': there are near, far"):
        compared([first], "head")
    second = store_of(tmp_path / "second.h5", ["near"], np.arange(4))
    with pytest.raises(StoreError, match="none of the stores has a space 'x': there are near, far"):
        compared([first, second], "near", "x")
    lonely = store_of(tmp_path / "lonely.h5", ["near"], np.arange(0, len(IDS), 4))
    with pytest.raises(SelectionError, match="no two of the 30 selected rows share a"):
        compared([first, lonely], "near")
    other = write_store(tmp_path / "other.h5", {"near": (dense_info(16), NEAR)})  # r0, r1, …
    with pytest.raises(SelectionError, match=r"no row is left to compare on: 120 rows .* not have"):
        compared([first, other], "near")


def test_tables(first: Path) -> None:
    comparison = compared([first], "near", "far")
    lines = as_markdown(comparison).splitlines()
    assert lines[0].startswith("| space | model | metric | row F1 | 95 % interval | score ≥ |")
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| near", "| far"]
    assert " * | " in lines[2]
    assert " * | " not in lines[3]
    assert lines[7].startswith("| far less near | row F1 | -0.")
    assert differences_table(comparison)[1][0][-1] == "yes"
    near, far = csv.DictReader(io.StringIO(as_csv(comparison)))
    metrics, intervals = comparison.lines[1].evaluation.metrics, comparison.lines[1].evaluation
    assert {name: float(far[name]) for name in metrics} == metrics
    assert float(far["map_low"]) == (intervals.intervals["map"] or (0,))[0]
    assert near["row_f1_difference"] == ""
    assert float(far["row_f1_difference"]) < 0


def test_a_long_model_is_shortened_for_people_only(first: Path) -> None:
    comparison = compared([first], "near")
    line = comparison.lines[0]
    long = replace(line, evaluation=replace(line.evaluation, model="timm:" + "x" * 100))
    shown = summary_table(Comparison((long,), "near", "row_f1"))[1][0][1]
    assert len(shown) == 32
    named = replace(
        line, evaluation=replace(line.evaluation, model="timm:a@/b/c.bin + classic:hog")
    )
    assert summary_table(Comparison((named,), "near", "row_f1"))[1][0][1] == "timm:a + classic:hog"
    assert "timm:" + "x" * 100 in as_csv(Comparison((long,), "near", "row_f1"))


def test_the_picture_shows_a_bar_for_each_line_from_0(first: Path, tmp_path: Path) -> None:
    comparison = compared([first], "near", "far")
    plot_comparison(comparison, tmp_path / "plot.png")
    lengths = [
        int(shown_in(tmp_path / "plot.png", colour).sum(axis=1).max()) for colour in (DARK, PALE)
    ]
    values = [line.evaluation.metrics["row_f1"] or 0 for line in comparison.lines]
    # The whisker hides a few pixels of a bar.
    assert lengths[1] / lengths[0] == pytest.approx(values[1] / values[0], rel=0.03)
