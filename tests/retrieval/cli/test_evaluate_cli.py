"""`python -m retrieval evaluate` and `compare`, from the command line to what they print."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Invoke, json_of
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store

METRICS = """row_f1 precision recall pair_f1 pair_precision pair_recall map map_trec mrr recall@1
recall@5 recall@10 found@1 found@5 found@10 precision@5 precision@10 mp@5 r_precision map@r"""


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """20 products, each with a picture and three photos on one of two shelves."""
    near, labels = clustered(20, 4, spread=0.5)
    far, _ = clustered(20, 4, spread=1.5)
    columns = {
        "label": labels,
        "kind": np.array(["picture", "photo", "photo", "photo"] * 20, object),
        "shelf": np.where(labels % 2 == 0, "low", "high").astype(object),
    }
    spaces = {"near": (dense_info(16, "near"), near), "far": (dense_info(16, "far"), far)}
    return write_store(tmp_path / "store.h5", spaces, columns)


SIDES = ("--query-where", "kind=photo", "--gallery-where", "kind=picture")


def test_evaluate_says_everything_and_by_category(store_path: Path, retrieval_cli: Invoke) -> None:
    about = ("evaluate", store_path, "--space", "far", "--label", "label", "--by", "shelf")
    found = json_of(retrieval_cli(*about, "--json"))
    assert set(METRICS.split()) == set(found["intervals"]) <= set(found)
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high, name
    assert [one["value"] for one in found["categories"]] == ["high", "low"]
    assert sum(one["num_rows"] for one in found["categories"]) == found["num_rows"] == 80
    shown = retrieval_cli(*about).stdout
    assert "80 rows, k = 50, threshold: cross-fit: score ≥ " in shown
    for words in ("pair F1", "mP@5", "MAP@R", "with matches"):
        assert words in shown
    assert f"{found['map@r']:.4f}" in shown


def test_evaluate_queries_among_a_gallery(store_path: Path, retrieval_cli: Invoke) -> None:
    about = ("evaluate", store_path, "--space", "near", "--label", "label")
    here = retrieval_cli(*about, *SIDES, "--ranking-only")
    assert "60 queries among 20 rows, k = 20, threshold: none" in here.stdout
    assert "row F1" not in here.stdout
    found = json_of(retrieval_cli(*about, *SIDES, "--ranking-only", "--json"))
    assert (found["num_rows"], found["num_gallery"], found["num_queries"]) == (60, 20, 60)
    assert "row_f1" not in found
    other = json_of(retrieval_cli(*about, "--gallery-store", store_path, "--json"))
    assert (other["num_rows"], other["num_gallery"], other["is_self_join"]) == (80, 80, False)
    alike = retrieval_cli(*about, "--gallery-store", store_path, "--objective", "pair-f1")
    assert "80 queries among 80 rows" in alike.stdout


def test_compare_in_every_format(store_path: Path, tmp_path: Path, retrieval_cli: Invoke) -> None:
    about = ("compare", store_path, "--space", "near", "--space", "far", "--label", "label")
    text = retrieval_cli(*about).stdout
    assert "80 rows, k = 50, threshold: cross-fit" in text
    assert "far less near" in text
    found = json_of(retrieval_cli(*about, "--json"))
    assert found == json_of(retrieval_cli(*about, "--format", "json"))
    assert list(found["spaces"]) == ["near", "far"]
    assert [one["metric"] for one in found["differences"]] == [
        "row_f1",
        "map",
        "recall@1",
        "pair_f1",
    ]
    rows = list(csv.DictReader(io.StringIO(retrieval_cli(*about, "--format", "csv").stdout)))
    assert [float(row["map"]) for row in rows] == [
        found["spaces"][name]["map"] for name in ("near", "far")
    ]
    markdown, picture = tmp_path / "table.md", tmp_path / "plot.png"
    retrieval_cli(*about, "-o", markdown, "--plot", picture)
    assert markdown.read_text() == retrieval_cli(*about, "--format", "markdown").stdout
    assert picture.read_bytes()[:4] == b"\x89PNG"
    retrieval_cli(*about, "--format", "json", "-o", markdown, "--force")
    assert json.loads(markdown.read_text()) == found


def test_compare_tunes_weights_like_tune_threshold(store_path: Path, retrieval_cli: Invoke) -> None:
    options = ("--combine", "sum", "--tune-weights", "--signed-weights", "--at-most", 3)
    lines = ("--space", "far", "--space", "near+far", "--space", "near-0.1*far", "--space", "near")
    about = (store_path, "--label", "label", "--k", 9, *options)
    text = retrieval_cli("compare", *about, *lines, "--against", "best-space").stdout
    assert "near+far less near" in text
    assert "weights" in text
    found = json_of(retrieval_cli("compare", *about, *lines, "--json"))["spaces"]["near+far"]
    both = ("--space", "near", "--space", "far")
    tuned = json_of(retrieval_cli("tune-threshold", *about, *both, "--json"))
    for name in ("row_f1", "pair_f1", "score_threshold"):
        assert found[name] == pytest.approx(tuned[name])
    weights = {name: each["weight"] for name, each in tuned["spaces"].items()}
    assert found["weights"] == weights


def test_options_of_compare_that_do_nothing_are_refused(
    store_path: Path, retrieval_cli: Invoke
) -> None:
    about = ("compare", store_path, "--space", "near+far", "--label", "label")
    refused = retrieval_cli(*about, "--signed-weights", exit_code=2)
    assert "--signed-weights does nothing without --tune-weights" in refused.stderr
    for options in (("--tune-weights",), ("--at-most", 2)):
        refused = retrieval_cli(*about, "--ranking-only", *options, exit_code=2)
        assert "with --ranking-only none is tuned" in refused.stderr


def test_a_table_goes_by_its_suffix(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    about = ("compare", store_path, "--space", "near", "--label", "label", "--ranking-only")
    table, picture = tmp_path / "table.json", tmp_path / "plot.png"
    shown = retrieval_cli(*about, "-o", table, "--plot", picture).stdout
    assert shown.splitlines()[-1] == f"table: {table}, picture: {picture}"
    found = json_of(retrieval_cli(*about, "--json", "-o", tmp_path / "table.csv"))
    assert json.loads(table.read_text()) == found
    (row,) = csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text()))
    assert float(row["map"]) == found["spaces"]["near"]["map"]


def test_nothing_is_overwritten_and_nothing_computed_before_it_is_said(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    picture = tmp_path / "plot.png"
    picture.write_text("mine")
    about = ("compare", store_path, "--space", "near", "--label", "none")  # there is no such column
    refused = retrieval_cli(*about, "--plot", picture, exit_code=1)
    assert refused.stderr.startswith(f"error: {picture} exists already")
    assert picture.read_text() == "mine"


def test_compare_stores_that_share_items(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    better, _ = clustered(20, 4, spread=0.1)
    ids = np.array([f"r{row}" for row in range(80)], object)
    other = write_store(tmp_path / "other.h5", {"near": (dense_info(16), better[4:])}, ids=ids[4:])
    spaces = ("--space", "near", "--space", "near+far", "--label", "label")
    about = (*spaces, "--against", "other:near", "--json")
    result = retrieval_cli("compare", store_path, other, *about)
    found = json_of(result)
    assert list(found["spaces"]) == ["store:near", "other:near", "store:near+far"]
    assert {one["num_rows"] for one in found["spaces"].values()} == {76}
    assert {one["against"] for one in found["differences"]} == {"other:near"}
    assert result.stderr == f"warning: 4 rows are left out: {other} does not have them\n"


@pytest.mark.parametrize(
    ("exit_code", "arguments", "message"),
    [
        (
            2,
            "evaluate {store} --space near --space far --label label --combine union "
            "--threshold 0.5",
            "0.5 is one score: give a threshold file",
        ),
        (
            2,
            "evaluate {store} --space near --label label --ranking-only --threshold 0.5",
            "leave --threshold out",
        ),
        (1, "evaluate {store} --space near --label label --by aisle", "no column 'aisle'"),
        (
            1,
            "evaluate {store} --space near --label label --query-where kind=drawing",
            "its values are photo, picture",
        ),
        (
            2,
            "evaluate {store} --space near --label label --threshold 0.5 --objective pair-f1",
            "with --threshold none is tuned",
        ),
        (
            2,
            "compare {store} --space near --label label --ranking-only --objective row-f1",
            "with --ranking-only none is tuned",
        ),
        (
            2,
            "evaluate {store} --space near --label label --combine sum",
            "--combine sum is for several spaces",
        ),
        (2, "compare {store} --space near --label label --against far", "of the lines, near"),
        (
            2,
            "compare {store} --space near --label label -o table.txt",
            "in .md, .csv, .json: found",
        ),
        (2, "compare {store} --space near --label label --plot a.jpg", "ends in .png: found a.jpg"),
        (1, "compare {store} --space near+haed --label label", "no space 'haed': there are"),
        (1, "compare {store} nowhere.h5 --space near --label label", "no store at nowhere.h5"),
    ],
)
def test_a_mistake_is_one_line(
    store_path: Path, retrieval_cli: Invoke, exit_code: int, arguments: str, message: str
) -> None:
    result = retrieval_cli(*arguments.format(store=store_path).split(), exit_code=exit_code)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
