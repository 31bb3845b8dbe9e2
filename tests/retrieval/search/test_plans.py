"""What a search may hold, and where its products are made."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embed.devices import has_bf16_units
from embed.errors import SettingsError
from retrieval.search.dense import DenseSearch
from retrieval.search.neighbours import neighbours_of_vectors
from retrieval.search.plans import Join, plan_binary, plan_in_float32, plan_search
from retrieval.search.vectors import UnitVectors

LARGE = Join(num_queries=34_250, num_gallery=34_250, dim=384, k=50)
MILLION = Join(num_queries=10_000, num_gallery=1_000_000, dim=512, k=50)


def test_a_gallery_is_held_whole_where_it_fits_in_half() -> None:
    assert plan_in_float32(LARGE, 2**31).gallery_rows == 34_250
    assert plan_in_float32(LARGE, 2 * 34_250 * 384 * 4).gallery_rows == 34_250
    assert plan_in_float32(LARGE, 2 * 34_250 * 384 * 4 - 1).gallery_rows == 17_125


@given(memory_bytes=st.integers(10**7, 10**10))
def test_what_is_held_fits(memory_bytes: int) -> None:
    plan = plan_in_float32(MILLION, memory_bytes)
    vectors = 4 * MILLION.dim * (plan.gallery_rows + plan.query_rows)
    results = plan.query_rows * MILLION.k * 12
    assert vectors + results <= memory_bytes
    assert plan.gallery_rows <= MILLION.num_gallery
    assert plan.query_rows <= MILLION.num_queries


@pytest.mark.parametrize("join", [LARGE, MILLION, Join(3, 5, 2, 4)])
def test_the_least_memory_is_told_and_is_enough(join: Join) -> None:
    with pytest.raises(SettingsError, match="at least") as told:
        plan_in_float32(join, 100)
    least = int(str(told.value).split("at least ")[1].split()[0].replace(",", ""))
    assert plan_in_float32(join, least).gallery_rows >= min(64, join.num_gallery)
    with pytest.raises(SettingsError, match=f"found {least - 1:,}"):
        plan_in_float32(join, least - 1)


@given(memory_bytes=st.integers(10**5, 10**10), k=st.integers(1, 100))
def test_a_plan_for_codes_fits_and_tells_the_least(memory_bytes: int, k: int) -> None:
    with pytest.raises(SettingsError, match="at least") as told:
        plan_binary(5000, 10**7, 8, k, 100)
    least = int(str(told.value).split("at least ")[1].split()[0].replace(",", ""))
    plan = plan_binary(5000, 10**7, 8, k, max(least, memory_bytes))
    assert plan.gallery_rows >= 64
    assert plan.query_rows >= 16
    counted = plan.query_strip * 65 * (8 * k + 4)
    held = 8 * plan.gallery_rows + 12 * k * plan.query_rows + counted
    assert held <= max(least, memory_bytes)
    with pytest.raises(SettingsError, match=f"found {least - 1:,}"):
        plan_binary(5000, 10**7, 8, k, least - 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is chosen where there is one")
def test_bf16_proposes_in_large_searches_where_hardware_multiplies_it() -> None:
    assert (plan_search(LARGE, 2**31, "auto").shortlists is not None) == has_bf16_units()
    assert (plan_search(LARGE, 2**31, "cpu").shortlists is not None) == has_bf16_units()
    assert plan_search(Join(100, 100, 384, 5), 2**31, "auto").shortlists is None


def test_bf16_does_not_propose_where_k_is_much_of_the_gallery() -> None:
    assert plan_search(Join(10_000, 10_000, 384, 200), 2**31, "cpu").shortlists is None


@pytest.mark.skipif(not has_bf16_units(), reason="this CPU does not multiply bf16")
def test_strips_share_a_quarter_of_the_memory() -> None:
    for memory_bytes in (2**28, 2**31):
        plan = plan_search(MILLION, memory_bytes, "cpu")
        assert plan.shortlists is not None
        strips = plan.shortlists.strip_rows * plan.gallery_rows * plan.shortlists.num_workers
        assert 2 * strips <= memory_bytes / 4
        assert 6 * plan.gallery_rows * MILLION.dim <= memory_bytes / 2


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="--device is auto, cpu, cuda or cuda:N: found 'tpu'"):
        neighbours_of_vectors(np.ones((5, 2)), 2, device="tpu")


def test_numpy_holds_no_more_than_the_memory() -> None:
    vectors = np.random.default_rng(0).standard_normal((8000, 100)).astype(np.float32)
    units = UnitVectors(vectors, np.arange(8000))
    memory_bytes = 2_000_000  # of vectors alone there are 3,200,000 bytes
    plan = plan_in_float32(Join(300, 8000, 100, 5), memory_bytes)
    search = DenseSearch(units, units, 5, plan)
    search(0, 1)  # imports
    tracemalloc.start()
    search(0, min(300, plan.query_rows))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert memory_bytes / 3 < peak < 0.8 * memory_bytes  # FAISS holds the rest
