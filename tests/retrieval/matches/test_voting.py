"""Votes on the columns of real stores, into tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

from embed.errors import OutputExistsError, SettingsError, StoreError
from embed.rows import Where
from embed.store import Store
from retrieval.matches.voting import VoteSettings, vote
from tests.conftest import Invoke, json_of
from tests.retrieval.retrieval_stores import clustered, dense_info, sparse_info, write_store


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """Five directions in a fan: 0°, 10°, 25°, 45° and 70°."""
    angles = np.radians([0, 10, 25, 45, 70])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    columns = {
        "colour": np.array(["red", "red", "dummy", "blue", ""], object),
        "size": np.array([7, 7, np.nan, 8, 8]),
        "split": np.array(["train", "val", "train", "train", "val"], object),
    }
    spaces = {"fan": (dense_info(2), vectors), "title": (sparse_info(4), np.eye(5, 4))}
    return write_store(tmp_path / "line.h5", spaces, columns)


def test_the_table_by_hand(line: Path, tmp_path: Path) -> None:
    output = tmp_path / "votes.csv"
    with Store(line) as store:
        summary = vote(
            store,
            VoteSettings(
                space="fan", columns=("colour", "size"), output=output, k=2, voting="uniform"
            ),
        )
    # r0 asks r1 and r2; r1 asks r0 and r2; r2 asks r1 and r3; r3 asks r2 and r4; r4 asks r3 and r2.
    assert output.read_text() == (
        "id,column,prediction,share,num_voters\n"
        "r0,colour,red,1.0,1\n"
        "r0,size,7,1.0,1\n"
        "r1,colour,red,1.0,1\n"
        "r1,size,7,1.0,1\n"
        "r2,colour,red,0.5,2\n"
        "r2,size,7,0.5,2\n"
        "r3,colour,,,0\n"
        "r3,size,8,1.0,1\n"
        "r4,colour,blue,1.0,1\n"
        "r4,size,8,1.0,1\n"
    )
    colour, size = summary.columns
    assert (colour.num_predicted, colour.num_judged) == (4, 3)
    # Two of three are right; blue, of which nothing is said, has an F1 of 0 and red of 1.
    assert (colour.accuracy, colour.macro_f1) == pytest.approx((2 / 3, 1 / 2))
    assert colour.score == pytest.approx(4 / 7)
    assert colour.mean_share == pytest.approx(3.5 / 4)
    assert (size.accuracy, size.score) == (1, 1)
    assert summary.attribute_score == pytest.approx((4 / 7 + 1) / 2)
    assert (summary.num_rows, summary.num_gallery, summary.warnings) == (5, 5, ())


def test_queries_ask_a_gallery(line: Path, tmp_path: Path) -> None:
    output = tmp_path / "votes.parquet"
    with Store(line) as store:
        summary = vote(
            store,
            VoteSettings(
                space="fan",
                columns=("colour",),
                output=output,
                k=1,
                query_where=(Where("split", "val"),),
                gallery_where=(Where("split", "train"),),
            ),
        )
    assert pl.read_parquet(output).rows() == [
        ("r1", "colour", "red", 1.0, 1),
        ("r4", "colour", "blue", 1.0, 1),
    ]
    assert (summary.num_rows, summary.num_gallery) == (2, 3)
    assert summary.columns[0].num_judged == 1


def test_another_store_votes_and_no_item_votes_for_itself(line: Path, tmp_path: Path) -> None:
    """r0 stands in both; the queries' store has no such column, so that nothing can be judged."""
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    ids = np.array(["r0", "new"], object)
    queries = write_store(tmp_path / "new.h5", {"fan": (dense_info(2), vectors)}, ids=ids)
    output = tmp_path / "votes.csv"
    wanted = VoteSettings(space="fan", columns=("colour",), output=output, k=1)
    with Store(queries) as store, Store(line) as gallery:
        summary = vote(store, wanted, gallery)
    lines = output.read_text().splitlines()[1:]
    assert lines == ["r0,colour,red,1.0,1", "new,colour,,,0"]  # by r1, and by r4 without a colour
    assert (summary.columns[0].num_judged, summary.attribute_score) == (0, None)


def test_what_shares_no_component_has_no_vote(line: Path, tmp_path: Path) -> None:
    output = tmp_path / "votes.csv"
    with Store(line) as store:
        wanted = VoteSettings(space="title", columns=("split",), output=output, voting="uniform")
        summary = vote(store, wanted)
    assert summary.columns[0].num_predicted == 0
    assert summary.columns[0].mean_share is None
    assert pl.read_csv(output)["num_voters"].to_list() == [0] * 5


def test_figures_are_those_of_scikit_learn(tmp_path: Path) -> None:
    """Leave one out, of which a third is not judged because a head has seen it."""
    vectors, labels = clustered(6, 15, spread=1.4, dim=6)
    seen = np.arange(90) % 3 == 0
    path = write_store(
        tmp_path / "s.h5",
        {"head": (dense_info(6), vectors)},
        {"label": labels},
        seen={"head": seen},
    )
    with Store(path) as store:
        wanted = VoteSettings(
            space="head", columns=("label",), output=tmp_path / "v.csv", k=7, voting="uniform"
        )
        summary = vote(store, wanted)
    predicted = pl.read_csv(tmp_path / "v.csv")["prediction"].to_numpy()
    for row in range(0, 90, 7):
        others = np.arange(90) != row
        classifier = KNeighborsClassifier(7, metric="cosine").fit(vectors[others], labels[others])
        shares = classifier.predict_proba(vectors[row : row + 1])[0]
        assert shares[predicted[row]] == shares.max()
    outcome = summary.columns[0]
    assert outcome.num_judged == 60
    truth, found = labels[~seen], predicted[~seen]
    assert outcome.accuracy == pytest.approx(np.mean(truth == found))
    assert outcome.macro_f1 == pytest.approx(f1_score(truth, found, average="macro"))
    assert summary.warnings == (
        "30 items are not judged: the head of space 'head' was trained or chosen on them",
    )


def test_what_makes_no_sense_is_refused(line: Path, tmp_path: Path) -> None:
    output = tmp_path / "votes.csv"
    base = VoteSettings(space="fan", columns=("colour",), output=output)
    cases = [
        (replace(base, columns=()), "different columns: found none"),
        (replace(base, columns=("size", "size")), "found size, size"),
        (replace(base, k=0), "at least 1: found 0"),
        (replace(base, output=tmp_path / "votes.json"), r"\.csv or \.parquet file"),
    ]
    with Store(line) as store:
        for wanted, message in cases:
            with pytest.raises(SettingsError, match=message):
                vote(store, wanted)
        with pytest.raises(StoreError, match="no column 'brand'"):
            vote(store, replace(base, columns=("brand",)))
        assert not output.exists()
        output.write_text("mine")
        with pytest.raises(OutputExistsError):
            vote(store, base)
        assert output.read_text() == "mine"


def test_on_the_command_line(line: Path, tmp_path: Path, retrieval_cli: Invoke) -> None:
    output = tmp_path / "votes.csv"
    about = ("vote", line, "--space", "fan", "--column", "colour", "--column", "size", "-o", output)
    shown = retrieval_cli(*about, "--k", "2")
    assert "5 items, 5 may vote, k = 2, weighted" in shown.stdout
    assert "0.5714" in shown.stdout
    found = json_of(retrieval_cli(*about, "--force", "--k", "2", "--json"))
    assert found["attribute_score"] == pytest.approx((4 / 7 + 1) / 2)
    assert found["columns"][0]["column"] == "colour"
    among = ("--gallery-store", line, "--query-where", "split=val", "--where", "size=8", "--force")
    json_of(retrieval_cli(*about, *among, "--json"))
    assert output.read_text().splitlines()[1:] == ["r4,colour,blue,1.0,1", "r4,size,8,1.0,1"]
