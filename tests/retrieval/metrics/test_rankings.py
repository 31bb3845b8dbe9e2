"""Ranking metrics: values by hand, plain loops, three other libraries' figures."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Bool, Float, Int

from embed.errors import SettingsError
from retrieval.metrics.rankings import (
    average_precision_at_k,
    average_precision_at_r,
    found_share_at_k,
    mean_over_queries,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank_at_k,
    trec_average_precision_at_k,
    truncated_precision_at_k,
)
from retrieval.search.neighbours import neighbours_of_vectors

Ranking = tuple[Bool[np.ndarray, "q m"], Int[np.ndarray, " q"]]

# Three queries; the third has no true match.
RELEVANT = np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
NUM_RELEVANT = np.array([3, 1, 0])
BY_HAND: list[tuple[object, list[float]]] = [
    (average_precision_at_k(RELEVANT, NUM_RELEVANT, 4), [(1 / 2 + 2 / 4) / 3, 1]),
    (average_precision_at_k(RELEVANT, NUM_RELEVANT, 2), [(1 / 2) / 2, 1]),
    (trec_average_precision_at_k(RELEVANT, NUM_RELEVANT, 2), [(1 / 2) / 3, 1]),
    (reciprocal_rank_at_k(RELEVANT, NUM_RELEVANT, 4), [1 / 2, 1]),
    (reciprocal_rank_at_k(RELEVANT, NUM_RELEVANT, 1), [0, 1]),
    (recall_at_k(RELEVANT, NUM_RELEVANT, 1), [0, 1]),
    (recall_at_k(RELEVANT, NUM_RELEVANT, 2), [1, 1]),
    (found_share_at_k(RELEVANT, NUM_RELEVANT, 4), [2 / 3, 1]),
    (precision_at_k(RELEVANT, NUM_RELEVANT, 2), [1 / 2, 1 / 2]),
    (precision_at_k(RELEVANT, NUM_RELEVANT, 8), [2 / 8, 1 / 8]),
    (truncated_precision_at_k(RELEVANT, NUM_RELEVANT, 5), [1 / 3, 1]),
    (truncated_precision_at_k(RELEVANT, NUM_RELEVANT, 2), [1 / 2, 1]),
    (r_precision(RELEVANT, NUM_RELEVANT), [1 / 3, 1]),
    (average_precision_at_r(RELEVANT, NUM_RELEVANT), [(1 / 2) / 3, 1]),
]


@pytest.mark.parametrize(("found", "expected"), BY_HAND)
def test_values_that_a_hand_can_check(
    found: Float[np.ndarray, " q"], expected: list[float]
) -> None:
    np.testing.assert_allclose(found, [*expected, np.nan])
    assert mean_over_queries(found) == pytest.approx(sum(expected) / 2)


def test_no_neighbours_are_no_match() -> None:
    nothing, one = np.zeros((2, 0), bool), np.array([1, 1])
    for metric in (average_precision_at_k, reciprocal_rank_at_k, recall_at_k, precision_at_k):
        np.testing.assert_array_equal(metric(nothing, one, 5), [0, 0])
    for at_r in (r_precision, average_precision_at_r):
        np.testing.assert_array_equal(at_r(nothing, one), [0, 0])


def test_queries_without_a_true_match_have_no_mean() -> None:
    assert mean_over_queries(r_precision(RELEVANT[2:], NUM_RELEVANT[2:])) is None


def test_mistakes_are_told() -> None:
    with pytest.raises(SettingsError, match="at least 1: found 0"):
        recall_at_k(RELEVANT, NUM_RELEVANT, 0)


# Plain loops over one query: `hits` are its ranks of true matches from 1, `total` is R.


def loop_average_precision(hits: list[int], total: int, k: int) -> float:
    return sum((place + 1) / rank for place, rank in enumerate(hits) if rank <= k) / min(total, k)


LOOPS: dict[Callable[..., object], Callable[[list[int], int, int], float]] = {
    average_precision_at_k: loop_average_precision,
    trec_average_precision_at_k: lambda hits, total, k: (
        loop_average_precision(hits, total, k) * min(total, k) / total
    ),
    reciprocal_rank_at_k: lambda hits, total, k: next((1 / h for h in hits if h <= k), 0.0),
    recall_at_k: lambda hits, total, k: float(any(h <= k for h in hits)),
    found_share_at_k: lambda hits, total, k: sum(h <= k for h in hits) / total,
    precision_at_k: lambda hits, total, k: sum(h <= k for h in hits) / k,
    truncated_precision_at_k: lambda hits, total, k: (
        sum(h <= min(total, k) for h in hits) / min(total, k)
    ),
}


@settings(max_examples=40)
@given(st.data())
def test_each_query_is_what_a_plain_loop_says_of_scores_with_ties(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 9))
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    signs = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=4 * size, max_size=4 * size))
    vectors = np.array(signs, np.float32).reshape(size, 4)
    vectors[:, :3] *= vectors[:, 3:]  # few distinct vectors, some of zeros: ties everywhere
    rows = neighbours_of_vectors(vectors, size).rows
    relevant = labels[rows[:, 1:]] == labels[:, None]
    num_relevant = np.bincount(labels)[labels] - 1
    k = data.draw(st.integers(1, size))
    ranks = [(np.flatnonzero(line) + 1).tolist() for line in relevant]
    for metric, loop in LOOPS.items():
        expected = [
            loop(hits, total, k) if total else np.nan
            for hits, total in zip(ranks, num_relevant.tolist(), strict=True)
        ]
        np.testing.assert_allclose(metric(relevant, num_relevant, k), expected)  # type: ignore[call-overload]
    at_r = [
        sum(h <= t for h in hits) / t if t else np.nan
        for hits, t in zip(ranks, num_relevant, strict=True)
    ]
    np.testing.assert_allclose(r_precision(relevant, num_relevant), at_r)


@given(st.integers(0, 2**32 - 1))
def test_metrics_keep_their_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    relevant = generator.random((5, 8)) < 0.4
    total = relevant.sum(axis=1) + generator.integers(0, 3, 5)
    known = total > 0
    relevant, total = relevant[known], total[known]
    for k in range(1, 8):
        assert (recall_at_k(relevant, total, k) <= recall_at_k(relevant, total, k + 1)).all()
        at_k = average_precision_at_k(relevant, total, k)
        assert (trec_average_precision_at_k(relevant, total, k) <= at_k).all()
        assert ((at_k >= 0) & (at_k <= 1)).all()
    assert (average_precision_at_r(relevant, total) <= r_precision(relevant, total)).all()


@pytest.fixture
def ranking() -> Ranking:
    """Full rankings of 30 others, so that torchmetrics, which only knows those, can follow."""
    generator = np.random.default_rng(0)
    relevant = generator.random((40, 30)) < generator.uniform(0, 0.3, (40, 1))
    relevant[3] = False
    return relevant, relevant.sum(axis=1)


def reference(metric: torch.nn.Module, relevant: Bool[np.ndarray, "q m"]) -> float:
    num_queries, num_others = relevant.shape
    scores = torch.arange(num_others, 0, -1).float().repeat(num_queries)
    queries = torch.arange(num_queries).repeat_interleave(num_others)
    return float(metric(scores, torch.from_numpy(relevant.ravel()), indexes=queries))


def test_they_are_those_of_torchmetrics(ranking: Ranking) -> None:
    # Imported here because it takes ten seconds, which the other tests need not wait for.
    from torchmetrics import retrieval

    relevant, _ = ranking
    skip = {"empty_target_action": "skip"}
    pairs = [
        (average_precision_at_k(*ranking, 30), retrieval.RetrievalMAP(**skip)),
        (trec_average_precision_at_k(*ranking, 30), retrieval.RetrievalMAP(**skip)),
        (reciprocal_rank_at_k(*ranking, 30), retrieval.RetrievalMRR(**skip)),
        (reciprocal_rank_at_k(*ranking, 3), retrieval.RetrievalMRR(top_k=3, **skip)),
        (r_precision(*ranking), retrieval.RetrievalRPrecision(**skip)),
    ]
    for k in (1, 5, 10):
        pairs += [
            (recall_at_k(*ranking, k), retrieval.RetrievalHitRate(top_k=k, **skip)),
            (found_share_at_k(*ranking, k), retrieval.RetrievalRecall(top_k=k, **skip)),
            (precision_at_k(*ranking, k), retrieval.RetrievalPrecision(top_k=k, **skip)),
        ]
    for found, metric in pairs:
        expected = reference(metric, relevant)
        assert mean_over_queries(found) == pytest.approx(expected), metric


def nearest_others(
    queries: torch.Tensor, k: int, _: torch.Tensor, is_self_join: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    assert is_self_join
    best = (queries @ queries.T).fill_diagonal_(-torch.inf).topk(k)
    return best.values, best.indices


def test_they_are_those_of_pytorch_metric_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    # It would replace methods of faiss, for every test that follows.
    stub = types.ModuleType("faiss.contrib.torch_utils")
    monkeypatch.setitem(sys.modules, "faiss.contrib.torch_utils", stub)
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    generator = np.random.default_rng(1)
    labels = np.repeat(np.arange(20), 5)[: 20 * 5 - 4]  # one item is alone
    centres = generator.normal(size=(20, 8))
    vectors = (centres[labels] + generator.normal(size=(len(labels), 8))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = neighbours_of_vectors(vectors, len(labels)).rows[:, 1:]
    relevant = labels[rows] == labels[:, None]
    num_relevant = np.bincount(labels)[labels] - 1
    k = len(labels) - 1
    found = {
        "mean_average_precision_at_r": average_precision_at_r(relevant, num_relevant),
        "r_precision": r_precision(relevant, num_relevant),
        "precision_at_1": precision_at_k(relevant, num_relevant, 1),
        "mean_average_precision": trec_average_precision_at_k(relevant, num_relevant, k),
        "mean_reciprocal_rank": reciprocal_rank_at_k(relevant, num_relevant, k),
    }
    calculator = AccuracyCalculator(
        include=tuple(found), k=k, device=torch.device("cpu"), knn_func=nearest_others
    )
    expected = calculator.get_accuracy(vectors, labels)
    assert {name: mean_over_queries(values) for name, values in found.items()} == {
        name: pytest.approx(value) for name, value in expected.items()
    }


def test_they_are_those_that_trec_eval_printed(shared: Path) -> None:
    folder = shared / "data" / "golden" / "trec_eval"
    queries, relevant, num_relevant = read_trec_run(folder)
    k = relevant.shape[1]
    found = {
        "map": trec_average_precision_at_k(relevant, num_relevant, k),
        "Rprec": r_precision(relevant, num_relevant),
        "recip_rank": reciprocal_rank_at_k(relevant, num_relevant, k),
    }
    for depth in (1, 5, 10):
        found[f"success_{depth}"] = recall_at_k(relevant, num_relevant, depth)
    for depth in (5, 10, 100, 500, 1000):
        found[f"map_cut_{depth}"] = trec_average_precision_at_k(relevant, num_relevant, depth)
        found[f"recall_{depth}"] = found_share_at_k(relevant, num_relevant, depth)
        found[f"P_{depth}"] = precision_at_k(relevant, num_relevant, depth)
    printed = read_printed(folder / "out.test.aq")
    for name, values in found.items():
        expected = [printed[name, query] for query in queries]
        np.testing.assert_allclose(values, expected, atol=5.1e-5, err_msg=name)
        assert mean_over_queries(values) == pytest.approx(printed[name, "all"], abs=5.1e-5)


def read_printed(path: Path) -> dict[tuple[str, str], float]:
    """What trec_eval printed for each metric and query, and for all of them."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return {
        (line[0], line[1]): float(line[2])
        for line in lines
        if len(line) == 3 and line[0] not in ("runid", "relstring")
    }


def read_trec_run(
    folder: Path,
) -> tuple[list[str], Bool[np.ndarray, "q m"], Int[np.ndarray, " q"]]:
    """trec_eval's example run against its judgements: by score, then document, both descending."""
    judged: dict[str, set[str]] = {}
    for line in (folder / "qrels.test").read_text().splitlines():
        query, _, document, grade = line.split()
        judged.setdefault(query, set()).update({document} if int(grade) > 0 else ())
    runs: dict[str, list[tuple[np.float32, str]]] = {}
    for line in (folder / "results.test").read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        runs.setdefault(query, []).append((np.float32(score), document))
    ranked = {query: sorted(found, reverse=True) for query, found in runs.items()}
    relevant = [[document in judged[query] for _, document in ranked[query]] for query in ranked]
    assert {len(line) for line in relevant} == {500}
    return list(ranked), np.array(relevant), np.array([len(judged[query]) for query in ranked])
