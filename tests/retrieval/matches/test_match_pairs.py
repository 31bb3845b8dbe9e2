"""Matches pair by pair, among a gallery, and their groups, by hand and through the command line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed.errors import OutputExistsError, SettingsError
from embed.rows import Where
from embed.store import Store
from retrieval.matches.match_settings import MatchSettings
from retrieval.matches.matching import match
from retrieval.thresholds.calibration import Calibration
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import ThresholdResult, tune_threshold
from tests.conftest import Invoke, json_of
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store


@pytest.fixture
def fan(tmp_path: Path) -> Path:
    """Unit vectors with a score of .8 or .28 from one to the next, in a chain a–b–c, and d.

    In the other space a and d are equal, and all else is at right angles.
    """
    vectors = np.array([[1, 0], [0.8, 0.6], [0.28, 0.96], [-0.6, 0.8]], np.float32)
    others = np.eye(4, dtype=np.float32)[[0, 1, 2, 0]]
    spaces = {"fan": (dense_info(2), vectors), "other": (dense_info(4, "other-1"), others)}
    columns = {
        "side": np.array(["q", "g", "g", "q"], object),
        "label": np.array(["x", "x", "y", "y"], object),
    }
    return write_store(tmp_path / "fan.h5", spaces, columns, np.array(list("abcd"), object))


def tuned_as(path: Path, rule: MatchRule) -> ThresholdResult:
    """A tuned threshold whose rule is replaced by another one."""
    settings = TuneSettings(("fan",), "label", protocol="same-rows")
    with Store(path) as store:
        return replace(tune_threshold(store, settings), rule=rule)


def test_pairs_by_hand(fan: Path, tmp_path: Path) -> None:
    output, groups = tmp_path / "pairs.csv", tmp_path / "groups.csv"
    wanted = MatchSettings(output=output, threshold=0.7, space="fan", layout="pairs", groups=groups)
    with Store(fan) as store:
        summary = match(store, wanted)
    assert output.read_text() == (
        "id,neighbour_id,score,distance,spaces\n"
        "a,b,0.8,0.2,fan\n"
        "b,a,0.8,0.2,fan\n"
        "b,c,0.8,0.2,fan\n"
        "c,b,0.8,0.2,fan\n"
    )
    # d and c have 0.6, which is no match; a and c share a group through b alone.
    assert groups.read_text() == (
        "id,group,size,weakest_chain,lowest_score,flagged\n"
        "a,1,3,0.8,0.28,true\n"
        "b,1,3,0.8,0.28,true\n"
        "c,1,3,0.8,0.28,true\n"
        "d,2,1,,,false\n"
    )
    assert (summary.format, summary.num_matches, summary.num_alone) == ("pairs", 4, 1)
    assert summary.groups is not None
    assert (summary.groups.num_groups, summary.groups.largest) == (1, 3)
    assert summary.groups.num_flagged == 1


def test_complete_groups_have_no_chains(fan: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.parquet"
    wanted = MatchSettings(
        output=tmp_path / "m.csv", threshold=0.5, space="fan", groups=groups, linkage="complete"
    )
    with Store(fan) as store:
        summary = match(store, wanted)
    # a–b and b–c have equal scores: the first two are joined first.
    table = pl.read_parquet(groups)
    assert table["id"].to_list() == list("abcd")
    assert table["group"].to_list() == [1, 1, 2, 2]
    np.testing.assert_allclose(table["weakest_chain"], [0.8, 0.8, 0.6, 0.6])
    assert summary.groups is not None
    assert summary.groups.num_flagged == 0


def test_spaces_that_agree_and_probabilities(fan: Path, tmp_path: Path) -> None:
    """A union of two spaces; what is taken so that none is alone reaches no threshold."""
    rule = MatchRule(
        {"fan": 0.5, "other": 0.5},
        (0.7, 0.9),
        4,
        combine="union",
        rules=Rules(at_least=2),
        calibration=Calibration((0.0, 1.0), (0.0, 1.0)),
    )
    output = tmp_path / "pairs.parquet"
    with Store(fan) as store:
        match(store, MatchSettings(output=output, threshold=tuned_as(fan, rule)))
    table = pl.read_parquet(output)
    assert table.columns == [
        *("id", "neighbour_id", "score", "distance", "probability"),
        *("fan_score", "other_score", "spaces"),
    ]
    lines = table.select("id", "neighbour_id", "spaces").rows()
    pairs = {(one, other): spaces for one, other, spaces in lines}
    assert pairs == {
        ("a", "b"): "fan",
        ("a", "d"): "other",
        ("b", "a"): "fan",
        ("b", "c"): "fan",
        ("c", "b"): "fan",
        ("d", "a"): "other",
        ("d", "c"): "",
    }
    means = (table["fan_score"] + table["other_score"]) / 2
    np.testing.assert_allclose(table["score"], means, atol=2e-6)
    np.testing.assert_allclose(table["probability"], table["score"].clip(0, 1), atol=1e-6)


def test_queries_are_matched_among_a_gallery(fan: Path, tmp_path: Path) -> None:
    """An id stands in its own line only where the gallery has it."""
    output, groups = tmp_path / "matches.csv", tmp_path / "groups.csv"
    queries, gallery = (Where("side", "q"),), (Where("side", "g"),)
    base = MatchSettings(
        output=output, threshold=0.25, space="fan", query_where=queries, force=True
    )
    wanted = replace(base, gallery_where=gallery, groups=groups)
    with Store(fan) as store:
        summary = match(store, wanted)
        assert output.read_text() == "id,matches\na,b c\nd,c\n"
        assert (summary.num_rows, summary.num_gallery, summary.num_matches) == (2, 2, 3)
        # b and c do not look for each other: that they do not match is not known. b and d do not.
        assert summary.groups is not None and summary.groups.num_flagged == 1
        assert pl.read_csv(groups)["id"].to_list() == ["b", "c", "a", "d"]
        assert match(store, replace(wanted, threshold=0.9)).num_alone == 2
        assert output.read_text() == "id,matches\na,\nd,\n"
        match(store, base)
        assert output.read_text() == "id,matches\na,a b c\nd,d c\n"
        with pytest.raises(SettingsError, match="--linkage complete is for items among one"):
            match(store, replace(wanted, linkage="complete"))


def test_a_group_whose_pairs_all_match_is_not_flagged_among_a_gallery(
    fan: Path, tmp_path: Path
) -> None:
    groups = tmp_path / "groups.csv"
    wanted = MatchSettings(
        output=tmp_path / "m.csv",
        threshold=0.25,
        space="fan",
        query_where=(Where("id", "a"),),
        groups=groups,
    )
    with Store(fan) as store:
        summary = match(store, wanted)
    assert summary.groups is not None
    assert (summary.groups.largest, summary.groups.num_flagged) == (3, 0)


def test_another_store_is_the_gallery(fan: Path, tmp_path: Path) -> None:
    vectors = np.array([[0.8, 0.6], [1, 0]], np.float32)
    ids = np.array(["new", "a"], object)
    path = write_store(tmp_path / "new.h5", {"fan": (dense_info(2), vectors)}, ids=ids)
    output, groups = tmp_path / "matches.csv", tmp_path / "groups.csv"
    with Store(path) as queries, Store(fan) as gallery:
        match(
            queries,
            MatchSettings(output=output, threshold=0.9, space="fan", groups=groups),
            gallery,
        )
    assert output.read_text() == "id,matches\nnew,b\na,a\n"
    assert pl.read_csv(groups).select("id", "group").rows() == [
        ("a", 1),
        ("b", 2),
        ("new", 2),
        ("c", 3),
        ("d", 4),
    ]


def test_pairs_and_a_competitions_lines_say_the_same(tmp_path: Path) -> None:
    vectors, _ = clustered(10, 5, spread=0.7)
    path = write_store(tmp_path / "store.h5", {"image": (dense_info(16), vectors)})
    lines, pairs = tmp_path / "lines.csv", tmp_path / "pairs.parquet"
    with Store(path) as store:
        one = match(store, MatchSettings(output=lines, threshold=0.5, space="image", k=8))
        other = match(store, MatchSettings(output=pairs, threshold=0.5, space="image", k=8))
    expected = [
        (own, found)
        for own, matches in pl.read_csv(lines).rows()
        for found in matches.split(" ")[1:]
    ]
    assert pl.read_parquet(pairs).select("id", "neighbour_id").rows() == expected
    assert one.num_matches == other.num_matches == len(expected) > 50


def test_what_makes_no_sense_is_refused(fan: Path, tmp_path: Path) -> None:
    base = MatchSettings(output=tmp_path / "m.csv", threshold=0.7, space="fan")
    cases = [
        (replace(base, layout="competition", output=tmp_path / "m.parquet"), "--format pairs"),
        (replace(base, layout="competition", output=tmp_path / "m.h5"), r"is CSV: found .*m\.h5"),
        (replace(base, layout="pairs", output=tmp_path / "m.txt"), r"\.csv or \.parquet"),
        (replace(base, groups=tmp_path / "m.csv"), "both name .*m.csv"),
        (replace(base, groups=tmp_path / "g.txt"), r"\.csv or \.parquet"),
    ]
    with Store(fan) as store:
        for wanted, message in cases:
            with pytest.raises(SettingsError, match=message):
                match(store, wanted)
        (tmp_path / "g.csv").write_text("mine")
        with pytest.raises(OutputExistsError):
            match(store, replace(base, groups=tmp_path / "g.csv"))
    assert not base.output.exists()


def test_on_the_command_line(fan: Path, tmp_path: Path, retrieval_cli: Invoke) -> None:
    output, groups = tmp_path / "pairs.csv", tmp_path / "groups.csv"
    about = ("match", fan, "--space", "fan", "--threshold", "0.7", "-o", output)
    shown = retrieval_cli(*about, "--format", "pairs", "--groups", groups)
    assert "4 items with 4 matches besides themselves, 1 alone" in shown.stdout
    assert "1 group of two items or more, the largest of 3, 1 flagged" in shown.stdout
    sides = ("--gallery-store", fan, "--query-where", "side=q", "--gallery-where", "side=g")
    found = json_of(retrieval_cli(*about, *sides, "--force", "--json"))
    assert (found["num_rows"], found["num_gallery"], found["groups"]) == (2, 2, None)
    told = retrieval_cli(*about, *sides, "--force").stdout
    assert "2 queries with 1 matches among 2 items, 1 without any" in told
    assert output.read_text() == "id,matches\na,b\nd,\n"


def test_matches_start_from_neighbours_in_a_file(
    fan: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    found, output = tmp_path / "neighbours.parquet", tmp_path / "matches.csv"
    retrieval_cli("neighbours", fan, "--space", "fan", "--k", "3", "-o", found)
    about = ("match", fan, "--space", "fan", "--threshold", "0.7", "--k", "3", "-o", output)
    retrieval_cli(*about, "--memory", "1MB")
    expected = output.read_text()
    retrieval_cli(*about, "--neighbours", found, "--force")
    assert output.read_text() == expected == "id,matches\na,a b\nb,b a c\nc,c b\nd,d\n"
