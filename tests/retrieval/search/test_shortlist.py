"""Shortlists in bf16 end with the same bits as the exact way, whatever the vectors are like."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, Float16, Float32

from retrieval.search.dense import DenseSearch
from retrieval.search.exact import best_in_gallery
from retrieval.search.plans import Plan, Shortlists
from retrieval.search.ranking import Neighbours
from retrieval.search.shortlist import ROWS_FOR_EACH_NEIGHBOUR, TILE_ROWS, RoundedGallery
from retrieval.search.vectors import UnitVectors

CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
NUM_ROWS, DIM = 2300, 24  # a whole tile and a part of one


def ordinary(generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
    return np.asarray(generator.standard_normal((NUM_ROWS, DIM)))


def half_precision(generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
    vectors: Float16[np.ndarray, "n d"] = ordinary(generator).astype(np.float16)
    return vectors


def duplicates(generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Copies of 60 vectors, far more of each than k."""
    return ordinary(generator)[generator.integers(0, 60, NUM_ROWS)]


def near_ties(generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Copies that differ in the last bits of float32: bf16 can't tell them apart."""
    noise = generator.integers(-3, 4, (NUM_ROWS, DIM)).astype(np.float64)
    return duplicates(generator) * (1 + 1e-7 * noise)


def crowded(generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Scores around 0.9, as of encoders whose vectors crowd around one direction."""
    return ordinary(generator) + 3


def all_but_equal(generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Every product rounds to the same number, so that no shortlist can be proved."""
    return 1 + 1e-6 * ordinary(generator)


def zeros(generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
    return ordinary(generator) * (generator.random((NUM_ROWS, 1)) < 0.5)


def opposite(generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Queries whose scores are all negative, and a gallery far from its mean."""
    vectors = crowded(generator)
    vectors[:40] *= -1
    return vectors


KINDS = [ordinary, half_precision, duplicates, near_ties, crowded, all_but_equal, zeros, opposite]


def units_of(vectors: Float[np.ndarray, "n d"]) -> UnitVectors:
    return UnitVectors(vectors, np.arange(len(vectors)))


def searched(vectors: Float[np.ndarray, "n d"], k: int, plan: Plan, num_queries: int) -> Neighbours:
    units = units_of(vectors)
    return DenseSearch(units, units, k, plan)(0, num_queries)


def assert_same(one: Neighbours, other: Neighbours) -> None:
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_every_path_ends_with_the_same_bits(kind) -> None:  # type: ignore[no-untyped-def]
    vectors = kind(np.random.default_rng(0))
    k, num_queries = 9, 130
    expected = searched(vectors, k, Plan(NUM_ROWS, num_queries, 2**20), num_queries)
    in_blocks = searched(vectors, k, Plan(700, num_queries, 5000), num_queries)
    assert_same(in_blocks, expected)
    for device in DEVICES:
        for gallery_rows, strip_rows, num_workers in ((NUM_ROWS, 130, 1), (1150, 40, 3)):
            shortlists = Shortlists(device, strip_rows, num_workers)
            plan = Plan(gallery_rows, num_queries, 2**16, shortlists)
            assert_same(searched(vectors, k, plan, num_queries), expected)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(0, 1e-2),
    num_copies=st.integers(1, 400),
    k=st.integers(1, 17),
)
def test_shortlists_lose_nothing_among_near_ties(
    seed: int, scale: float, num_copies: int, k: int
) -> None:
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((NUM_ROWS // num_copies + 1, DIM))
    noise = scale * generator.standard_normal((NUM_ROWS, DIM))
    vectors = np.repeat(centres, num_copies, axis=0)[:NUM_ROWS] + noise
    expected = searched(vectors, k, Plan(NUM_ROWS, 50, 2**20), 50)
    plan = Plan(NUM_ROWS, 50, 2**20, Shortlists(CPU, 50, 1))
    assert_same(searched(vectors, k, plan, 50), expected)


def listed(
    queries: Float32[np.ndarray, "q d"], gallery: Float32[np.ndarray, "g d"], k: int
) -> tuple[list[set[int]], list[bool]]:
    rounded = RoundedGallery(gallery, CPU)
    floors = np.full(len(queries), -np.inf, np.float32)
    found = rounded.shortlist(queries, k, floors, rounded.scratch(len(queries)))
    rows = [set(found.rows[found.queries == query].tolist()) for query in range(len(queries))]
    return rows, found.is_unproved.tolist()


def test_a_shortlist_is_short_and_holds_the_best() -> None:
    unit = units_of(ordinary(np.random.default_rng(0))).between(0, NUM_ROWS)
    lists, is_unproved = listed(unit[:200], unit, 9)
    best = best_in_gallery(unit[:200], unit, 9, num_cells=2**20)
    assert not any(is_unproved)
    assert all(set(rows) <= one for rows, one in zip(best.rows.tolist(), lists, strict=True))
    assert np.mean([len(rows) for rows in lists]) < 2 * 9


@pytest.mark.parametrize(("kind", "is_given_up"), [(crowded, False), (all_but_equal, True)])
def test_a_crowd_is_told_apart_by_its_mean_and_a_tighter_one_is_given_up(  # type: ignore[no-untyped-def]
    kind, is_given_up: bool
) -> None:
    unit = units_of(kind(np.random.default_rng(0))).between(0, NUM_ROWS)
    _, is_unproved = listed(unit[:20], unit, 9)
    assert all(is_unproved) == is_given_up


def test_floors_leave_out_what_is_worse_than_what_was_found_elsewhere() -> None:
    unit = units_of(ordinary(np.random.default_rng(0))).between(0, NUM_ROWS)
    rounded = RoundedGallery(unit, CPU)
    best = best_in_gallery(unit[:50], unit, 9, num_cells=2**20)
    found = rounded.shortlist(unit[:50], 9, best.scores[:, 2].copy(), rounded.scratch(50))
    counts = np.bincount(found.queries, minlength=50)
    assert (counts >= 3).all()
    assert counts.mean() < 5


def test_the_margin_is_needed() -> None:
    """Without one, a product in bf16 would leave out some of the best of near ties."""
    unit = units_of(near_ties(np.random.default_rng(0))).between(0, NUM_ROWS)
    best = best_in_gallery(unit[:50], unit, 9, num_cells=2**20)
    bf16 = torch.from_numpy(unit).bfloat16()
    naive = (bf16[:50] @ bf16.T).float().topk(9, dim=1).indices.numpy()
    assert any(set(a) != set(b) for a, b in zip(naive.tolist(), best.rows.tolist(), strict=True))


def test_sizes_of_groups_fit_the_tile() -> None:
    assert TILE_ROWS % ROWS_FOR_EACH_NEIGHBOUR == 0


def test_threads_elsewhere_keep_their_cores() -> None:
    vectors = ordinary(np.random.default_rng(0))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        searched(vectors, 9, Plan(NUM_ROWS, 100, 2**16, Shortlists(CPU, 30, 3)), 100)
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)
