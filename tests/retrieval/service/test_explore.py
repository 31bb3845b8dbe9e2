"""Figures, curve, groups and maps as a real server answers them."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from retrieval.service.background import NUM_THREADS
from retrieval.service.settings import ServiceSettings
from tests.conftest import Invoke, json_of
from tests.retrieval.service.conftest import Demo, serving

SECONDS = 60.0


@pytest.fixture(scope="module")
def open_client(demo: Demo) -> Iterator[httpx.Client]:
    """The demo without a threshold."""
    settings = ServiceSettings(demo.store, space="hog")
    with serving(settings) as where, httpx.Client(base_url=where, timeout=60) as opened:
        yield opened


def ready(client: httpx.Client, path: str, **parameters: Any) -> dict[str, Any]:
    """The answer once it is ready."""
    end = time.monotonic() + SECONDS
    while True:
        answer = client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        if content["ready"]:
            assert content["progress"] == 1
            return content
        assert 0 <= content["progress"] < 1
        assert time.monotonic() < end
        time.sleep(0.05)


def detail(client: httpx.Client, status: int, path: str, **parameters: Any) -> str:
    """The sentence in the place of an answer."""
    answer = client.get(path, params=parameters)
    assert answer.status_code == status, answer.text
    (sentence,) = answer.json().values()
    assert isinstance(sentence, str)
    return sentence


def test_figures_are_those_that_evaluate_prints(
    client: httpx.Client, demo: Demo, retrieval_cli: Invoke
) -> None:
    command = ("evaluate", demo.store, "--space", "head", "--label", "label", "--json")
    own = json_of(retrieval_cli(*command, "--threshold", demo.threshold))
    few = ("--k", min(own["num_rows"], json.loads(demo.threshold.read_text())["k"]))
    other = json_of(retrieval_cli(*command, "--threshold", "0.9", *few))
    for wanted, given in ((own, {}), (other, {"threshold": "0.9"})):
        found = ready(client, "/figures", **given)
        assert found["num_rows"] == wanted["num_rows"] < 96
        for name in ("row_f1", "precision", "recall", "pair_f1", "pair_precision", "pair_recall"):
            assert found[name] == pytest.approx(wanted[name], abs=1e-9)
        assert any("was trained or chosen" in warning for warning in found["warnings"])


def test_the_curve_agrees_with_the_figures(client: httpx.Client) -> None:
    curve = ready(client, "/curve")
    assert curve["thresholds"] == sorted(set(curve["thresholds"]))
    assert len(curve["thresholds"]) <= 512
    own = ready(client, "/figures")
    place = curve["thresholds"].index(curve["chosen"])
    for name in ("num_pairs", "num_items_with_match", "row_f1", "precision", "recall"):
        assert curve[name][place] == pytest.approx(own[name], abs=1e-8)
    best = curve["thresholds"].index(curve["best"])
    assert curve["row_f1"][best] == max(curve["row_f1"])


def test_figures_without_labels_or_a_threshold(open_client: httpx.Client) -> None:
    assert "give threshold=SCORE" in detail(open_client, 400, "/figures")
    found = ready(open_client, "/figures", threshold="0.8")
    assert found["num_pairs"] > 0
    assert found["row_f1"] is found["num_rows"] is None
    curve = ready(open_client, "/curve")
    assert curve["row_f1"] is curve["chosen"] is curve["best"] is None
    assert curve["num_pairs"][-1] == 0


@pytest.mark.parametrize("threshold", ["x", "nan", "7", "hog=0.5", "=", "1e999"])
def test_thresholds_that_can_not_be_read(client: httpx.Client, threshold: str) -> None:
    assert "found '" in detail(client, 400, "/figures", threshold=threshold)
    assert "found '" in detail(client, 400, "/groups", threshold=threshold)


def test_groups_come_in_pages_and_whole(client: httpx.Client) -> None:
    first = ready(client, "/groups", order="size", limit=3)
    assert first["num_groups"] >= 3
    sizes = [group["size"] for group in first["groups"]]
    assert sizes == sorted(sizes, reverse=True)
    rest = ready(client, "/groups", order="size", start=3, limit=100)
    numbers = [group["number"] for group in first["groups"] + rest["groups"]]
    assert len(set(numbers)) == len(numbers) == first["num_groups"]
    doubtful = ready(client, "/groups", order="doubt", limit=100)["groups"]
    assert [group["margin"] for group in doubtful] == sorted(g["margin"] for g in doubtful)
    largest = first["groups"][0]
    assert [item["id"] for item in largest["items"][:2]] == largest["weakest_link"]
    whole = ready(client, f"/groups/{largest['number']}")
    assert len(whole["group"]["items"]) == largest["size"]
    assert whole["num_links"] == len(whole["links"])
    scores = [link["score"] for link in whole["links"]]
    assert scores == sorted(scores)
    (weakest,) = [link for link in whole["links"] if link["is_weakest"]]
    assert {weakest["first"], weakest["second"]} == set(largest["weakest_link"])
    assert weakest["score"] == largest["weakest"]
    image = client.get(largest["items"][0]["image"])
    assert image.status_code == 200


def test_groups_that_there_are_not(client: httpx.Client, open_client: httpx.Client) -> None:
    ready(client, "/groups")
    assert "no group 97" in detail(client, 404, "/groups/97")
    assert detail(client, 422, "/groups/0")
    assert detail(client, 422, "/groups", order="name")
    assert "give threshold=SCORE" in detail(open_client, 400, "/groups")
    assert ready(open_client, "/groups", threshold="0.8")["num_groups"] > 0


@pytest.mark.parametrize("space", ["hog", "phash", "tfidf", "head"])
def test_a_map_shows_every_item_once(client: httpx.Client, space: str) -> None:
    found = ready(client, "/map", space=space, colour="category")
    assert len(set(found["ids"])) == 96 == found["num_items"]
    lists = ("titles", "images", "x", "y", "colours")
    assert {len(found[name]) for name in lists} == {96}
    assert set(found["colours"]) == set(range(len(found["values"])))
    assert 0 < found["explained"][1] <= found["explained"][0] < 1
    item = client.get(f"/items/{found['ids'][5]}").json()
    assert found["values"][found["colours"][5]] == item["columns"]["category"]
    again = ready(client, "/map", space=space)
    assert (again["x"], again["colours"], again["values"]) == (found["x"], None, None)
    some = ready(client, "/map", space=space, limit=10)
    places = [found["ids"].index(item_id) for item_id in some["ids"]]
    assert some["x"] == [found["x"][place] for place in places]
    assert len(places) == 10


def test_maps_that_can_not_be_drawn(client: httpx.Client) -> None:
    assert "no space 'x'" in detail(client, 400, "/map", space="x")
    assert "no column 'x'" in detail(client, 400, "/map", colour="x")
    assert detail(client, 422, "/map", method="tsne")
    assert detail(client, 422, "/map", limit=0)


def test_ever_new_thresholds_are_answered_or_put_off(address: str) -> None:
    def status(number: int) -> int:
        answer = httpx.get(f"{address}/groups?threshold={0.3 + number / 1000}", timeout=60)
        assert answer.status_code == 200 or answer.headers["retry-after"] == "1"
        return answer.status_code

    with ThreadPoolExecutor(60) as pool:
        found = set(pool.map(status, range(60)))
    assert found <= {200, 503}
    threads = [each for each in threading.enumerate() if each.name == "works"]
    assert len(threads) <= NUM_THREADS
