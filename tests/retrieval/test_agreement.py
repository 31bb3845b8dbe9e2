"""What is tuned, evaluated and matched agrees, whichever way neighbours are found."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import NeighboursError, SettingsError
from embed.rows import Where, select_rows
from embed.store import Store
from retrieval.evaluation.compare import CompareSettings, compare
from retrieval.evaluation.contenders import SpacesContender
from retrieval.evaluation.evaluate import EvaluateSettings, evaluate
from retrieval.finding import Finding
from retrieval.listing import ListingSettings, list_neighbours
from retrieval.matches.match_settings import MatchSettings
from retrieval.matches.matching import match
from retrieval.matches.voting import VoteSettings, vote
from retrieval.refining.reciprocal import Rerank
from retrieval.refining.refinements import Refinements
from retrieval.search.approximate import IndexSettings
from retrieval.search.combined import combined_neighbours
from retrieval.search.index_building import BuildSettings, build
from retrieval.search.index_files import load_index
from retrieval.selection import evaluation_rows
from retrieval.thresholds.files import load, save
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.preparing import prepare
from retrieval.thresholds.protocols import tuned as tuned_by
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import ThresholdResult, tune_threshold
from tests.retrieval.retrieval_stores import (
    binary_info,
    clustered,
    dense_info,
    exact_vectors,
    sparse_info,
    write_store,
)

NUM_ROWS = 48
GALLERY = {
    "query_where": (Where("kind", "photo"),),
    "gallery_where": (Where("kind", "drawing"),),
}
OVERLAPS = {
    "some": {
        "query_where": (Where("kind", "photo"),),
        "gallery_where": (Where("shelf", "upper"),),
    },
    "queries among all": {"query_where": (Where("kind", "photo"),)},
    "all among some": {"gallery_where": (Where("kind", "photo"),)},
    "the same twice": {
        "query_where": (Where("kind", "photo"),),
        "gallery_where": (Where("kind", "photo"),),
    },
}
"""Queries that are in the gallery as well: pairs that may be found from either side."""
REFINED = Refinements(expand=3, alpha=1.0, rerank=Rerank(8, 3, 0.2))


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    near, labels = clustered(12, 4, spread=0.9)
    far, _ = clustered(12, 4, spread=1.4, seed=3)
    codes = np.packbits(exact_vectors(NUM_ROWS, seed=5) > 0, axis=1)
    spaces: dict[str, tuple[Any, Any]] = {
        "near": (dense_info(16, "near-1"), near),
        "far": (dense_info(16, "far-1"), far),
        "words": (sparse_info(16), exact_vectors(NUM_ROWS, seed=4, signed=False, zeros=True)),
        "code": (binary_info(16), codes),
    }
    columns = {
        "label": labels,
        "kind": np.array(["photo", "photo", "drawing"] * 16, object),
        "shelf": np.array(["upper", "lower", "upper", "upper"] * 12, object),
    }
    return write_store(tmp_path / "store.h5", spaces, columns)


@dataclass(frozen=True)
class Case:
    spaces: tuple[str, ...]
    sides: dict[str, Any]
    options: dict[str, Any]


TUNED: dict[str, Any] = {"tune_weights": True, "signed_weights": True}

CASES = [
    Case(("near",), {}, {}),
    Case(("near",), {}, {"rules": Rules(at_least=2, at_most=4)}),
    Case(("near",), {}, {"rules": Rules(gap=True)}),
    Case(("near",), {}, {"rules": Rules(reciprocal=True), "threshold_by": "kind"}),
    Case(("near",), {}, {"finding": Finding(refinements=REFINED)}),
    Case(("near",), GALLERY, {"threshold_by": "kind"}),
    Case(("words",), GALLERY, {}),
    Case(("code",), {}, {}),
    Case(("near", "far"), {}, {"combine": "concat"}),
    Case(("near", "far"), {}, {"combine": "concat", "weights": {"far": -0.3}}),
    Case(("near", "words"), GALLERY, {"combine": "sum"}),
    Case(("near", "far", "words"), {}, {"combine": "sum", **TUNED, "rules": Rules(at_most=4)}),
    Case(("near", "far"), GALLERY, {"combine": "sum", **TUNED, "threshold_by": "kind"}),
    Case(("near", "words", "code"), {}, {"combine": "union"}),
    Case(("near", "far"), GALLERY, {"combine": "intersection"}),
    *(Case(("near",), sides, {}) for sides in OVERLAPS.values()),
    *(Case(("near",), sides, {"objective": Objective("pair-f1")}) for sides in OVERLAPS.values()),
    Case(("words",), OVERLAPS["some"], {"rules": Rules(at_least=2, at_most=4)}),
    Case(
        ("code",),
        OVERLAPS["queries among all"],
        {"threshold_by": "kind", "objective": Objective("pair-f1")},
    ),
    Case(("near",), OVERLAPS["the same twice"], {"finding": Finding(refinements=REFINED)}),
    Case(("near", "far"), OVERLAPS["some"], {"combine": "union"}),
]


@pytest.mark.parametrize("case", CASES)
def test_the_matches_in_the_file_reach_what_was_tuned_and_evaluated(
    store_path: Path, tmp_path: Path, case: Case
) -> None:
    with Store(store_path) as store:
        settings = TuneSettings(
            case.spaces, "label", k=9, protocol="same-rows", **case.options, **case.sides
        )
        tuned = _kept(tune_threshold(store, settings), tmp_path)
        match(store, MatchSettings(output=tmp_path / "m.csv", threshold=tuned, **case.sides))
        again = evaluate(
            store, EvaluateSettings(case.spaces, "label", threshold=tuned, **case.sides)
        )
        counted = _by_hand(store, tmp_path / "m.csv", case.sides)
    for figure, value in counted.items():
        assert value == pytest.approx(tuned.reached[figure]), figure
        assert again.metrics[figure] == pytest.approx(value), figure


@pytest.mark.parametrize("name", OVERLAPS)
def test_tuned_compared_and_evaluated_pairs_agree_where_queries_are_in_the_gallery(
    store_path: Path, name: str
) -> None:
    sides, wanted = OVERLAPS[name], Objective("pair-f1")
    with Store(store_path) as store:
        asked: dict[str, Any] = {"k": 9, "objective": wanted, **sides}
        tuned = tune_threshold(store, TuneSettings(("near",), "label", **asked))
        alone = evaluate(store, EvaluateSettings(("near",), "label", **asked))
        (line,) = compare([store], CompareSettings(("near",), "label", **asked)).lines
    assert line.evaluation.metrics == alone.metrics
    for figure in ("row_f1", "pair_f1", "pair_precision", "pair_recall"):
        assert alone.metrics[figure] == pytest.approx(tuned.reached[figure]), figure


@pytest.mark.parametrize("objective", ["row-f1", "pair-f1"])
@pytest.mark.parametrize("protocol", ["same-rows", "cross-fit"])
def test_the_same_items_on_both_sides_reach_what_they_do_among_one_another(
    store_path: Path, objective: str, protocol: str
) -> None:
    asked: dict[str, Any] = {"objective": Objective(objective), "protocol": protocol}
    photos = (Where("kind", "photo"),)
    with Store(store_path) as store:
        joined = tune_threshold(store, TuneSettings(("near",), "label", k=9, where=photos, **asked))
        both: dict[str, Any] = {"query_where": photos, "gallery_where": photos}
        twice = tune_threshold(store, TuneSettings(("near",), "label", k=8, **both, **asked))
    assert twice.rule.thresholds == joined.rule.thresholds
    assert twice.reached == joined.reached
    assert twice.interval == joined.interval


@pytest.mark.parametrize("sides", [{}, GALLERY])
@pytest.mark.parametrize("refinements", [Refinements(), REFINED])
def test_a_file_of_neighbours_serves_like_the_search_that_it_holds(
    store_path: Path, tmp_path: Path, sides: dict[str, Any], refinements: Refinements
) -> None:
    listed = tmp_path / "neighbours.parquet"
    searched = Finding(refinements=refinements)
    with Store(store_path) as store:
        wanted = {"spaces": ("near",), "k": 14, "refinements": refinements, **sides}
        list_neighbours(store, ListingSettings(output=listed, **wanted))
        tuned = [
            tune_threshold(store, TuneSettings(("near",), "label", k=14, finding=way, **sides))
            for way in (searched, Finding(neighbours=listed))
        ]
        evaluated = [
            evaluate(store, EvaluateSettings(("near",), "label", k=14, finding=way, **sides))
            for way in (searched, Finding(neighbours=listed))
        ]
        texts = []
        for number, way in enumerate((Finding(), Finding(neighbours=listed))):
            output = tmp_path / f"{number}.csv"
            match(store, MatchSettings(output=output, threshold=tuned[0], finding=way, **sides))
            texts.append(output.read_text())
        votes = []
        for number, way in enumerate((searched, Finding(neighbours=listed))):
            output = tmp_path / f"votes-{number}.csv"
            asked = VoteSettings(
                space="near", columns=("label",), output=output, k=8, finding=way, **sides
            )
            vote(store, asked)
            votes.append(output.read_text())
    assert tuned[0].rule == tuned[1].rule
    assert tuned[0].reached == tuned[1].reached
    assert evaluated[0].metrics == evaluated[1].metrics
    assert texts[0] == texts[1]
    assert votes[0] == votes[1]


def test_refinements_change_every_figure_alike(store_path: Path) -> None:
    refined = Finding(refinements=REFINED)
    with Store(store_path) as store:
        plain = evaluate(store, EvaluateSettings(("near",), "label", k=9))
        alone = evaluate(store, EvaluateSettings(("near",), "label", k=9, finding=refined))
        (line,) = compare([store], CompareSettings(("near",), "label", k=9, finding=refined)).lines
        tuned = tune_threshold(store, TuneSettings(("near",), "label", k=9, finding=refined))
        given = evaluate(
            store,
            EvaluateSettings(
                ("near",), "label", k=9, finding=refined, threshold=tuned.rule.thresholds[0]
            ),
        )
    assert alone.metrics["map"] != plain.metrics["map"]
    assert line.evaluation.metrics == alone.metrics
    assert alone.metrics["row_f1"] == tuned.reached["row_f1"]
    assert given.metrics["map"] == alone.metrics["map"]


@pytest.mark.parametrize("sides", [{}, GALLERY])
@pytest.mark.parametrize(
    ("line", "spaces", "of_line", "of_both"),
    [
        ("near+far", ("near", "far"), {}, {"combine": "sum", **TUNED}),
        ("far+words", ("far", "words"), {}, {"tune_weights": True, "rules": Rules(at_most=3)}),
        ("near-0.2*far", ("near", "far"), {"weights": {"far": -0.2}}, {"combine": "sum"}),
        ("2*near+far", ("near", "far"), {"weights": {"near": 2.0}}, {"rules": Rules(2, gap=True)}),
        ("near|far", ("near", "far"), {"combine": "union"}, {"objective": Objective("pair-f1")}),
    ],
)
def test_compare_reports_what_is_tuned_with_the_same_options(
    store_path: Path,
    line: str,
    spaces: tuple[str, ...],
    of_line: dict[str, Any],
    of_both: dict[str, Any],
    sides: dict[str, Any],
) -> None:
    with Store(store_path) as store:
        settings = CompareSettings((line,), "label", k=9, seed=3, **of_both, **sides)
        (found,) = (each.evaluation for each in compare([store], settings).lines)
        tuned = tune_threshold(
            store, TuneSettings(spaces, "label", k=9, seed=3, **of_both, **of_line, **sides)
        )
    for figure, value in tuned.reached.items():
        assert found.metrics[figure] == pytest.approx(value)
    assert found.thresholds == tuned.rule.thresholds
    assert found.intervals["row_f1"] == pytest.approx(tuned.interval)
    if "combine" not in of_line:
        assert dict(found.weights) == tuned.rule.spaces


@pytest.mark.parametrize("sides", [{}, GALLERY])
def test_no_query_is_ranked_by_weights_that_were_tuned_on_its_group(
    store_path: Path, sides: dict[str, Any]
) -> None:
    with Store(store_path) as store:
        settings = TuneSettings(("far", "words"), "label", k=9, combine="sum", **TUNED, **sides)
        rows = evaluation_rows(store, settings)
        found = SpacesContender("far+words", settings).find(rows, 12)
        prepared = prepare(rows, settings, 9)
        tuning = tuned_by(prepared.strategy, rows.query_labels, rows.groups, "cross-fit", 0)
        for fit, part in tuning.by_fit:
            weights = dict(zip(settings.spaces, fit.weights or (), strict=True))
            expected = combined_neighbours(rows.sides, weights, found.ranking.shape[1])
            np.testing.assert_array_equal(found.ranking[part], expected.rows[part])
    assert len({fit.weights for fit, _ in tuning.by_fit}) > 1  # else it would show nothing


def test_compare_starts_from_the_files_of_its_lines(store_path: Path, tmp_path: Path) -> None:
    near, both = tmp_path / "near.parquet", tmp_path / "both.parquet"
    lines = ("near", "far", "near+far")
    with Store(store_path) as store:
        list_neighbours(store, ListingSettings(output=near, spaces=("near",), k=14))
        list_neighbours(store, ListingSettings(output=both, spaces=("near", "far"), k=14))
        settings = CompareSettings(lines, "label", k=14)
        searched = compare([store], settings)
        listed = compare([store], replace(settings, neighbours=(near, both)))
        with pytest.raises(SettingsError, match=r"near.parquet holds neighbours in near, and no"):
            compare([store], replace(settings, spaces=("far",), neighbours=(near,)))
    for one, other in zip(searched.lines, listed.lines, strict=True):
        assert one.evaluation.metrics == other.evaluation.metrics


def test_an_index_serves_the_space_that_it_was_built_of_and_no_other(
    store_path: Path, tmp_path: Path
) -> None:
    with Store(store_path) as store:
        wanted = IndexSettings(space="near", method="hnsw", recall=0.9, k=9, num_queries=20)
        path = tmp_path / "near.faiss"
        build(store, BuildSettings(wanted, output=path))
        by_index = Finding(index=path)
        tuned = tune_threshold(store, TuneSettings(("near",), "label", k=9, finding=by_index))
        exact = tune_threshold(store, TuneSettings(("near",), "label", k=9))
        with pytest.raises((NeighboursError, SettingsError), match="near"):
            tune_threshold(store, TuneSettings(("far",), "label", k=9, finding=by_index))
        output = tmp_path / "near.parquet"
        list_neighbours(store, ListingSettings(output=output, spaces=("near",), k=12, index=path))
        near = Finding(neighbours=output)
        listed = tune_threshold(store, TuneSettings(("near",), "label", k=12, finding=near))
        lines = CompareSettings(("near", "far"), "label", k=12, neighbours=(output,))
        compared = compare([store], lines)
    told = "neighbours come from an index (hnsw): it found {} of the nearest 8 where "
    recall = f"{load_index(path).info.recall:.4f}"
    (warning,) = (each for each in tuned.warnings if "index" in each)
    assert warning == f"{told.format(recall)}that was measured"
    (warning,) = (each for each in listed.warnings if "index" in each)
    assert warning.startswith(told.format(recall))
    assert warning.endswith("may find another share of the 11 that are used here")
    assert [each for each in compared.warnings if "index" in each] == [warning]
    assert tuned.reached["row_f1"] == pytest.approx(exact.reached["row_f1"], abs=0.1)


def _kept(result: ThresholdResult, folder: Path) -> ThresholdResult:
    """As it comes back from its file."""
    save(result, folder / "threshold.json")
    kept = load(folder / "threshold.json")
    assert kept == replace(result, picture=None)
    return kept


def _by_hand(store: Store, path: Path, sides: dict[str, Any]) -> dict[str, float | None]:
    """Row F1, and the figures of pairs of two ids, from the lines of a file and sets."""
    labels = dict(zip(store.ids.tolist(), store.column("label").tolist(), strict=True))
    kept = select_rows(store, sides.get("gallery_where", ()))
    gallery = store.ids[kept].tolist()
    values = []
    pairs: set[frozenset[str]] = set()
    true_pairs: set[frozenset[str]] = set()
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            own, matches = line["id"], set(line["matches"].split())
            true = {item for item in gallery if labels[item] == labels[own]} | {own}
            taken = matches | {own}
            values.append(2 * len(true & taken) / (len(true) + len(taken)))
            pairs |= {frozenset((own, other)) for other in matches - {own}}
            true_pairs |= {frozenset((own, other)) for other in true - {own}}
    hits = len(pairs & true_pairs)
    return {
        "row_f1": float(np.mean(values)),
        "pair_precision": hits / len(pairs) if pairs else None,
        "pair_recall": hits / len(true_pairs),
        "pair_f1": 2 * hits / (len(pairs) + len(true_pairs)),
    }
