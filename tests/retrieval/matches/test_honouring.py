"""Decisions laid over matches, against sets of pairs that are put together by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from embed.errors import DecisionsError
from embed.rows import Where
from embed.store import Store
from retrieval.decisions.journal import decisions_path
from retrieval.decisions.records import Verdict
from retrieval.matches.match_settings import MatchSettings
from retrieval.matches.matching import MatchSummary, match
from retrieval.search.neighbours import iterate_neighbours
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.tuning import ThresholdResult
from tests.conftest import Invoke, json_of
from tests.retrieval.decisions.decision_files import write_decisions
from tests.retrieval.retrieval_stores import dense_info, exact_vectors, sparse_info, write_store

NUM_ROWS = 24
Made = tuple[str, str, Verdict]


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    spaces = {
        "image": (dense_info(16), exact_vectors(NUM_ROWS, 1)),
        "title": (sparse_info(16), exact_vectors(NUM_ROWS, 2, signed=False, zeros=True)),
    }
    columns = {"side": np.array(["query"] * 10 + ["both"] * 6 + ["gallery"] * 8, object)}
    return write_store(tmp_path / "store.h5", spaces, columns)


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*args: Any, **options: Any) -> object:
        return iterate_neighbours(*args, **options, block_rows=5)

    monkeypatch.setattr("retrieval.finding.iterate_neighbours", search)


def tuned(rule: MatchRule) -> ThresholdResult:
    """A rule as a threshold file has it; its figures are of no account."""
    nothing = dict.fromkeys(("row_f1", "precision", "recall"), 0.0)
    return ThresholdResult(
        rule, "", Objective(), {}, "same-rows", 0, NUM_ROWS, 1, NUM_ROWS, True, NUM_ROWS,
        nothing, 0.0, nothing, None, 1.0, (),
    )  # fmt: skip


ONE = MatchRule({"image": 1.0}, (0.4,), 5)
RULES = {
    "one space": ONE,
    "at most": replace(ONE, rules=Rules(at_most=2)),
    "at least": replace(ONE, rules=Rules(at_least=3)),
    "gap": replace(ONE, rules=Rules(gap=True)),
    "reciprocal": replace(ONE, rules=Rules(reciprocal=True)),
    "category": replace(ONE, category="side", by_category={"query": (0.2,), "both": (0.9,)}),
    "concat": MatchRule({"image": 0.75, "title": 0.25}, (0.3,), 5),
    "sum": MatchRule({"image": 0.5, "title": 0.5}, (0.3,), 4, "sum"),
    "union": MatchRule({"image": 0.5, "title": 0.5}, (0.5, 0.6), 4, "union"),
    "intersection": MatchRule({"image": 0.5, "title": 0.5}, (0.2, 0.1), 4, "intersection"),
    "sparse": MatchRule({"title": 1.0}, (0.3,), 5),
}
SIDES = {
    "join": ((), ()),
    "some": ((Where("side", "query"),), (Where("side", "gallery"),)),
    "overlap": ((Where("side", "both"),), ()),
}


@dataclass(frozen=True)
class Written:
    """Matches of each query in the order of the file, with their scores."""

    summary: MatchSummary
    lists: dict[str, list[tuple[str, float]]]

    @property
    def pairs(self) -> set[tuple[str, str]]:
        return {(own, other) for own, found in self.lists.items() for other, _ in found}


def written(store: Store, settings: MatchSettings) -> Written:
    summary = match(store, settings)
    table = pl.read_parquet(settings.output)
    lists: dict[str, list[tuple[str, float]]] = {}
    for own, other, score in table.select("id", "neighbour_id", "score").iter_rows():
        lists.setdefault(own, []).append((other, score))
    return Written(summary, lists)


def true_scores(store: Store, rule: MatchRule) -> np.ndarray:
    """Cosines of all pairs, a row of zeros having 0 with everything: in float64, by hand."""
    total = np.zeros((NUM_ROWS, NUM_ROWS))
    for space, share in rule.spaces.items():
        is_sparse = store.space(space).kind == "sparse"
        vectors = store.sparse(space).toarray() if is_sparse else store.array(space)
        vectors = np.asarray(vectors, np.float64)
        norms = np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
        total += share * (vectors / norms[:, None]) @ (vectors / norms[:, None]).T
    return total


def some_decisions(before: Written, seed: int) -> Iterator[Made]:
    """Some of the matches, and as many other pairs, decided either way."""
    generator = np.random.default_rng(seed)
    chosen = sorted({tuple(sorted(pair)) for pair in before.pairs})
    places = generator.choice(len(chosen), min(8, len(chosen)), replace=False)
    others = generator.integers(0, NUM_ROWS, (12, 2))
    pairs = [chosen[place] for place in places]
    pairs += [(f"r{one}", f"r{other}") for one, other in others.tolist() if one != other]
    for first, second in dict.fromkeys(pairs):
        verdict = generator.choice(["same", "different", "unsure"], p=[0.5, 0.4, 0.1])
        yield str(second), str(first), str(verdict)  # type: ignore[misc]


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("name", RULES)
def test_decided_pairs_and_no_others_change(
    store_path: Path, tmp_path: Path, in_blocks: None, name: str, sides: str
) -> None:
    if name == "reciprocal" and sides != "join":
        return
    rule, (query_where, gallery_where) = RULES[name], SIDES[sides]
    settings = MatchSettings(
        output=tmp_path / "pairs.parquet",
        threshold=tuned(rule),
        query_where=query_where,
        gallery_where=gallery_where,
        force=True,
    )
    with Store(store_path) as store:
        before = written(store, settings)
        scores = true_scores(store, rule)
        made = list(some_decisions(before, len(name)))
        write_decisions(decisions_path(store_path), *made)
        after = written(store, settings)
        ignored = written(store, replace(settings, no_decisions=True))
        sides_of = np.asarray(store.column("side"))
    assert ignored.lists == before.lists
    assert ignored.summary.decisions is None
    ids = [f"r{row}" for row in range(NUM_ROWS)]
    queries = {i for i, s in zip(ids, sides_of, strict=True) if sides == "join" or s == "both"}
    gallery = set(ids)
    if sides == "some":
        queries = {i for i, s in zip(ids, sides_of, strict=True) if s == "query"}
        gallery = {i for i, s in zip(ids, sides_of, strict=True) if s == "gallery"}
    both_ways = {
        pair: verdict
        for first, second, verdict in made
        for pair in ((first, second), (second, first))
        if pair[0] in queries and pair[1] in gallery
    }
    same = {pair for pair, verdict in both_ways.items() if verdict == "same"}
    different = {pair for pair, verdict in both_ways.items() if verdict == "different"}
    assert after.pairs == (before.pairs | same) - different
    for own, found in after.lists.items():
        expected = [scores[int(own[1:]), int(other[1:])] for other, _ in found]
        assert [score for _, score in found] == pytest.approx(expected, abs=2e-6)
        order = [(-score, int(other[1:])) for other, score in found]
        assert order == sorted(order)
    changes = after.summary.decisions
    assert changes is not None
    assert changes.num_added == len({frozenset(pair) for pair in same - before.pairs})
    assert changes.num_taken_out == len({frozenset(pair) for pair in different & before.pairs})
    assert changes.num_same == len({frozenset(pair) for pair in same})
    assert changes.num_different == len({frozenset(pair) for pair in different})
    assert after.summary.num_matches == len(after.pairs)


def test_both_layouts_have_the_same_matches_and_decisions_may_lie_elsewhere(
    store_path: Path, tmp_path: Path, in_blocks: None
) -> None:
    with Store(store_path) as store:
        settings = MatchSettings(
            output=tmp_path / "pairs.parquet", threshold=tuned(ONE), force=True
        )
        before = written(store, settings)
        made = some_decisions(before, 7)
        elsewhere = write_decisions(tmp_path / "elsewhere.jsonl", *made)
        after = written(store, replace(settings, decisions=elsewhere))
        lines = replace(settings, output=tmp_path / "lines.csv", decisions=elsewhere)
        match(store, lines)
        assert written(store, settings).lists == before.lists
    table = dict(pl.read_csv(lines.output).iter_rows())
    assert {own: found.split(" ")[1:] for own, found in table.items()} == {
        own: [other for other, _ in after.lists.get(own, [])] for own in table
    }
    assert after.pairs != before.pairs


def test_what_has_gone_or_was_cut_short_is_told(store_path: Path, tmp_path: Path) -> None:
    path = write_decisions(decisions_path(store_path), ("r0", "gone", "same"), ("r1", "r2", "same"))
    path.write_bytes(path.read_bytes() + path.read_bytes()[:40])
    with Store(store_path) as store:
        settings = MatchSettings(output=tmp_path / "m.csv", threshold=tuned(ONE), force=True)
        summary = match(store, settings)
        with pytest.raises(DecisionsError, match="no decisions at"):
            match(store, replace(settings, decisions=tmp_path / "none.jsonl"))
    assert summary.decisions is not None
    assert (summary.decisions.num_gone, summary.decisions.num_same) == (1, 1)
    assert summary.warnings[-1] == "1 decision is of items that are not in the store any more"
    assert "was cut short" in summary.warnings[-2]


@pytest.fixture
def fan(tmp_path: Path) -> Path:
    """Five directions: 0°, 10°, 20°, 30° and 90°."""
    angles = np.radians([0, 10, 20, 30, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ids = np.array(list("abcde"), object)
    return write_store(tmp_path / "fan.h5", {"fan": (dense_info(2), vectors)}, ids=ids)


def groups_of(path: Path) -> set[frozenset[str]]:
    table = pl.read_csv(path)
    parts = table.group_by("group").agg("id")["id"].to_list()
    return {frozenset(part) for part in parts if len(part) > 1}


def flagged_of(path: Path) -> dict[str, bool]:
    return dict(pl.read_csv(path).select("id", "flagged").iter_rows())


@pytest.mark.parametrize("linkage", ["single", "complete"])
def test_groups_respect_decisions(fan: Path, tmp_path: Path, linkage: Any) -> None:
    # .93 matches what is up to 21° apart.
    threshold, groups = np.cos(np.radians(21)), tmp_path / "groups.csv"
    with Store(fan) as store:

        def grouped(*made: Made) -> set[frozenset[str]]:
            path = tmp_path / "made.jsonl"
            path.unlink(missing_ok=True)
            settings = MatchSettings(
                output=tmp_path / "m.csv",
                threshold=float(threshold),
                space="fan",
                decisions=write_decisions(path, *made) if made else None,
                groups=groups,
                linkage=linkage,
                force=True,
            )
            match(store, settings)
            return groups_of(groups)

        if linkage == "single":
            assert grouped() == {frozenset("abcd")}
            assert grouped(("d", "e", "same")) == {frozenset("abcde")}
            assert grouped(("c", "d", "different"), ("b", "d", "different")) == {frozenset("abc")}
            only: tuple[Made, ...] = (
                ("a", "b", "different"),
                ("c", "d", "different"),
                ("b", "d", "different"),
            )
            assert grouped(("a", "c", "different"), *only) == {frozenset("bc")}
            assert grouped(("a", "e", "same"), ("a", "c", "different"), *only) == {
                frozenset("ae"),
                frozenset("bc"),
            }
            assert not flagged_of(groups)["a"]  # its score is low, but somebody has decided
        else:
            assert grouped() == {frozenset("ab"), frozenset("cd")}
            assert grouped(("b", "a", "different")) == {frozenset("bcd")}
            # What was decided goes first, though others are nearer.
            assert grouped(("a", "e", "same")) == {frozenset("ae"), frozenset("bcd")}
            assert not flagged_of(groups)["a"]


def test_the_command_says_what_was_honoured(
    fan: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    write_decisions(decisions_path(fan), ("a", "e", "same"), ("a", "b", "different"))
    arguments = ("match", fan, "--threshold", 0.95, "--space", "fan", "-o", tmp_path / "m.csv")
    shown = retrieval_cli(*arguments)
    assert "2 decided pairs honoured: 1 added, 1 taken out: " in shown.output
    assert (tmp_path / "m.csv").read_text().splitlines()[1] == "a,a e"
    found = json_of(retrieval_cli(*arguments, "--force", "--json"))
    assert found["decisions"] == {
        "path": str(decisions_path(fan)),
        "num_same": 1,
        "num_different": 1,
        "num_added": 1,
        "num_taken_out": 1,
        "num_gone": 0,
    }
    without = json_of(retrieval_cli(*arguments, "--force", "--json", "--no-decisions"))
    assert without["decisions"] is None
    both = retrieval_cli(
        *arguments, "--no-decisions", "--decisions", decisions_path(fan), exit_code=2
    )
    assert "give one of them" in both.output
