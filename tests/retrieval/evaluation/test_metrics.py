from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Int

from embed.errors import SelectionError, SettingsError
from retrieval.evaluation.metrics import (
    average_precision_at_k,
    found_share_at_k,
    mean_reciprocal_rank,
    recall_at_k,
    row_f1,
    row_precision,
    row_recall,
)

TREC_EVAL = Path(__file__).parents[3].parent / "shared" / "data" / "golden" / "trec_eval"

# Three queries; the third has no true match and is in no mean.
RELEVANT = np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
NUM_RELEVANT = np.array([3, 1, 0])


def test_values_that_a_hand_can_check() -> None:
    # first query: (1/2 + 2/4) / 3; second: 1
    assert average_precision_at_k(RELEVANT, NUM_RELEVANT, 4) == pytest.approx((1 / 3 + 1) / 2)
    # only two of the three can be among the two nearest: (1/2) / 2
    assert average_precision_at_k(RELEVANT, NUM_RELEVANT, 2) == pytest.approx((1 / 4 + 1) / 2)
    assert mean_reciprocal_rank(RELEVANT, NUM_RELEVANT) == pytest.approx((1 / 2 + 1) / 2)
    assert recall_at_k(RELEVANT, NUM_RELEVANT, 1) == pytest.approx(1 / 2)
    assert recall_at_k(RELEVANT, NUM_RELEVANT, 2) == 1
    assert found_share_at_k(RELEVANT, NUM_RELEVANT, 4) == pytest.approx((2 / 3 + 1) / 2)


def test_row_metrics_that_a_hand_can_check() -> None:
    # An item left alone in a group of one, one of two found, and two of four found with one wrong.
    common, predicted, true = np.array([1, 1, 2]), np.array([1, 1, 3]), np.array([1, 2, 4])
    np.testing.assert_allclose(row_f1(common, predicted, true), [1, 2 / 3, 4 / 7])
    np.testing.assert_allclose(row_precision(common, predicted), [1, 1, 2 / 3])
    np.testing.assert_allclose(row_recall(common, true), [1, 1 / 2, 1 / 2])


def test_no_neighbours_are_no_match() -> None:
    nothing, one = np.zeros((2, 0), bool), np.array([1, 1])
    assert average_precision_at_k(nothing, one, 5) == 0
    assert mean_reciprocal_rank(nothing, one) == 0
    assert recall_at_k(nothing, one, 5) == 0


def test_mistakes_are_told() -> None:
    with pytest.raises(SelectionError, match="no row has a true match"):
        mean_reciprocal_rank(RELEVANT[2:], NUM_RELEVANT[2:])
    with pytest.raises(SettingsError, match="at least 1: found 0"):
        recall_at_k(RELEVANT, NUM_RELEVANT, 0)


@pytest.fixture
def ranking() -> tuple[Bool[np.ndarray, "q m"], Int[np.ndarray, " q"]]:
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


def test_ranking_metrics_are_those_of_torchmetrics(
    ranking: tuple[Bool[np.ndarray, "q m"], Int[np.ndarray, " q"]],
) -> None:
    # Imported here because it takes ten seconds, which the other tests need not wait for.
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP, RetrievalMRR, RetrievalRecall

    relevant, _ = ranking
    mean_ap = reference(RetrievalMAP(empty_target_action="skip"), relevant)
    assert average_precision_at_k(*ranking, 30) == pytest.approx(mean_ap)
    assert mean_reciprocal_rank(*ranking) == pytest.approx(
        reference(RetrievalMRR(empty_target_action="skip"), relevant)
    )
    for k in (1, 5, 10):
        hit_rate = reference(RetrievalHitRate(empty_target_action="skip", top_k=k), relevant)
        assert recall_at_k(*ranking, k) == pytest.approx(hit_rate)
        share = reference(RetrievalRecall(empty_target_action="skip", top_k=k), relevant)
        assert found_share_at_k(*ranking, k) == pytest.approx(share)


@pytest.mark.skipif(not TREC_EVAL.is_dir(), reason=f"no trec_eval output at {TREC_EVAL}")
def test_ranking_metrics_are_those_that_trec_eval_printed() -> None:
    relevant, num_relevant = read_trec_run()
    printed = {
        fields[0]: float(fields[2])
        for line in (TREC_EVAL / "out.test.a").read_text().splitlines()
        if len(fields := line.split()) == 3 and fields[0] != "runid"
    }
    all_k = max(relevant.shape[1], int(num_relevant.max()))
    found = {
        "map": average_precision_at_k(relevant, num_relevant, all_k),
        "recip_rank": mean_reciprocal_rank(relevant, num_relevant),
    }
    for k in (1, 5, 10):
        found[f"success_{k}"] = recall_at_k(relevant, num_relevant, k)
    for k in (5, 10, 100, 500):
        found[f"recall_{k}"] = found_share_at_k(relevant, num_relevant, k)
    assert found == {key: pytest.approx(printed[key], abs=5.1e-5) for key in found}


def read_trec_run() -> tuple[Bool[np.ndarray, "q m"], Int[np.ndarray, " q"]]:
    """trec_eval's example run against its judgements: by score, then document, both descending."""
    judged: dict[str, set[str]] = {}
    for line in (TREC_EVAL / "qrels.test").read_text().splitlines():
        query, _, document, grade = line.split()
        judged.setdefault(query, set()).update({document} if int(grade) > 0 else ())
    runs: dict[str, list[tuple[np.float32, str]]] = {}
    for line in (TREC_EVAL / "results.test").read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        runs.setdefault(query, []).append((np.float32(score), document))
    ranked = {query: sorted(found, reverse=True) for query, found in runs.items()}
    relevant = [[document in judged[query] for _, document in ranked[query]] for query in ranked]
    assert {len(line) for line in relevant} == {500}
    return np.array(relevant), np.array([len(judged[query]) for query in ranked])
