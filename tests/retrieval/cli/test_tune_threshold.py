"""`python -m retrieval tune-threshold`: each option, and what a user in a hurry gets wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.store import Store
from retrieval.metrics.judgements import judge_join
from retrieval.search.combined import combined_neighbours
from retrieval.search.sides import self_join
from retrieval.thresholds.files import load
from retrieval.thresholds.threshold_json import to_json
from tests.conftest import Invoke, json_of
from tests.retrieval.retrieval_stores import (
    binary_info,
    clustered,
    dense_info,
    sparse_info,
    write_store,
)

NUM_ROWS = 72


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image, labels = clustered(18, 4, spread=0.8)
    title, _ = clustered(18, 4, spread=1.2, seed=1)
    broken = np.where(np.arange(NUM_ROWS)[:, None] == 3, np.nan, image)
    codes = np.packbits(clustered(18, 4, spread=0.5, seed=2)[0] > 0, axis=1)
    spaces = {
        "image": (dense_info(16), image),
        "title": (sparse_info(16), np.maximum(title, 0)),
        "hash": (binary_info(16), codes),
        "broken": (dense_info(16), broken.astype(np.float32)),
    }
    columns = {
        "label": labels,
        "category": np.where(labels % 3 == 0, "hats", "shoes").astype(object),
        "kind": np.where(np.arange(NUM_ROWS) % 2, "photo", "icon").astype(object),
    }
    return write_store(tmp_path_factory.mktemp("tune") / "store.h5", spaces, columns)


BOTH = "--space image --space title"


@pytest.mark.parametrize(
    "options",
    [
        "--space image",
        f"{BOTH} --combine concat --weight image=2 --weight title=1",
        f"{BOTH} --space hash --combine sum",
        f"{BOTH} --combine sum --tune-weights --threshold-by category --shrinkage 3",
        f"{BOTH} --combine concat --tune-weights",
        f"{BOTH} --combine concat --weight title=-0.4",
        f"{BOTH} --combine sum --tune-weights --signed-weights --at-most 5",
        f"{BOTH} --combine union --threshold-by category",
        f"{BOTH} --combine intersection --objective pair-f1",
        f"{BOTH} --space hash --combine union --k 4",
        "--space image --objective recall-at-precision --wanted 0.8",
        "--space image --objective precision-at-recall --wanted 0.5 --protocol holdout",
        "--space hash --at-least 2 --at-most 4 --gap --reciprocal --calibrate",
        "--space image --query-where kind=photo --gallery-where kind=icon --at-least 2 --calibrate",
        f"{BOTH} --combine union --query-where kind=photo --objective pair-f1 --k 36",
        "--space image --protocol same-rows --seed 7 --where category=shoes",
    ],
)
def test_every_kind_of_result_is_kept_and_matched_by(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke, options: str
) -> None:
    output = tmp_path / "threshold.json"
    about = ("tune-threshold", store_path, *options.split(), "--label", "label", "-o", output)
    printed = json_of(retrieval_cli(*about, "--json"))
    assert printed == json.loads(output.read_text())
    assert json.loads(json.dumps(to_json(load(output)))) == printed
    assert output.with_suffix(".png").is_file() == (len(load(output).rule.thresholds) < 3)
    assert 0.3 < printed["row_f1"] <= 1
    assert all(0 <= printed[f"pair_{name}"] <= 1 for name in ("f1", "precision", "recall"))
    shown = retrieval_cli(*about, "--force").stdout
    assert f"{printed['row_f1']:.4f}" in shown
    if "query-where" not in options:
        retrieval_cli("match", store_path, "--threshold", output, "-o", tmp_path / "matches.csv")
        assert len((tmp_path / "matches.csv").read_text().splitlines()) == 1 + NUM_ROWS


def test_what_it_reaches_is_counted_by_hand(store_path: Path, retrieval_cli: Invoke) -> None:
    about = ("tune-threshold", store_path, *BOTH.split(), "--label", "label", "--k", 9)
    printed = json_of(retrieval_cli(*about, "--protocol", "same-rows", "--json"))
    with Store(store_path) as store:
        found = combined_neighbours(
            self_join(store, np.arange(NUM_ROWS)), {"image": 1.0, "title": 1.0}, 9
        )
        labels = np.asarray(store.column("label"))
    taken = found.scores >= printed["score_threshold"]
    relevant = judge_join(found.rows, labels).relevant
    pairs = {frozenset((row, int(other))) for row, other in _directed(found.rows, taken)}
    hits = {pair for pair in pairs if len(set(labels[list(pair)])) == 1}
    row_f1 = 2 * (taken & relevant).sum(axis=1) / (4 + taken.sum(axis=1))
    assert printed["row_f1"] == pytest.approx(row_f1.mean())
    assert printed["pair_precision"] == pytest.approx(len(hits) / len(pairs))
    assert printed["pair_recall"] == pytest.approx(len(hits) / (18 * 6))


def _directed(rows: np.ndarray, taken: np.ndarray) -> list[tuple[int, int]]:
    queries, places = np.nonzero(taken[:, 1:])
    return list(zip(queries.tolist(), rows[:, 1:][queries, places].tolist(), strict=True))


def test_what_the_objective_reached_is_said(store_path: Path, retrieval_cli: Invoke) -> None:
    about = ("tune-threshold", store_path, "--space", "image", "--label", "label")
    wanted = ("--objective", "recall-at-precision", "--wanted", "0.8")
    shown = retrieval_cli(*about, *wanted).stdout.splitlines()
    found = json_of(retrieval_cli(*about, *wanted, "--json"))
    reached = found["where_tuned"]
    assert reached["pair_precision"] >= 0.8
    assert shown[-2:] == [
        f"left alone, all items have row F1 {2 / 5:.4f}",
        f"objective recall-at-precision: recall of pairs {reached['pair_recall']:.4f} at precision "
        f"of pairs {reached['pair_precision']:.4f} (wanted: 0.8 or more), on the rows that it was "
        f"tuned on",
    ]
    sides = ("--query-where", "kind=photo", "--gallery-where", "kind=icon")
    assert "36 queries among 36 rows, k = 36" in retrieval_cli(*about, *sides).stdout


def test_of_many_categories_the_first_are_printed(tmp_path: Path, retrieval_cli: Invoke) -> None:
    vectors, labels = clustered(25, 4, spread=0.8)
    columns = {"label": labels, "kind": np.array([f"kind {n:02}" for n in labels], object)}
    store = write_store(tmp_path / "store.h5", {"image": (dense_info(16), vectors)}, columns)
    output = tmp_path / "threshold.json"
    about = ("tune-threshold", store, "--space", "image", "--label", "label")
    shown = retrieval_cli(*about, "--threshold-by", "kind", "-o", output).stdout
    assert "kind 19" in shown
    assert "kind 20" not in shown
    assert f"… and 5 more (all in {output})" in shown
    assert len(load(output).rule.by_category) == 25


def test_weights_that_only_rank_are_warned_of(store_path: Path, retrieval_cli: Invoke) -> None:
    about = ("tune-threshold", store_path, *BOTH.split(), "--label", "label", "--combine", "union")
    result = retrieval_cli(*about, "--weight", "image=2")
    assert "warning: --weight changes the order of candidates alone" in result.stderr
    assert "--weight" not in retrieval_cli(*about).stderr


MISTAKES: list[tuple[int, str, str]] = [
    (2, "--space image --weight title=2", "--weight title=2 is of a space that is not searched"),
    (2, "--space image --weight title", "--weight takes NAME=FACTOR such as image=0.6"),
    (2, f"{BOTH} --weight image=0", "weight of a space is a number other than 0: found image=0"),
    (
        2,
        f"{BOTH} --weight image=nan",
        "weight of a space is a number other than 0: found image=nan",
    ),
    (2, "--space image --objective recall-at-precision", "takes a --wanted share such as 0.9"),
    (2, "--space image --wanted 0.9", "--objective row-f1 takes no --wanted share"),
    (
        2,
        "--space image --objective precision-at-recall --wanted 90",
        "--wanted is a share from 0 to 1: found 90",
    ),
    (
        2,
        "--space image --objective precision-at-recall --wanted 1 --k 2",
        "no threshold reaches the wanted share of 1",
    ),
    (2, "--space image --k 73", "--k 73 asks for more neighbours than there are"),
    (2, "--space image --query-where kind=photo --k 73", "the gallery has 72 items"),
    (1, "--space broken", "'r3' in space 'broken' should be finite and holds NaN"),
    (1, f"{BOTH} --space broken", "'r3' in space 'broken' should be finite and holds NaN"),
    (1, f"{BOTH} --space broken --combine union", "'r3' in space 'broken' should be finite"),
    (1, "--space image --where category=boots", "has category=boots: its values are hats, shoes"),
    (2, "--space image --space image", "different spaces, each named once: found image, image"),
    (2, f"{BOTH} --signed-weights", "--signed-weights does nothing without --tune-weights"),
    (2, f"{BOTH} --weight image=-1", "add up to more than 0: found image=-1, title=1"),
    (2, f"{BOTH} --combine union --tune-weights", "--tune-weights is for --combine concat or sum"),
    (2, "--space image --tune-weights", "--tune-weights is for --combine concat or sum"),
    (2, "--space image --reciprocal --query-where kind=photo", "--reciprocal is for items that"),
    (2, "--space image --at-most 1 --at-least 2", "--at-most should not be below --at-least"),
    (2, "--space image --threshold-by category --shrinkage nan", "--shrinkage is 0 or more"),
    (1, "--space image --threshold-by colour", "no column 'colour'"),
    (2, "--space image --threshold-by label", "give each group of true matches a threshold"),
    (2, "--space image --threshold-by id", "give each item a threshold of its own"),
    (2, "--space image --weight image=2", "--weight is for several spaces, and one is given"),
    (2, "--space image --combine union", "--combine union is for several spaces, and one is"),
    (2, "--space image --shrinkage 3", "--shrinkage does nothing without --threshold-by"),
]


@pytest.mark.parametrize(("exit_code", "options", "message"), MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(
    store_path: Path,
    tmp_path: Path,
    retrieval_cli: Invoke,
    exit_code: int,
    options: str,
    message: str,
) -> None:
    about: tuple[Any, ...] = ("tune-threshold", store_path, *options.split(), "--label", "label")
    result = retrieval_cli(*about, "-o", tmp_path / "threshold.json", exit_code=exit_code)
    (line,) = (line for line in result.stderr.splitlines() if line.lower().startswith("error"))
    assert message in line
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_more_matches_than_k_allows_are_refused(store_path: Path, retrieval_cli: Invoke) -> None:
    about = ("tune-threshold", store_path, "--space", "image", "--label", "label")
    refused = retrieval_cli(*about, "--k", 10, "--at-least", 12, exit_code=2)
    assert (
        "--at-least 12 takes the item itself and 11 others, and no more than 9 are found with "
        "--k 10 among the 72 items: give --k 12 or --at-least 10"
    ) in refused.stderr
    sides = ("--query-where", "kind=photo", "--gallery-where", "kind=icon")
    refused = retrieval_cli(*about, *sides, "--k", 10, "--at-least", 12, exit_code=2)
    assert "no more than 10 are found with --k 10 among the 36 items: give --k 11 or" in (
        refused.stderr
    )
    refused = retrieval_cli(*about, *sides, "--at-least", 38, exit_code=2)
    assert "among the 36 items: give --at-least 37" in refused.stderr
    retrieval_cli(*about, "--k", 10, "--at-least", 10)


def test_a_threshold_that_nothing_reaches_is_told_in_words(
    tmp_path: Path, retrieval_cli: Invoke
) -> None:
    """Two equal vectors never have the same label, and those with the same label are far apart."""
    labels = (np.arange(24) // 2 + np.arange(24) % 2) % 12
    spaces = {"image": (dense_info(12), np.repeat(np.eye(12, dtype=np.float32), 2, axis=0))}
    path = write_store(tmp_path / "far.h5", spaces, {"label": labels})
    about = ("--space", "image", "--label", "label")
    kept = tmp_path / "none.json"
    tuned = retrieval_cli(
        "tune-threshold", path, *about, "--protocol", "same-rows", "-o", kept
    ).stdout
    assert "nothing matches" in tuned
    assert "-0.0000" not in tuned
    evaluated = retrieval_cli("evaluate", path, *about, "--threshold", kept).stdout
    assert "threshold: given: nothing matches" in evaluated
    compared = retrieval_cli("compare", path, *about).stdout
    assert "nothing matches" in compared
    assert "-0.0000" not in compared
    matched = retrieval_cli("match", path, "--threshold", kept, "-o", tmp_path / "m.csv").stdout
    assert "0 matches besides themselves" in matched
    assert "(image: nothing matches)" in matched
