"""`python -m retrieval index` and `neighbours`, from a store to their files."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed.store import Store
from retrieval.search.neighbour_files import read_info, read_neighbours
from retrieval.search.neighbours import find_neighbours
from retrieval.search.sides import self_join
from tests.conftest import Invoke, json_of
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    vectors, _ = clustered(30, 4, spread=0.6)
    other, _ = clustered(30, 4, spread=0.6, seed=1)
    spaces = {"image": (dense_info(16), vectors), "title": (dense_info(16, "title-1"), other)}
    kinds = {"kind": np.array(["photo", "icon"] * 60, object)}
    return write_store(tmp_path / "store.h5", spaces, kinds)


def test_an_index_and_a_search_with_it(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    made = json_of(
        retrieval_cli("index", store_path, "--space", "image", "--recall", 1, "--k", 8, "--json")
    )
    assert made["path"] == str(tmp_path / "store.image.hnsw.faiss")
    assert (made["method"], made["recall"], made["num_rows"], made["k"]) == ("hnsw", 1, 120, 8)
    assert made["effort"]["depth"] >= 8
    output = tmp_path / "near.parquet"
    about = ("neighbours", store_path, "--space", "image", "--k", 8, "-o", output)
    told = retrieval_cli(*about, "--index", made["path"])
    assert "840 neighbours of 120 items among 120 (hnsw, recall 1.0000)" in told.stdout
    with Store(store_path) as store:
        sides = self_join(store, np.arange(120))
        found = read_neighbours(output, sides, ["image"], 8)
        np.testing.assert_array_equal(found.rows, find_neighbours(sides, "image", 8).rows)

    refused = retrieval_cli(*about, exit_code=1)
    assert refused.stderr.startswith("error: ")
    assert "exists already" in refused.stderr
    fewer = ("--where", "kind=photo", "--force")
    refused = retrieval_cli(*about, "--index", made["path"], *fewer, exit_code=1)
    assert "holds 120 rows, and the 60 that are to be looked among" in refused.stderr
    assert read_info(output).method == "hnsw"


def test_the_table_of_an_index(store_path: Path, retrieval_cli: Invoke) -> None:
    about = ("index", store_path, "--space", "image", "--where", "kind=photo", "--k", 5)
    told = retrieval_cli(*about, "--method", "sq8", "--num-queries", 20)
    assert "60 rows of 'image', measured on 20" in told.stdout
    assert "store.image.sq8.faiss (0.0 MiB, built in" in told.stdout
    assert "recall of 4 neighbours" in " ".join(told.stdout.split())
    refused = retrieval_cli(*about, "--method", "ivf-pq", exit_code=2)
    assert "found 60 rows: take --method hnsw" in refused.stderr
    for option, value, message in (("--memory", "1KiB", "memory"), ("--device", "no", "'no'")):
        refused = retrieval_cli(*about, "--force", option, value, exit_code=2)
        assert message in refused.stderr


def test_every_refinement_reaches_the_file(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    output = tmp_path / "near.parquet"
    blending = ("--blend", 0.9, "--blend", 0.8, "--blend-nearest", 4)
    moving = ("--augment", 3, "--augment-weights", "score", "--expand", 2, "--alpha", 3)
    ranking = ("--rerank", "--rerank-k1", 6, "--rerank-k2", 3, "--rerank-lambda", 0.2)
    options = (*blending, *moving, *ranking)
    spaces = ("--space", "image", "--space", "title")
    done = json_of(
        retrieval_cli("neighbours", store_path, *spaces, "-o", output, *options, "--json")
    )
    assert done["num_pairs"] == 120 * 49
    assert done["spaces"] == {"image": "dense-1", "title": "title-1"}
    assert done["refinements"] == {
        "blend": [0.9, 0.8],
        "blend_nearest": 4,
        "augment": 3,
        "augment_weights": "score",
        "expand": 2,
        "alpha": 3.0,
        "rerank": {"k1": 6, "k2": 3, "weight": 0.2},
    }
    assert read_info(output).refinements == done["refinements"]


def test_queries_among_a_gallery(store_path: Path, tmp_path: Path, retrieval_cli: Invoke) -> None:
    output = tmp_path / "near.csv"
    about = ("neighbours", store_path, "--space", "image", "-o", output)
    where = ("--query-where", "kind=photo", "--gallery-where", "kind=icon")
    retrieval_cli(*about, *where, "--k", 3)
    frame = pl.read_csv(output)
    assert len(frame) == 60 * 3
    numbers = frame.select(pl.col("id", "neighbour_id").str.slice(1).cast(pl.Int64))
    assert ((numbers["id"] % 2) == 0).all()
    assert ((numbers["neighbour_id"] % 2) == 1).all()

    spaces = {"image": (dense_info(16), clustered(2, 2, spread=1.0)[0])}
    other = write_store(tmp_path / "other.h5", spaces, ids=np.array(list("abcd"), object))
    retrieval_cli(*about, "--gallery-store", other, "--k", 1, "--force")
    assert set(pl.read_csv(output)["neighbour_id"]) <= set("abcd")
