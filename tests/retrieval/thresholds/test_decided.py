"""Thresholds tuned with decisions, against all cuts of sets that are put together by hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from embed.errors import SelectionError, SettingsError
from embed.rows import Where
from embed.store import Store
from retrieval.decisions.records import Verdict
from retrieval.evaluation.evaluate import EvaluateSettings, evaluate
from retrieval.matches.match_settings import MatchSettings
from retrieval.matches.matching import match
from retrieval.metrics.judgements import judge
from retrieval.selection import evaluation_rows
from retrieval.thresholds.files import load, save
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import tune_threshold
from tests.conftest import Invoke, json_of
from tests.retrieval.decisions.decision_files import write_decisions
from tests.retrieval.retrieval_stores import dense_info, exact_vectors, write_store

NUM_ROWS = 14
PAIRS = Objective("pair-f1")
Pairs = set[frozenset[int]]


@dataclass(frozen=True)
class Case:
    """A store, decisions on some of its pairs, and what is to be found by hand."""

    store_path: Path
    decisions: Path
    scores: np.ndarray
    labels: list[int]
    made: dict[frozenset[int], Verdict]

    def true(self) -> Pairs:
        """Pairs with one label, but for what was decided otherwise."""
        by_label = {
            frozenset((one, other))
            for one in range(NUM_ROWS)
            for other in range(one)
            if self.labels[one] == self.labels[other]
        }
        return (by_label | self.decided("same")) - self.decided("different")

    def decided(self, *verdicts: Verdict) -> Pairs:
        return {pair for pair, verdict in self.made.items() if verdict in verdicts}

    def taken(self, cut: float) -> Pairs:
        """Pairs that reach a cut, where all are candidates."""
        return {
            frozenset((one, other))
            for one in range(NUM_ROWS)
            for other in range(one)
            if self.scores[one, other] >= cut
        }

    def best(self, figure: Callable[[Pairs], float]) -> float:
        """The best of a figure over all distinct cuts, and over none."""
        return max(figure(self.taken(float(cut))) for cut in {2.0, *self.scores.reshape(-1)})


@pytest.fixture(params=range(4))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    generator = np.random.default_rng(request.param)
    vectors = exact_vectors(NUM_ROWS, 10 + request.param)
    labels = generator.integers(0, 6, NUM_ROWS).tolist()
    columns = {
        "label": np.array([f"l{label}" for label in labels], object),
        "side": np.array(["a", "b"] * (NUM_ROWS // 2), object),
    }
    path = write_store(tmp_path / "store.h5", {"image": (dense_info(16), vectors)}, columns)
    norms = np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
    units = vectors.astype(np.float64) / norms[:, None]
    verdicts: list[Verdict] = ["same", "different", "unsure"]
    made: dict[frozenset[int], Verdict] = {}
    while len(made) < 16:
        one, other = generator.choice(NUM_ROWS, 2, replace=False).tolist()
        made[frozenset((one, other))] = verdicts[len(made) % 3]
    lines = [(f"r{min(pair)}", f"r{max(pair)}", verdict) for pair, verdict in made.items()]
    decisions = write_decisions(tmp_path / "made.jsonl", *lines, ("r0", "gone", "same"))
    return Case(path, decisions, np.round(units @ units.T, 6), labels, made)


def pair_f1(true: Pairs, taken: Pairs) -> float:
    return 2 * len(true & taken) / (len(true) + len(taken)) if true or taken else 0.0


def row_f1(true: Pairs, taken: Pairs) -> float:
    def of(pairs: Pairs, row: int) -> set[int]:
        return {row} | {item for pair in pairs if row in pair for item in pair}

    rows = [(of(true, row), of(taken, row)) for row in range(NUM_ROWS)]
    return float(np.mean([2 * len(a & b) / (len(a) + len(b)) for a, b in rows]))


@pytest.mark.parametrize("objective", ["row-f1", "pair-f1"])
def test_decisions_go_before_labels(case: Case, objective: str) -> None:
    settings = TuneSettings(
        ("image",),
        "label",
        k=NUM_ROWS,
        objective=Objective(objective),
        protocol="same-rows",
        decisions=case.decisions,
    )
    true = case.true()
    figure = row_f1 if objective == "row-f1" else pair_f1
    with Store(case.store_path) as store:
        tuned = tune_threshold(store, settings)
        labels_alone = tune_threshold(store, replace(settings, decisions=None))
        cut = tuned.rule.thresholds[0]
        found = evaluate(
            store,
            EvaluateSettings(
                ("image",), "label", threshold=cut, k=NUM_ROWS, decisions=case.decisions
            ),
        )
    best = case.best(lambda taken: figure(true, taken))
    assert tuned.reached[objective.replace("-", "_")] == pytest.approx(best)
    taken = case.taken(cut)
    assert tuned.reached["row_f1"] == pytest.approx(row_f1(true, taken))
    assert tuned.reached["pair_f1"] == pytest.approx(pair_f1(true, taken))
    assert found.metrics["row_f1"] == pytest.approx(row_f1(true, taken))
    assert found.metrics["pair_f1"] == pytest.approx(pair_f1(true, taken))
    assert tuned.selection["decisions"] == (str(case.decisions),)
    assert "go before the labels, which say otherwise of" in " ".join(tuned.warnings)
    assert labels_alone.reached != tuned.reached
    assert any("1 decision is of items that are not in the store" in w for w in tuned.warnings)


def test_judgements_of_queries_and_a_gallery_count_what_was_decided(case: Case) -> None:
    true = case.true()
    wheres = (Where("side", "a"),), ()
    settings = TuneSettings(
        ("image",), "label", query_where=wheres[0], decisions=case.decisions, k=NUM_ROWS - 1
    )
    with Store(case.store_path) as store:
        rows = evaluation_rows(store, settings)
        candidates = np.stack([np.r_[own, np.arange(NUM_ROWS)] for own in rows.sides.own])
        judged = judge(candidates, rows)
        tuned = tune_threshold(store, replace(settings, protocol="same-rows", objective=PAIRS))
    for query, own in enumerate(rows.sides.own.tolist()):
        partners = {item for pair in true if own in pair for item in pair} - {own}
        relevant = set(np.flatnonzero(judged.relevant[query, 1:]).tolist()) - {own}
        assert relevant == partners
        assert judged.num_true[query] == 1 + len(partners)
        assert judged.num_shared[query] == len([item for item in partners if item % 2 == 0])
    asked = {pair for pair in true if any(item % 2 == 0 for item in pair)}
    best = case.best(lambda taken: pair_f1(asked, {p for p in taken if any(i % 2 == 0 for i in p)}))
    assert tuned.reached["pair_f1"] == pytest.approx(best)


def test_groups_that_a_pair_joins_are_held_out_together(case: Case) -> None:
    with Store(case.store_path) as store:
        rows = evaluation_rows(store, TuneSettings(("image",), "label", decisions=case.decisions))
        judged = judge(np.arange(NUM_ROWS)[:, None], rows)
    for pair in case.true():
        one, other = pair
        assert judged.groups[one] == judged.groups[other]
    for row, other in np.ndindex(NUM_ROWS, NUM_ROWS):
        if case.labels[row] == case.labels[other]:
            assert judged.groups[row] == judged.groups[other]


@pytest.mark.parametrize("k", [NUM_ROWS, 4])
def test_without_labels_nothing_but_decided_pairs_count(case: Case, k: int, tmp_path: Path) -> None:
    same, decided = case.decided("same"), case.decided("same", "different")
    settings = TuneSettings(
        ("image",), None, k=k, objective=PAIRS, protocol="same-rows", decisions=case.decisions
    )
    with Store(case.store_path) as store:
        tuned = tune_threshold(store, settings)
        one = tune_threshold(store, replace(settings, rules=Rules(at_most=2)))
        save(tuned, tmp_path / "t.json")
        summary = match(
            store,
            MatchSettings(
                output=tmp_path / "m.parquet",
                threshold=load(tmp_path / "t.json"),
                decisions=case.decisions,
            ),
        )
    near = nearest(case, k)
    best = case.best(lambda taken: pair_f1(same, taken & decided & near))
    assert tuned.reached["pair_f1"] == pytest.approx(best)
    best = case.best(lambda taken: pair_f1(same, taken & decided & nearest(case, 2)))
    assert one.reached["pair_f1"] == pytest.approx(best)
    assert tuned.label is None
    assert tuned.num_rows == len({item for pair in decided for item in pair})
    assert load(tmp_path / "t.json").label is None
    assert summary.decisions is not None
    assert summary.decisions.num_same == len(same)
    assert f"nothing but the {len(decided)} decided pairs" in " ".join(tuned.warnings)


def nearest(case: Case, k: int) -> Pairs:
    """Pairs of which at least one item is among the k nearest of the other, itself included."""
    near = set()
    for row in range(NUM_ROWS):
        others = [other for other in range(NUM_ROWS) if other != row]
        others.sort(key=lambda other: (-case.scores[row, other], other))
        near |= {frozenset((row, other)) for other in others[: k - 1]}
    return near


def test_cross_fit_and_several_spaces_work_on_decided_pairs(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    centres = np.repeat(generator.standard_normal((40, 8)), 2, axis=0)
    spaces = {
        name: (dense_info(8), (centres + spread * generator.standard_normal((80, 8))))
        for name, spread in (("one", 0.2), ("two", 0.4))
    }
    path = write_store(
        tmp_path / "s.h5", {n: (i, v.astype(np.float32)) for n, (i, v) in spaces.items()}
    )
    same = [(f"r{2 * number}", f"r{2 * number + 1}", "same") for number in range(20)]
    different = [(f"r{number}", f"r{number + 7}", "different") for number in range(0, 40, 2)]
    decisions = write_decisions(tmp_path / "d.jsonl", *same, *different)  # type: ignore[arg-type]
    settings = TuneSettings(("one", "two"), None, k=80, objective=PAIRS, decisions=decisions)
    with Store(path) as store:
        for combine in ("concat", "sum", "union", "intersection"):
            tuned = tune_threshold(store, replace(settings, combine=combine))
            assert tuned.protocol == "cross-fit"
            assert tuned.interval is not None
            value = tuned.reached["pair_f1"]
            assert value is not None
            assert 0.8 < value <= 1
        few = write_decisions(tmp_path / "few.jsonl", ("r0", "r1", "same"))
        with pytest.raises(SelectionError, match="cross-fit needs 5 groups or more"):
            tune_threshold(store, replace(settings, decisions=few))
        none = write_decisions(tmp_path / "none.jsonl", ("r0", "r1", "different"))
        with pytest.raises(SelectionError, match=r"none of the 1 decided pair .* is the same"):
            tune_threshold(store, replace(settings, decisions=none))


def test_the_commands_take_decisions(case: Case, tmp_path: Path, retrieval_cli: Invoke) -> None:
    tune = ("tune-threshold", case.store_path, "--space", "image", "--protocol", "same-rows")
    decided = ("--decisions", case.decisions)
    assert "--label says which rows truly match" in retrieval_cli(*tune, exit_code=2).output
    refused = retrieval_cli(*tune, *decided, "--objective", "row-f1", exit_code=2)
    assert "without --label nothing counts but" in refused.output
    output = tmp_path / "t.json"
    found = json_of(retrieval_cli(*tune, *decided, "-o", output, "--k", NUM_ROWS, "--json"))
    assert (found["label"], found["objective"]) == (None, "pair-f1")
    assert output.with_suffix(".png").is_file()
    with_label = json_of(retrieval_cli(*tune, *decided, "--label", "label", "--json"))
    assert with_label["objective"] == "row-f1"
    labelled = ("evaluate", case.store_path, "--space", "image", "--label", "label")
    evaluated = json_of(retrieval_cli(*labelled, "--threshold", "0.4", *decided, "--json"))
    plain = json_of(retrieval_cli(*labelled, "--threshold", "0.4", "--json"))
    assert evaluated["row_f1"] != plain["row_f1"]


def test_row_f1_needs_labels() -> None:
    with pytest.raises(SettingsError, match="without --label nothing counts but pairs"):
        TuneSettings(("image",), None)
