"""Search by images and titles, attributes and matches, as clients of a real server see them."""

import threading
import time

import httpx
import numpy as np
import pytest
import torch

from embed.errors import BusyError
from embed.store import Store
from heads.head import load_head
from heads.projection.bodies import project
from retrieval.service.batching import Batcher
from retrieval.service.encoders import EncoderPool
from retrieval.service.queries import Given, QueryEncoders
from retrieval.service.search import Searcher, SpaceQuery
from tests.retrieval.service.conftest import Demo


def photo(demo: Demo, name: str) -> bytes:
    return (demo.folder / "catalogue" / "images" / f"{name}.jpg").read_bytes()


def test_vectors_of_the_stores_own_images_and_titles_are_the_stored_ones(demo: Demo) -> None:
    pool = EncoderPool("cpu")
    with Store(demo.store) as store:
        encoders = QueryEncoders(store, pool, [load_head(demo.head)], 10**8)
        encoders.begin()
        while pool.num_loading:
            time.sleep(0.01)
        searcher = Searcher(store)
        for row in (0, 50):
            given = Given(photo(demo, store.ids[row]), store.column("title")[row])
            wanted = {space: encoders.intake(space).fits(given.parts) for space in store.spaces}
            assert wanted["head"] == ("image", "title")
            for space, vectors in encoders.vectors(given, wanted).items():
                (vector,) = vectors.values()
                own = np.array([row])
                found = searcher.scored({space: SpaceQuery(vector)}, own)
                assert found.combined[0] >= 0.9999, space
        searcher.close()
        encoders.close()
    pool.close()


@pytest.mark.parametrize(
    ("spaces", "image_weight", "uses"),
    [
        (("hog",), 0.75, {"hog": "image"}),
        (("phash", "tfidf"), 0.75, {"phash": "image", "tfidf": "title"}),
        # At any other share a head takes in other features than those of the item.
        ((), 0.5, {"head": "image and title"}),
    ],
)
def test_a_photo_and_its_title_find_their_item(
    client: httpx.Client,
    demo: Demo,
    spaces: tuple[str, ...],
    image_weight: float,
    uses: dict[str, str],
) -> None:
    item = client.get("/items/p00007-02").json()
    form: dict[str, object] = {"title": item["title"], "space": list(spaces)}
    form["image_weight"] = image_weight
    upload = {"image": ("a.jpg", photo(demo, "p00007-02"), "image/jpeg")}
    answer = client.post("/search", data=form, files=upload).json()
    assert answer["results"][0]["id"] == "p00007-02"
    assert answer["results"][0]["score"] >= 0.999
    assert {each["name"]: each["used_for"] for each in answer["spaces"]} == uses
    weights = [each["weight"] for each in answer["spaces"]]
    assert weights == ([1.5, 0.5] if len(uses) == 2 else [1.0])


def test_a_title_alone_falls_back_to_what_takes_titles(client: httpx.Client) -> None:
    answer = client.get("/search", params={"title": "zigzag mug"}).json()
    assert [each["name"] for each in answer["spaces"]] == ["tfidf"]
    told = "space 'head' takes an image and a title, or an id: searched tfidf instead"
    assert answer["warnings"] == [told]
    assert answer["num_matches"] == 0 and answer["results"][0]["is_match"] is None
    refused = client.get("/search", params={"title": "zigzag mug", "space": "hog"})
    assert refused.status_code == 400


def test_image_weight_moves_from_one_to_the_other(client: httpx.Client, demo: Demo) -> None:
    title = client.get("/items/p00011-01").json()["title"]
    best = {}
    for weight in (0.0, 0.25, 0.75, 1.0):
        form: dict[str, object] = {"title": title, "image_weight": weight}
        form |= {"space": ["hog", "tfidf"]} if 0 < weight < 1 else {}
        upload = {"image": ("a.jpg", photo(demo, "p00003-00"), "image/jpeg")}
        results = client.post("/search", data=form, files=upload).json()["results"]
        best[weight] = results[0]["id"]
        for each in results if 0 < weight < 1 else []:
            own = {space["name"]: space["score"] for space in each["spaces"]}
            mean = weight * own["hog"] + (1 - weight) * own["tfidf"]
            assert each["score"] == pytest.approx(mean, abs=1e-6)
    assert best == dict.fromkeys((0.0, 0.25), "p00011-01") | dict.fromkeys((0.75, 1.0), "p00003-00")


def test_a_head_of_both_weighs_what_it_takes_in(client: httpx.Client, demo: Demo) -> None:
    title = client.get("/items/p00011-01").json()["title"]
    upload = {"image": ("a.jpg", photo(demo, "p00003-00"), "image/jpeg")}
    with Store(demo.store) as store:
        ids = store.ids.tolist()
        of_title = store.sparse("tfidf")[[ids.index("p00011-01")]].toarray()
        of_image = np.array(store.array("hog")[[ids.index("p00003-00")]], np.float32)
        stored = np.array(store.array("head"), np.float64)
    network = load_head(demo.head).network
    for weight in (0.1, 0.5, 0.9):
        parts = (2 * weight * of_image, 2 * (1 - weight) * of_title)  # of length 1 each
        features = np.concatenate(parts, axis=1).astype(np.float32)
        made = project(network, torch.from_numpy(features)).numpy().astype(np.float64)[0]
        lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(made)
        expected = dict(zip(ids, stored @ made / lengths, strict=True))
        form = {"title": title, "image_weight": str(weight), "k": "5"}
        results = client.post("/search", data=form, files=upload).json()["results"]
        found = {each["id"]: each["score"] for each in results}
        assert found == pytest.approx({each: expected[each] for each in found}, abs=1e-4)
        if weight != 0.5:  # the product of what weighs more is best
            product = "p00011" if weight < 0.5 else "p00003"
            assert results[0]["id"].startswith(product)


def test_attributes_of_an_item_are_those_of_its_photo(client: httpx.Client, demo: Demo) -> None:
    stored = client.get("/attributes", params={"id": "p00002-01"}).json()
    upload = {"image": ("a.jpg", photo(demo, "p00002-01"), "image/jpeg")}
    made = client.post("/attributes", files=upload).json()
    assert [each["attribute"] for each in made["attributes"]] == ["attr_1", "attr_3"]
    for one, other in zip(stored["attributes"], made["attributes"], strict=True):
        assert one["value"] == other["value"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-3)
        assert len(one["others"]) <= 3 and one["others"][0]["probability"] <= one["probability"]
    shown = client.get("/items/p00002-01").json()["attributes"]
    assert [each["value"] for each in shown] == [e["value"] for e in stored["attributes"]]
    assert client.get("/store").json()["attributes_take"] == ["image"]


def test_what_arrives_together_is_one_batch() -> None:
    together: list[int] = []
    busy = threading.Event()

    def work(inputs: list[int]) -> list[int]:
        together.append(len(inputs))
        busy.wait(10)
        return [2 * given for given in inputs]

    batcher = Batcher("test", work, most_waiting=7)
    made: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda n=number: made.update({n: batcher(n)}))
        for number in range(8)
    ]
    threads[0].start()
    while not together:
        time.sleep(0.001)
    for thread in threads[1:]:
        thread.start()
    while len(batcher._waiting) < 7:
        time.sleep(0.001)
    with pytest.raises(BusyError, match="7 queries are waiting"):
        batcher(99)
    busy.set()
    for thread in threads:
        thread.join()
    assert made == {number: 2 * number for number in range(8)}
    assert together == [1, 7]
    batcher.close()


def test_many_at_once_get_what_each_gets_alone(client: httpx.Client, demo: Demo) -> None:
    photos = [photo(demo, f"p{number:05d}-00") for number in range(16)]

    def best(data: bytes) -> list[tuple[str, float]]:
        upload = {"image": ("a.jpg", data, "image/jpeg")}
        answer = client.post("/search", files=upload, data={"space": "hog", "k": "5"})
        return [(each["id"], each["score"]) for each in answer.json()["results"]]

    alone = [best(data) for data in photos]
    found: dict[int, list[tuple[str, float]]] = {}
    threads = [
        threading.Thread(target=lambda n=number: found.update({n: best(photos[n])}))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(16)] == alone
