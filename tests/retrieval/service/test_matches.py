"""What matches is one answer, whoever is asked: the command, `/match`, `/search` and `/figures`."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from retrieval.cli import main as retrieval_main
from retrieval.decisions.journal import Journal, new_id, now_utc
from retrieval.decisions.records import Decision, Verdict
from retrieval.refining.refinements import Refinements
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.files import load
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.rules import Rules
from tests.retrieval.service.conftest import Demo, serving
from tests.retrieval.service.snapshots import with_rule

ONE, OTHER, FAR = "p00002-00", "p00002-01", "p00013-02"
ONE_SPACE = MatchRule({"hog": 1.0}, (0.6,), 12)
EACH = MatchRule({"hog": 0.5, "tfidf": 0.5}, (0.9, 0.7), 5, "union")
RULES = {
    "plain": ONE_SPACE,
    "at most": replace(ONE_SPACE, rules=Rules(at_most=2)),
    "at least": replace(ONE_SPACE, thresholds=(1.0,), rules=Rules(at_least=3)),
    "gap": replace(ONE_SPACE, thresholds=(0.0,), rules=Rules(gap=True)),
    "reciprocal": replace(ONE_SPACE, k=4, thresholds=(0.0,), rules=Rules(reciprocal=True)),
    "few": replace(ONE_SPACE, k=3, thresholds=(0.0,)),
    "union": EACH,
    "both": replace(EACH, combine="intersection", rules=Rules(at_most=4)),
    "category": replace(
        ONE_SPACE,
        category="category",
        thresholds=(0.95,),
        by_category={"mug": (0.3,), "t-shirt": (0.7,)},
    ),
}


def decided(path: Path, one: str, other: str, verdict: Verdict) -> None:
    decision = Decision(new_id(), now_utc(), "ann", one, other, verdict, 0.5, {}, {}, None)
    Journal(path).append(decision)


@contextmanager
def asking(settings: ServiceSettings) -> Iterator[httpx.Client]:
    with serving(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def matching(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    ids = [each["id"] for each in found["results"] if each["is_match"]]
    assert found["num_matches"] == len(ids)
    return ids


def written(settings: ServiceSettings, folder: Path) -> dict[str, list[str]]:
    """What `retrieval match` writes of each item, itself left out."""
    output, decisions = folder / "matches.csv", settings.decisions
    arguments = ["match", settings.store, "--threshold", settings.threshold, "-o", output]
    if decisions is not None and decisions.exists():
        arguments += ["--decisions", decisions]
    retrieval_main.main([str(argument) for argument in arguments], standalone_mode=False)
    with output.open(encoding="utf-8") as file:
        return {line["id"]: line["matches"].split()[1:] for line in csv.DictReader(file)}


def figures_of(client: httpx.Client) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.get("/figures").json()
        if found["ready"]:
            return found


@pytest.mark.parametrize(
    ("name", "is_decided"),
    [*((name, False) for name in RULES), *((name, True) for name in ("at most", "few", "union"))],
)
def test_all_say_the_same(demo: Demo, tmp_path: Path, name: str, is_decided: bool) -> None:
    settings = with_rule(replace(demo.settings, heads=()), tmp_path, RULES[name])
    if is_decided:
        assert settings.decisions is not None
        decided(settings.decisions, ONE, OTHER, "different")
        decided(settings.decisions, ONE, FAR, "same")
    expected = written(settings, tmp_path)
    with asking(settings) as client:
        for item_id in [ONE, OTHER, FAR, *list(expected)[5::23]]:
            wanted = expected[item_id]
            assert matching(client.get("/match", params={"id": item_id})) == wanted
            all_of_them: dict[str, Any] = {"id": item_id, "k": 200}
            assert matching(client.get("/search", params=all_of_them)) == wanted
            few = matching(client.get("/search", params={"id": item_id, "k": 2}))
            assert few == [each for each in wanted if each in few] and len(few) <= len(wanted)
            filtered = all_of_them | {"where": "label=p00002"}
            here = [each for each in wanted if each.startswith("p00002-")]
            assert matching(client.get("/search", params=filtered)) == here
        found = figures_of(client)
    pairs = {frozenset((item, each)) for item, others in expected.items() for each in others}
    assert found["num_pairs"] == len(pairs)
    assert found["num_items_with_match"] == sum(map(bool, expected.values()))


@pytest.mark.parametrize("name", ["at most", "gap", "few", "both"])
def test_an_upload_matches_by_the_same_rule(demo: Demo, tmp_path: Path, name: str) -> None:
    rule = RULES[name]
    if "tfidf" in rule.spaces:
        rule = replace(rule, spaces={"hog": 0.5, "phash": 0.5})
    data = (demo.folder / "catalogue" / "images" / f"{ONE}.jpg").read_bytes()
    upload = {"image": ("a.jpg", data, "image/jpeg")}
    with asking(with_rule(replace(demo.settings, heads=()), tmp_path, rule)) as client:
        by_rule = matching(client.post("/match", files=upload))
        assert by_rule[0] == ONE
        assert matching(client.post("/search", files=upload, data={"k": "200"})) == by_rule
        if rule.rules.at_most:
            assert len(by_rule) < rule.rules.at_most


def test_an_upload_is_never_mutual(demo: Demo, tmp_path: Path) -> None:
    data = (demo.folder / "catalogue" / "images" / f"{ONE}.jpg").read_bytes()
    upload = {"image": ("a.jpg", data, "image/jpeg")}
    with asking(
        with_rule(replace(demo.settings, heads=()), tmp_path, RULES["reciprocal"])
    ) as client:
        refused = client.post("/match", files=upload)
        assert refused.status_code == 400 and "find one another" in refused.json()["detail"]
        assert "find one another" in client.post("/search", files=upload).json()["warnings"][0]
        assert client.get("/search", params={"id": ONE}).json()["warnings"] == []


def test_refined_neighbours_judge_no_single_query(demo: Demo, tmp_path: Path) -> None:
    refined = replace(ONE_SPACE, refinements=Refinements(expand=3))
    with asking(with_rule(replace(demo.settings, heads=()), tmp_path, refined)) as client:
        found = client.get("/search", params={"id": ONE}).json()
        assert {each["is_match"] for each in found["results"]} == {None}
        assert "refined" in found["warnings"][0]


def test_moved_thresholds_go_without_decisions(demo: Demo, tmp_path: Path) -> None:
    settings = with_rule(demo.settings, tmp_path, RULES["at most"])
    assert settings.decisions is not None and settings.threshold is not None
    tuned = load(Path(settings.threshold)).rule.thresholds[0]
    with asking(settings) as client:
        (nearest,) = matching(client.get("/search", params={"id": ONE}))
        decided(settings.decisions, ONE, nearest, "different")
        for threshold, expected in ((tuned, []), (tuned - 0.1, [nearest])):
            asked = {"id": ONE, "threshold": repr(threshold)}
            assert matching(client.get("/search", params=asked)) == expected
