"""The candidates of all items in blocks are those of the search of all at once."""

import time
from pathlib import Path

import numpy as np
import pytest

from embed.store import Store
from retrieval.finding import Finding
from retrieval.listing import ListingSettings, list_neighbours
from retrieval.refining.refinements import Refinements
from retrieval.service import pairs
from retrieval.service.background import Cancelled, Report
from retrieval.service.pairs import all_pairs
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.match_rules import MatchRule, gathered
from tests.retrieval.retrieval_stores import (
    binary_info,
    clustered,
    dense_info,
    exact_vectors,
    sparse_info,
    write_store,
)
from tests.retrieval.service.snapshots import opened_snapshot

SECONDS = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    dense, _ = clustered(10, 4, spread=0.5)
    sparse = exact_vectors(40, seed=2, signed=False)
    bits = np.random.default_rng(3).integers(0, 256, (40, 2)).astype(np.uint8)
    spaces = {
        "dense": (dense_info(16), dense),
        "sparse": (sparse_info(16), sparse),
        "bits": (binary_info(16), bits),
    }
    return write_store(tmp_path / "store.h5", spaces)


@pytest.mark.parametrize("combine", ["concat", "sum", "union", "intersection"])
@pytest.mark.parametrize("names", [["dense"], ["sparse"], ["sparse", "bits", "dense"]])
def test_blocks_have_the_candidates_of_the_search_of_all_at_once(
    path: Path, combine: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "BLOCK_ROWS", 7)
    with Store(path) as store:
        snapshot = opened_snapshot(ServiceSettings(path))
        cuts = (0.5,) * (1 if combine in ("concat", "sum") else len(names))
        rule = MatchRule(dict.fromkeys(names, 1 / len(names)), cuts, 6, combine)
        shares: list[float] = []
        found = all_pairs(snapshot.sides, rule, Finding(), shares.append)
        assert_same(found, gathered(snapshot.sides, rule))
        assert shares[-1] == 1.0
        assert shares == sorted(shares)
        assert len(store) == len(found.rows)
        snapshot.close()


def test_refined_neighbours_are_those_of_the_rule(path: Path) -> None:
    snapshot = opened_snapshot(ServiceSettings(path))
    rule = MatchRule({"dense": 1.0}, (0.5,), 6, refinements=Refinements(augment=2))
    found = all_pairs(snapshot.sides, rule, Finding(), lambda share: None)
    assert_same(found, gathered(snapshot.sides, rule))
    snapshot.close()


def test_without_a_rule_the_spaces_weigh_alike(path: Path) -> None:
    snapshot = opened_snapshot(ServiceSettings(path))
    found = snapshot.pairs.result(SECONDS)
    assert snapshot.rule is None
    wanted = MatchRule(dict.fromkeys(("dense", "sparse", "bits"), 1.0), (0.5,), 50)
    assert_same(found, gathered(snapshot.sides, wanted))
    snapshot.close()


def test_a_score_alone_is_a_rule_where_one_space_is_searched(path: Path) -> None:
    snapshot = opened_snapshot(ServiceSettings(path, threshold="0.5", space="dense"))
    wanted = MatchRule({"dense": 1.0}, (0.5,), 50)
    assert_same(snapshot.pairs.result(SECONDS), gathered(snapshot.sides, wanted))
    snapshot.close()


def test_a_file_of_neighbours_stands_for_the_search(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "neighbours.parquet"
    with Store(path) as store:
        list_neighbours(store, ListingSettings(output=file, spaces=("dense",), k=9))
    snapshot = opened_snapshot(ServiceSettings(path, "0.5", "dense", neighbours=file))
    wanted = MatchRule({"dense": 1.0}, (0.5,), 9)
    assert_same(snapshot.pairs.result(SECONDS), gathered(snapshot.sides, wanted))
    snapshot.close()


def test_a_closed_snapshot_gives_up_and_begins_nothing(path: Path) -> None:
    snapshot = opened_snapshot(ServiceSettings(path))
    begun = snapshot.works.once(("slow",), endless)
    snapshot.close()
    with pytest.raises(Cancelled):
        begun.result(SECONDS)
    with pytest.raises(Cancelled):
        _ = snapshot.pairs


def endless(report: Report) -> int:
    while True:
        report(0.1)
        time.sleep(0.001)


def assert_same(found: Candidates, wanted: Candidates) -> None:
    np.testing.assert_array_equal(found.rows, wanted.rows)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    np.testing.assert_array_equal(found.combined, wanted.combined)
