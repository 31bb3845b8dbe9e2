"""What is ready before it is asked for, and what is searched together."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from embed.store import SpaceInfo, Store, StoreWriter
from retrieval.service.app import create_app
from retrieval.service.dense import LEAST_UNPACKED, DenseVectors
from retrieval.service.search import Searcher, SpaceQuery
from retrieval.service.service import Service
from retrieval.service.settings import ServiceSettings
from retrieval.service.warming import warm
from tests.retrieval.retrieval_stores import dense_info, exact_vectors, write_store
from tests.retrieval.service.conftest import Demo, running


def test_a_store_is_opened_without_torch_whose_import_takes_seconds(demo: Demo) -> None:
    code = f"""
import sys
from pathlib import Path
from retrieval.service.service import Service
from retrieval.service.settings import ServiceSettings
Service(ServiceSettings(Path({str(demo.store)!r}), "0.5", "hog")).close()
sys.exit("torch" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_a_server_warms_up_before_anything_is_asked(demo: Demo) -> None:
    service = Service(ServiceSettings(demo.store, space="hog"))
    with running(create_app(service)) as address:
        for _ in range(2000):
            if len(service.encoders.loaded) == 3:
                break
            time.sleep(0.01)
        searcher = service.snapshot.searcher
        assert set(searcher._opened) == {"hog"}
        assert set(service.encoders.loaded) >= {"tfidf (text)"}
        assert httpx.get(f"{address}/healthz").status_code == 200
    service.close()


def test_a_server_that_ends_while_it_warms_up_ends_cleanly(
    demo: Demo, capfd: pytest.CaptureFixture[str]
) -> None:
    service = Service(demo.settings)
    with running(create_app(service)):
        pass
    service.close()
    assert capfd.readouterr().err == ""
    assert not [each for each in threading.enumerate() if each.name == "warm up"]


def test_what_cannot_be_warmed_is_told_to_who_asks(tmp_path: Path) -> None:
    vectors = exact_vectors(4, seed=1)
    vectors[2] = np.nan
    path = write_store(tmp_path / "store.h5", {"damaged": (dense_info(16), vectors)})
    service = Service(ServiceSettings(path))
    warm(service.snapshot)
    with running(create_app(service)) as address:
        answer = httpx.get(f"{address}/search", params={"id": "r0"})
        assert answer.status_code >= 400 and "should be finite" in answer.json()["detail"]
    service.close()


@pytest.fixture(scope="module", params=["fp16", "fp32"])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 vectors at random, some of them twice or thrice."""
    vectors = np.random.default_rng(0).standard_normal((5_000, 64)).astype(np.float32)
    vectors[1000:1100] = vectors[2000:2100] = vectors[:100]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path = tmp_path_factory.mktemp("drawn") / "store.h5"
    with StoreWriter(path, "", {}) as writer:
        ids = np.array([f"{row}" for row in range(5_000)], object)
        writer.write_items(ids, {}, {"image": np.zeros((5_000, 16), np.uint8)})
        info = SpaceInfo("dense", "image", "imported:x", "f", request.param, True, 64)
        dtype = np.float16 if request.param == "fp16" else np.float32
        writer.create_array("drawn", info, (5_000, 64), dtype)[:] = vectors
    return path


@pytest.mark.parametrize("num_queries", [1, LEAST_UNPACKED - 1, LEAST_UNPACKED, 32])
def test_products_of_many_queries_are_as_near_as_they_say(drawn: Path, num_queries: int) -> None:
    with Store(drawn) as store:
        vectors = DenseVectors(store, "drawn")
        rows = np.arange(len(store))
        queries = [vectors.prepared(vectors.of_row(row)) for row in range(num_queries)]
        near = vectors.near(queries, 10, 4_990)
        assert near.shape == (num_queries, 4_980)
        for of_query, query in zip(near, queries, strict=True):
            exact = vectors.exact(query, rows)[10:4_990]
            assert np.abs(of_query - exact).max() <= vectors.margin


def test_searches_together_find_what_each_finds_alone(demo: Demo) -> None:
    asked = [("hog",), ("hog", "tfidf"), ("phash",), ("head", "phash", "hog"), ("tfidf",)]
    with Store(demo.store) as store:
        searcher = Searcher(store)

        def found(number: int) -> tuple[list[int], list[float]]:
            spaces, row = asked[number % len(asked)], number % 90
            queries = {
                space: SpaceQuery(searcher.vectors(space).of_row(row), 1.0 + place)
                for place, space in enumerate(spaces)
            }
            best = searcher.best(queries, 7, without=row)
            return best.rows.tolist(), best.combined.tolist()

        alone = [found(number) for number in range(200)]
        num_before = searcher.num_products
        with ThreadPoolExecutor(16) as pool:
            together = list(pool.map(found, range(200)))
        assert together == alone
        assert searcher.num_products - num_before < 200  # some shared one
        searcher.close()
