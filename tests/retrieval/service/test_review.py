"""Review over a real server, against plain loops over the store's own scores."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from embed.store import Store
from retrieval.choosing import Chosen
from retrieval.cli import main as retrieval_main
from retrieval.decisions.journal import decisions_path
from retrieval.service.doubtful import doubtful_pairs, matching_pairs
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.match_rules import MatchRule, categories_of, gathered
from retrieval.thresholds.rules import Rules
from tests.conftest import Invoke, json_of
from tests.retrieval.decisions.decision_files import write_decisions
from tests.retrieval.retrieval_stores import clustered, dense_info, exact_vectors, write_store
from tests.retrieval.service.conftest import run_command, serving

HEADERS = {"X-Requested-With": "product-search"}
NUM_ROWS = 40


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store and its threshold, to be read only: tests that write make a copy."""
    vectors, labels = clustered(10, 4, spread=1.0)
    other = exact_vectors(NUM_ROWS, 3)
    columns = {
        "label": np.array([f"l{label}" for label in labels], object),
        "title": np.array([f"title {row}" for row in range(NUM_ROWS)], object),
        "kind": np.array(["x", "y"] * (NUM_ROWS // 2), object),
    }
    spaces = {"image": (dense_info(16), vectors), "exact": (dense_info(16, "exact-1"), other)}
    folder = tmp_path_factory.mktemp("review")
    path = write_store(folder / "store.h5", spaces, columns)
    tune = ("tune-threshold", path, "--space", "image", "--label", "label", "--k", 12)
    run_command(retrieval_main, *tune, "-o", folder / "threshold.json")
    return folder


@pytest.fixture
def store_path(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(written / "store.h5", tmp_path))


@pytest.fixture
def threshold(written: Path, tmp_path: Path) -> Path:
    shutil.copy(written / "threshold.png", tmp_path)
    return Path(shutil.copy(written / "threshold.json", tmp_path))


@contextmanager
def reviewing(store_path: Path, threshold: Path) -> Iterator[httpx.Client]:
    with (
        serving(ServiceSettings(store_path, str(threshold))) as address,
        httpx.Client(base_url=address, headers=HEADERS, timeout=60) as client,
    ):
        yield client


@pytest.fixture
def client(store_path: Path, threshold: Path) -> Iterator[httpx.Client]:
    with reviewing(store_path, threshold) as client:
        yield client


@pytest.fixture(scope="module")
def refusing(written: Path) -> Iterator[httpx.Client]:
    """One for all that is refused: nothing is written."""
    with reviewing(written / "store.h5", written / "threshold.json") as client:
        yield client


def ready(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    """What takes long, once it is there."""
    while True:
        answer = client.post(path, json=body) if body else client.get(path)
        assert answer.status_code == 200, answer.text
        content = answer.json()
        assert isinstance(content, dict)
        if content["ready"]:
            return content


def decide(client: httpx.Client, pair: dict[str, Any], decision: str, by: str = "ada") -> Any:
    body = {"first": pair["first"]["id"], "second": pair["second"]["id"]}
    answer = client.post("/review/decisions", json=body | {"decision": decision, "by": by})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids_of(pair: dict[str, Any]) -> tuple[str, str]:
    one, other = sorted((pair["first"]["id"], pair["second"]["id"]))
    return one, other


RULES = {
    "one": MatchRule({"image": 1.0}, (0.6,), 9),
    "ties": MatchRule({"exact": 1.0}, (0.25,), 9),
    "rules": MatchRule({"exact": 1.0}, (0.25,), 9, rules=Rules(at_least=2, at_most=4)),
    "union": MatchRule({"image": 0.5, "exact": 0.5}, (0.6, 0.3), 9, "union"),
    "intersection": MatchRule({"image": 0.5, "exact": 0.5}, (0.4, 0.1), 9, "intersection"),
    "category": replace(
        MatchRule({"image": 1.0}, (0.6,), 9), category="kind", by_category={"x": (0.2,)}
    ),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("block_rows", [7, 8192])
def test_doubtful_pairs_are_the_nearest_to_the_threshold_each_once(
    store_path: Path, name: str, block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.service.doubtful.BLOCK_ROWS", block_rows)
    rule = RULES[name]
    with Store(store_path) as store:
        sides = Chosen().sides(store)
        candidates = gathered(sides, rule)
        kinds = categories_of(sides, rule.category)
        found = doubtful_pairs(candidates, rule, kinds, 30)
        matches = matching_pairs(candidates, rule, kinds)
        everything = doubtful_pairs(candidates, rule, kinds, 10**6)
    margins: dict[tuple[int, int], float] = {}
    for row in range(NUM_ROWS):
        own = rule.thresholds
        if kinds is not None:
            own = rule.by_category.get(str(kinds[row]), own)
        for place in range(1, candidates.rows.shape[1]):
            other = int(candidates.rows[row, place])
            pair = min(row, other), max(row, other)
            scores = candidates.scores[:, row, place].astype(float)
            if other >= 0:
                margin = min(abs(s - cut) for s, cut in zip(scores, own, strict=True))
                margins[pair] = min(margin, margins.get(pair, np.inf))
    expected = sorted(margins, key=lambda pair: (margins[pair], pair))
    pairs = list(zip(found.one.tolist(), found.other.tolist(), strict=True))
    assert pairs == expected[:30]
    assert found.margins.tolist() == [margins[pair] for pair in pairs]
    every = zip(everything.one.tolist(), everything.other.tolist(), strict=True)
    is_match = dict(zip(every, everything.is_match.tolist(), strict=True))
    assert {pair for pair, is_one in is_match.items() if is_one} == matches.keys()


def test_pairs_come_nearest_first_and_are_gone_once_decided(
    client: httpx.Client, store_path: Path, threshold: Path
) -> None:
    cut = json.loads(threshold.read_text())["score_threshold"]
    first = ready(client, "/review/pairs?limit=10")
    assert len(first["pairs"]) == 10
    margins = [pair["margin"] for pair in first["pairs"]]
    assert margins == sorted(margins)
    for pair in first["pairs"]:
        assert pair["margin"] == pytest.approx(abs(pair["score"] - cut), abs=1e-6)
        assert pair["is_match"] == (pair["score"] >= cut)
        assert pair["distance"] == pytest.approx(1 - pair["score"])
        (space,) = pair["spaces"]
        assert (space["name"], space["score"]) == ("image", pytest.approx(pair["score"], abs=1e-6))
        assert space["agrees"] == pair["is_match"]
        labels = {pair[side]["columns"]["label"] for side in ("first", "second")}
        assert pair["is_labelled_same"] == (len(labels) == 1)
        assert pair["first"]["title"].startswith("title ")
    left = first["progress_of_review"]["num_left"]
    progress = decide(client, first["pairs"][0], "same")
    assert progress == {"num_same": 1, "num_different": 0, "num_unsure": 0, "num_left": left - 1}
    decide(client, first["pairs"][2], "unsure")
    second = ready(client, "/review/pairs?limit=10")
    shown = [ids_of(pair) for pair in second["pairs"]]
    assert shown[:8] == [ids_of(pair) for at, pair in enumerate(first["pairs"]) if at not in (0, 2)]
    lines = [json.loads(line) for line in decisions_path(store_path).read_text().splitlines()]
    assert [line["decision"] for line in lines] == ["same", "unsure"]
    assert lines[0]["threshold"] == cut
    assert lines[0]["scores"]["image"] == pytest.approx(first["pairs"][0]["score"], abs=1e-6)
    assert lines[0]["fingerprints"] == {"image": "dense-1"}


def test_undo_opens_the_pair_again(client: httpx.Client) -> None:
    pairs = ready(client, "/review/pairs")["pairs"]
    decide(client, pairs[0], "same", "ada")
    decide(client, pairs[1], "different", "ada")
    decide(client, pairs[2], "same", "bob")
    undone = client.post("/review/undo", json={"by": "ada"}).json()
    assert ids_of(undone["pair"]) == ids_of(pairs[1])
    assert undone["progress_of_review"]["num_different"] == 0
    assert ids_of(ready(client, "/review/pairs")["pairs"][0]) == ids_of(pairs[1])
    client.post("/review/undo", json={"by": "ada"})
    empty = client.post("/review/undo", json={"by": "ada"})
    assert empty.status_code == 409
    assert empty.json() == {"detail": "'ada' has decided nothing that could be taken back"}


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"first": "nobody"}, 404, "there is no item 'nobody'"),
        ({"first": "../../etc/passwd"}, 404, "there is no item"),
        ({"second": "r0"}, 400, "a pair is of two items: found 'r0' twice"),
        ({"decision": "maybe"}, 422, "decision: "),
        ({"by": "  "}, 422, "by: "),
        ({"by": "a\nb"}, 422, "by: "),
        ({"by": "a" * 201}, 422, "by: "),
        ({"first": 7}, 422, "first: "),
    ],
)
def test_what_is_no_decision_is_told_and_not_kept(
    refusing: httpx.Client, written: Path, changes: dict[str, Any], status: int, detail: str
) -> None:
    body = {"first": "r0", "second": "r1", "decision": "same", "by": "ada"}
    answer = refusing.post("/review/decisions", json=body | changes)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(detail)
    assert not decisions_path(written / "store.h5").exists()


def test_two_browsers_at_once_are_not_asked_the_same_and_nothing_is_lost(
    client: httpx.Client, store_path: Path
) -> None:
    ready(client, "/review/pairs")
    decided: dict[str, list[tuple[str, str]]] = {"ada": [], "bob": []}

    def review(by: str) -> None:
        with httpx.Client(base_url=client.base_url, headers=HEADERS, timeout=60) as browser:
            for _ in range(5):
                for pair in ready(browser, f"/review/pairs?limit=4&by={by}")["pairs"]:
                    decide(browser, pair, "same", by)
                    decided[by].append(ids_of(pair))

    threads = [threading.Thread(target=review, args=(by,)) for by in decided]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(pairs) for pairs in decided.values()] == [20, 20]
    assert len({*decided["ada"], *decided["bob"]}) == 40
    assert len(decisions_path(store_path).read_text().splitlines()) == 40


def written_pairs(path: Path) -> set[frozenset[str]]:
    table = pl.read_parquet(path).select("id", "neighbour_id")
    return {frozenset(pair) for pair in table.iter_rows()}


def test_retuning_is_what_the_command_does_and_accepting_it_serves_it(
    client: httpx.Client, store_path: Path, threshold: Path, retrieval_cli: Invoke, tmp_path: Path
) -> None:
    before = threshold.read_bytes()
    for _ in range(4):
        for place, pair in enumerate(ready(client, "/review/pairs?limit=10")["pairs"]):
            is_same = pair["is_labelled_same"] or place == 0
            decide(client, pair, "same" if is_same and place != 5 else "different")
    found = ready(client, "/review/retune", by="ada")
    assert found["token"] == ready(client, "/review/retune", by="bob")["token"]
    assert threshold.read_bytes() == before
    decisions, output = decisions_path(store_path), tmp_path / "by-command.json"
    tune = ("tune-threshold", store_path, "--space", "image", "--label", "label", "--k", 12)
    expected = json_of(retrieval_cli(*tune, "--decisions", decisions, "-o", output, "--json"))
    after = found["after"]
    for name in ("score_threshold", "distance_threshold", "row_f1", "pair_f1", "interval"):
        assert after[name] == expected[name], name
    assert found["is_labelled"] is True
    assert found["num_decisions_used"] == 40
    match = ("match", store_path, "--format", "pairs", "-o")
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    retrieval_cli(*match, old, "--threshold", threshold)
    retrieval_cli(*match, new, "--threshold", output)
    assert found["before"]["num_matches"] == len(written_pairs(old))
    assert after["num_matches"] == len(written_pairs(new))
    changed = written_pairs(old) ^ written_pairs(new)
    assert found["num_changed"] == len(changed)
    assert {frozenset(ids_of(pair)) for pair in found["changes"]} <= changed
    evaluated = ("evaluate", store_path, "--space", "image", "--label", "label", "--k", 12)
    cut = ("--threshold", found["before"]["score_threshold"], "--decisions", decisions)
    shown = json_of(retrieval_cli(*evaluated, *cut, "--json"))
    assert found["before"]["row_f1"] == pytest.approx(shown["row_f1"])
    assert found["before"]["interval"] == pytest.approx(shown["interval"])

    refused = client.post("/review/accept", json={"token": "other"})
    assert refused.status_code == 409
    accepted = client.post("/review/accept", json={"token": found["token"]})
    assert accepted.json() == {"path": "threshold.json"}
    assert threshold.with_name("threshold.json.previous").read_bytes() == before
    assert json.loads(threshold.read_text())["score_threshold"] == after["score_threshold"]
    store = client.get("/store").json()
    assert store["threshold"]["score_threshold"] == after["score_threshold"]
    stays = ready(client, "/review/retune", by="ada")
    assert found["is_other"] and not stays["is_other"]
    assert stays["after"]["score_threshold"] == after["score_threshold"]
    again = ready(client, "/review/pairs")
    assert again["progress_of_review"]["num_same"] > 0
    for pair in again["pairs"]:
        least = after["score_threshold"]
        assert pair["margin"] == pytest.approx(abs(pair["score"] - least), abs=1e-6)
    twice = client.post("/review/accept", json={"token": found["token"]})
    assert twice.status_code == 409


def test_matches_of_an_item_are_those_that_the_command_writes(
    client: httpx.Client, store_path: Path, threshold: Path, retrieval_cli: Invoke, tmp_path: Path
) -> None:
    for pair in ready(client, "/review/pairs?limit=30")["pairs"]:
        decide(client, pair, "different" if pair["is_match"] else "same")
    far = {"first": "r0", "second": "r39", "decision": "same", "by": "ada"}
    client.post("/review/decisions", json=far)
    decide(client, {"first": {"id": "r1"}, "second": {"id": "r38"}}, "unsure")
    output = tmp_path / "m.csv"
    retrieval_cli("match", store_path, "--threshold", threshold, "-o", output)
    for own, written in pl.read_csv(output).iter_rows():
        found = client.get("/match", params={"id": own}).json()
        assert [each["id"] for each in found["results"]] == written.split(" ")[1:], own
    assert "r39" in dict(pl.read_csv(output).iter_rows())["r0"].split(" ")


@pytest.mark.parametrize("linkage", ["single", "complete"])
def test_groups_honour_decisions_as_the_command_does(
    client: httpx.Client,
    store_path: Path,
    threshold: Path,
    retrieval_cli: Invoke,
    tmp_path: Path,
    linkage: str,
) -> None:
    path = f"/groups?limit=100&linkage={linkage}"
    before = ready(client, path)["groups"]
    for pair in ready(client, "/review/pairs?limit=20")["pairs"]:
        decide(client, pair, "different" if pair["is_match"] else "same")
    outputs = ("-o", tmp_path / "m.csv", "--groups", tmp_path / "g.csv", "--linkage", linkage)
    retrieval_cli("match", store_path, "--threshold", threshold, *outputs)
    table = pl.read_csv(tmp_path / "g.csv").filter(pl.col("size") > 1)
    written = {
        (frozenset(part["id"]), part["flagged"].any())
        for _, part in table.group_by("group", maintain_order=True)
    }
    after = ready(client, path)["groups"]
    found = {
        (frozenset(item["id"] for item in each["items"]), each["is_flagged"])
        for each in after
        if each["size"] <= 12
    }
    assert found == {group for group in written if len(group[0]) <= 12}
    assert after != before


def test_without_labels_decisions_alone_are_tuned_on(store_path: Path, tmp_path: Path) -> None:
    settings = ServiceSettings(store_path, "0.9", space="image", decisions=tmp_path / "d.jsonl")
    with (
        serving(settings) as address,
        httpx.Client(base_url=address, headers=HEADERS, timeout=60) as client,
    ):
        nothing = client.post("/review/retune", json={"by": "ada"})
        assert nothing.status_code == 409
        for pair in ready(client, "/review/pairs?limit=30")["pairs"]:
            assert pair["is_labelled_same"] is None
            decide(client, pair, "same" if pair["score"] > 0.6 else "different")
        found = ready(client, "/review/retune", by="ada")
        assert found["is_labelled"] is False
        assert found["after"]["score_threshold"] < 0.9
        accepted = client.post("/review/accept", json={"token": found["token"]})
        assert accepted.json() == {"path": "store.threshold.json"}
        assert (tmp_path / "d.jsonl").is_file()
        assert not decisions_path(store_path).exists()
        shown = client.get("/store").json()["threshold"]
        assert shown["score_threshold"] == found["after"]["score_threshold"]


def test_without_a_threshold_nothing_is_doubtful(store_path: Path) -> None:
    with serving(ServiceSettings(store_path)) as address:
        answer = httpx.get(f"{address}/review/pairs")
    assert answer.status_code == 400
    assert "--threshold FILE_OR_SCORE" in answer.json()["detail"]


def test_a_damaged_file_is_told_by_its_name_alone(client: httpx.Client, store_path: Path) -> None:
    path = write_decisions(decisions_path(store_path), ("r0", "r1", "same"))
    path.write_bytes(b"notes\n" + path.read_bytes())
    answer = client.get("/review/pairs")
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("line 1 of store.decisions.jsonl is damaged")


def test_a_decision_is_kept_though_the_other_pairs_can_not_be_found(tmp_path: Path) -> None:
    vectors = exact_vectors(NUM_ROWS, 3)
    vectors[20] = np.nan
    store = write_store(tmp_path / "store.h5", {"exact": (dense_info(16), vectors)})
    with (
        serving(ServiceSettings(store, "0.5")) as address,
        httpx.Client(base_url=address, headers=HEADERS, timeout=60) as client,
    ):
        while (refused := client.get("/review/pairs")).status_code == 200:
            assert not refused.json()["ready"]
        assert refused.status_code == 400 and "should be finite" in refused.json()["detail"]
        progress = decide(client, {"first": {"id": "r0"}, "second": {"id": "r1"}}, "same")
    assert progress == {"num_same": 1, "num_different": 0, "num_unsure": 0, "num_left": None}
