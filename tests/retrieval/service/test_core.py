"""Search by id, items and images, as clients of a real server see them."""

from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image

from embed.store import Store
from retrieval.choosing import Chosen
from retrieval.decisions.journal import decisions_path
from retrieval.finding import found_neighbours
from retrieval.service.settings import ServiceSettings
from tests.retrieval.service.conftest import Demo, serving

SPACES = [
    ("hog",),
    ("phash",),
    ("tfidf",),
    ("head",),
    ("hog", "tfidf"),
    ("phash", "hog", "tfidf", "head"),
]


@pytest.mark.parametrize("spaces", SPACES, ids="+".join)
def test_an_item_finds_its_neighbours_to_the_bit(
    client: httpx.Client, demo: Demo, spaces: tuple[str, ...]
) -> None:
    with Store(demo.store) as store:
        sides = Chosen().sides(store)
        expected = found_neighbours(sides, dict.fromkeys(spaces, 1.0), 12)
        for row in (0, 17, 95):
            asked: dict[str, Any] = {"id": store.ids[row], "k": 11, "space": list(spaces)}
            results = client.get("/search", params=asked).json()["results"]
            is_there = expected.rows[row, 1:] >= 0
            rows = expected.rows[row, 1:][is_there]
            assert [each["id"] for each in results] == store.ids[rows].tolist()
            scores = np.array([each["score"] for each in results], np.float32)
            assert np.array_equal(scores, expected.scores[row, 1:][is_there])


def test_the_store_is_described(client: httpx.Client) -> None:
    found = client.get("/store").json()
    assert found["num_items"] == 96
    assert [space["name"] for space in found["spaces"]] == ["hog", "phash", "tfidf", "head"]
    assert [space["is_searched"] for space in found["spaces"]] == [False, False, False, True]
    assert found["image_column"] == "image" and found["warnings"] == []
    assert found["threshold"]["score_threshold"] == pytest.approx(
        1 - found["threshold"]["distance_threshold"]
    )


def test_who_decides_and_whether_anybody_can_is_told(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    told = {}
    for name in ("decisions.jsonl", "no folder/decisions.jsonl", "folder.jsonl"):
        settings = ServiceSettings(demo.store, decisions=tmp_path / name, reviewer="Ada")
        with serving(settings) as address:
            found = httpx.get(f"{address}/store").json()
        told[name] = found["can_decide"]
        assert found["reviewer"] == "Ada"
    assert list(told.values()) == [True, False, False]


def test_filters_keep_what_they_name(client: httpx.Client) -> None:
    asked: dict[str, Any] = {"id": "p00000-00", "where": ["label=p00000", "label=p00003"], "k": 200}
    results = client.get("/search", params=asked).json()["results"]
    assert len(results) == 7
    assert {each["columns"]["label"] for each in results} == {"p00000", "p00003"}


def test_an_image_is_served_small_and_upright(client: httpx.Client) -> None:
    item = client.get("/items/p00000-00").json()
    answer = client.get(item["image"], params={"size": 100})
    with Image.open(BytesIO(answer.content)) as image:
        assert max(image.size) == 128 and image.format == "JPEG"
    again = client.get(
        item["image"], params={"size": 100}, headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304 and again.content == b""


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/items/nobody", 404),
        ("/image/nobody", 404),
        (f"/items/{quote('../../etc/passwd', safe='')}", 404),
        ("/search", 400),
        ("/search?id=nobody", 404),
        ("/search?id=p00000-00&space=nothing", 400),
        ("/search?id=p00000-00&where=nothing%3D1", 400),
        ("/search?id=p00000-00&threshold=high", 400),
        ("/search?id=p00000-00&k=0", 422),
        ("/search?id=p00000-00&k=many", 422),
        ("/image/p00000-00?size=huge", 422),
        ("/nothing/here", 404),
    ],
)
def test_what_is_wrong_is_one_sentence(client: httpx.Client, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/search?title=mug&wher=a", "unknown field 'wher': did you mean 'where'?"),
        ("/groups?treshold=0.5", "unknown field 'treshold': did you mean 'threshold'?"),
        ("/search?title=mug&k=many", "k: a whole number is expected: found 'many'"),
        ("/search?title=mug&k=1000", "k: 200 or less is expected: found '1000'"),
        ("/search?title=mug&where=red", "found 'red'; such as where=category="),
        ("/match?title=mug", "GET /match takes an id; POST a title or an image"),
        ("/match", "id is missing: GET /match takes an id"),
        ("/groups?order=name", "order: 'size' or 'doubt' is expected: found 'name'"),
    ],
)
def test_faults_of_a_query_are_told_in_plain_words(
    client: httpx.Client, path: str, reason: str
) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 422)
    assert reason in answer.json()["detail"]


def test_faults_of_a_body_are_told_in_plain_words(client: httpx.Client) -> None:
    client.headers["X-Requested-With"] = "product-search"
    json = client.post("/search", json={"title": "mug"})
    assert json.status_code == 415 and "send a form (multipart" in json.json()["detail"]
    form = client.post("/search", data={"titel": "mug"})
    assert form.json()["detail"] == "unknown field 'titel': did you mean 'title'?"
    image = client.post("/search", data={"image": "mug"})
    assert image.json()["detail"].startswith("image: a file is expected")
    for content, reason in ((b'{"by":', "no JSON"), (b"[]", "an object is expected")):
        body = client.post(
            "/review/undo", content=content, headers={"Content-Type": "application/json"}
        )
        assert body.status_code == 422 and reason in body.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("decisions", {"note": "hm"}, "'note': there are first, second, decision, by"),
        ("decisions", {"desicion": "same"}, "'desicion': did you mean 'decision'?"),
        ("undo", {"By": "bob"}, "'By': did you mean 'by'?"),
        ("retune", {"all": True}, "'all': there is by"),
        ("accept", {"tokens": "x"}, "'tokens': did you mean 'token'?"),
    ],
)
def test_unknown_fields_of_json_are_refused(
    demo: Demo, client: httpx.Client, path: str, body: dict[str, Any], detail: str
) -> None:
    whole = {
        "decisions": {"first": "p00000-00", "second": "p00000-01", "decision": "same", "by": "ada"},
        "accept": {"token": "1-x"},
    }.get(path, {"by": "ada"})
    own = {"X-Requested-With": "product-search"}
    answer = client.post(f"/review/{path}", json=whole | body, headers=own)
    assert (answer.status_code, answer.json()) == (422, {"detail": f"unknown field {detail}"})
    assert not decisions_path(demo.store).exists()


def test_a_value_that_no_item_has_is_told(client: httpx.Client) -> None:
    found = client.get("/search", params={"title": "mug", "where": "category=nope"}).json()
    assert "no item has category 'nope'" in found["warnings"]
