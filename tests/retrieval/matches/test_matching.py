from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from embed.errors import FingerprintError, OutputExistsError, SettingsError
from embed.rows import Where
from embed.store import Store
from retrieval.matches.match_settings import MatchSettings
from retrieval.matches.matching import match
from retrieval.metrics.judgements import judge_join
from retrieval.search.neighbours import find_neighbours, iterate_neighbours
from retrieval.search.sides import self_join
from retrieval.thresholds.curves import metrics_at
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import tune_threshold
from tests.retrieval.retrieval_stores import clustered, dense_info, sparse_info, write_store


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """Four directions: 0° and 1°, 40°, and 42°, so that .999 matches two pairs."""
    angles = np.radians([0, 40, 1, 42])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    spaces = {"line": (dense_info(2), vectors), "title": (sparse_info(2), np.eye(4, 2))}
    ids = np.array(["a1", "b1", "a2", "b2"], object)
    columns = {"kind": np.array(["x", "x", "x", "y"], object)}
    return write_store(tmp_path / "line.h5", spaces, columns, ids)


def test_each_line_is_the_item_and_then_its_matches_best_first(line: Path, tmp_path: Path) -> None:
    output = tmp_path / "matches.csv"
    with Store(line) as store:
        summary = match(store, MatchSettings(output=output, threshold=0.76, space="line"))
    expected = "id,matches\na1,a1 a2 b1\nb1,b1 b2 a2 a1\na2,a2 a1 b1\nb2,b2 b1\n"
    assert output.read_text() == expected
    assert (summary.num_rows, summary.num_matches, summary.num_alone) == (4, 8, 0)
    assert (summary.spaces, summary.k, summary.score_thresholds) == (("line",), 50, (0.76,))


def test_names_separator_k_and_rows_can_be_chosen(line: Path, tmp_path: Path) -> None:
    output = tmp_path / "matches.csv"
    settings = MatchSettings(
        output=output,
        threshold=-1.0,
        space="line",
        k=2,
        where=(Where("kind", "x"),),
        id_name="posting_id",
        matches_name="found",
        separator=";",
    )
    with Store(line) as store:
        summary = match(store, settings)
    assert output.read_text() == "posting_id,found\na1,a1;a2\nb1,b1;a2\na2,a2;a1\n"
    assert (summary.num_rows, summary.k) == (3, 2)


def test_what_fills_up_a_sparse_space_is_no_match(line: Path, tmp_path: Path) -> None:
    output = tmp_path / "matches.csv"
    with Store(line) as store:
        summary = match(store, MatchSettings(output=output, threshold=-1.0, space="title"))
    assert output.read_text() == "id,matches\na1,a1\nb1,b1\na2,a2\nb2,b2\n"
    assert (summary.num_matches, summary.num_alone) == (0, 4)


def test_the_file_reaches_the_row_f1_that_was_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, labels = clustered(30, 4, spread=0.8)
    spaces = {"image": (dense_info(16), vectors)}
    path = write_store(tmp_path / "store.h5", spaces, {"label": labels})

    def in_blocks(*args: Any, **options: Any) -> object:
        return iterate_neighbours(*args, **options, block_rows=7)

    monkeypatch.setattr("retrieval.finding.iterate_neighbours", in_blocks)
    with Store(path) as store:
        tuned = tune_threshold(store, TuneSettings(("image",), "label", k=6, protocol="same-rows"))
        summary = match(store, MatchSettings(output=tmp_path / "matches.csv", threshold=tuned))
        neighbours = find_neighbours(self_join(store, np.arange(120)), "image", 6)
    lines = polars.read_csv(tmp_path / "matches.csv")
    label_of = dict(zip(lines["id"].to_list(), labels.tolist(), strict=True))
    f1 = []
    for own, found in lines.iter_rows():
        predicted = found.split(" ")
        assert predicted[0] == own
        common = sum(label_of[other] == label_of[own] for other in predicted)
        f1.append(2 * common / (4 + len(predicted)))
    assert np.mean(f1) == pytest.approx(tuned.reached["row_f1"])
    assert tuned.reached["row_f1"] == pytest.approx(
        metrics_at(neighbours, judge_join(neighbours.rows, labels), tuned.rule.thresholds[0])[
            0
        ].mean()
    )
    assert summary.k == 6


def test_a_threshold_tuned_among_few_items_is_warned_about(tmp_path: Path) -> None:
    vectors, labels = clustered(12, 4, spread=0.5)
    columns = {"label": labels, "side": np.repeat(["x", "y", "z"], 16).astype(object)}
    path = write_store(tmp_path / "store.h5", {"image": (dense_info(16), vectors)}, columns)
    output = tmp_path / "matches.csv"
    one = (Where("side", "x"),)
    with Store(path) as store:
        settings = TuneSettings(("image",), "label", where=one, protocol="same-rows")
        few = tune_threshold(store, settings)
        many = match(store, MatchSettings(output=output, threshold=few))
        equal = match(store, MatchSettings(output=output, threshold=few, where=one, force=True))
        twice = match(
            store,
            MatchSettings(
                output=output, threshold=replace(few, num_rows=24, num_gallery=24), force=True
            ),
        )
        score = match(
            store,
            MatchSettings(
                output=output, threshold=few.rule.thresholds[0], space="image", force=True
            ),
        )
    assert many.warnings == (
        "the threshold was tuned among 16 items and 48 are matched: precision will be lower than "
        "it says: tune it among as many (--include-training-rows), or restrict the items",
    )
    assert equal.warnings == twice.warnings == score.warnings == ()


def test_ids_with_commas_are_quoted_and_ids_with_the_separator_refused(tmp_path: Path) -> None:
    output = tmp_path / "matches.csv"
    spaces = {"image": (dense_info(1), np.ones((2, 1), np.float32))}
    ids = np.array(["a,1", "b 2"], object)
    with Store(write_store(tmp_path / "ids.h5", spaces, ids=ids)) as store:
        message = r"id 'b 2' holds the separator ' ', .* such as --separator '\|'"
        with pytest.raises(SettingsError, match=message):
            match(store, MatchSettings(output=output, threshold=0.5, space="image"))
        with pytest.raises(SettingsError, match="can't be empty"):
            match(store, MatchSettings(output=output, threshold=0.5, space="image", separator=""))
        assert not output.exists()
        match(store, MatchSettings(output=output, threshold=0.5, space="image", separator="|"))
    assert output.read_text() == 'id,matches\n"a,1","a,1|b 2"\nb 2,"b 2|a,1"\n'


def test_nothing_is_overwritten_unasked(line: Path, tmp_path: Path) -> None:
    output = tmp_path / "matches.csv"
    output.write_text("mine")
    with Store(line) as store:
        with pytest.raises(OutputExistsError):
            match(store, MatchSettings(output=output, threshold=0.9, space="line"))
        assert output.read_text() == "mine"
        match(store, MatchSettings(output=output, threshold=0.9, space="line", force=True))
    assert output.read_text().startswith("id,matches\n")


def test_other_vectors_than_those_tuned_on_are_refused(tmp_path: Path) -> None:
    vectors, labels = clustered(10, 4, spread=0.5)
    columns = {"label": labels}
    one = write_store(tmp_path / "one.h5", {"image": (dense_info(16, "one"), vectors)}, columns)
    two = write_store(tmp_path / "two.h5", {"image": (dense_info(16, "two"), vectors)}, columns)
    with Store(one) as store:
        tuned = tune_threshold(store, TuneSettings(("image",), "label"))
    with Store(two) as store, pytest.raises(FingerprintError, match=r"fingerprint one, .* has two"):
        match(store, MatchSettings(output=tmp_path / "matches.csv", threshold=tuned))
    assert not (tmp_path / "matches.csv").exists()
