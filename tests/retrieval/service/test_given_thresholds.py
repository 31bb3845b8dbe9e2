"""Thresholds in an address mean one thing, whatever they are asked of."""

from pathlib import Path

import httpx
import pytest

from retrieval.thresholds.match_rules import MatchRule
from tests.retrieval.service.conftest import Demo, serving
from tests.retrieval.service.snapshots import with_rule

PATHS = ("/search?id=p00002-00", "/figures?", "/groups?")
WRONG = ("high", "nan", "2.5", "nothing=0.5", "=0.5", "head=")


@pytest.mark.parametrize("text", [*WRONG, "head=0.5"])
@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_threshold_is_refused(client: httpx.Client, path: str, text: str) -> None:
    asked = httpx.URL(path).copy_add_param("threshold", text)
    answer = client.get(asked)
    assert answer.status_code == 400, answer.text
    assert "a threshold is" in answer.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", ["-1.5", "1e-1", "+.5"])
def test_what_is_a_threshold_is_taken(client: httpx.Client, path: str, text: str) -> None:
    answer = client.get(httpx.URL(path).copy_add_param("threshold", text))
    assert answer.status_code == 200, answer.text


def test_one_score_is_no_threshold_of_a_union(demo: Demo, tmp_path: Path) -> None:
    rule = MatchRule({"hog": 0.5, "tfidf": 0.5}, (0.9, 0.7), 50, "union")
    settings = with_rule(demo.settings, tmp_path, rule)
    with serving(settings) as address, httpx.Client(base_url=address) as client:
        for path in PATHS:
            url = httpx.URL(path)
            for wrong in ("0.5", "phash=0.5"):
                assert client.get(url.copy_add_param("threshold", wrong)).status_code == 400
            assert client.get(url.copy_add_param("threshold", "hog=0.5")).status_code == 200
