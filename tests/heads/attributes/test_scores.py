"""Scores against scikit-learn's, against a hand, and against a plain bootstrap."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from embed.errors import SelectionError
from heads.attributes.scores import AttributeScores, score_attributes, score_intervals
from heads.attributes.vocabulary import Codes, Columns, Vocabulary
from retrieval.metrics import attribute_scores

NUM_DRAWS = 200
TRAIN = {
    "kind": np.array(["shirt"] * 5 + ["shoe"] * 4, object),
    "colour": np.array(["a", "b", "c", "a", "b", "a", "b", "a", "b"], object),
    "cut": np.array(["x", "y", "x", "y", "x", "", "", "", ""], object),
}


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary.of(TRAIN, ("colour", "cut"), "kind")


def drawn(num_rows: int, seed: int = 0) -> tuple[Columns, Codes, np.ndarray]:
    """Rows with known, unknown and missing labels and categories, and predictions of them."""
    generator = np.random.default_rng(seed)
    columns = {
        "kind": generator.choice(np.array(["shirt", "shoe", "hat"], object), num_rows),
        "colour": generator.choice(np.array(["a", "b", "c", "d", "e", ""], object), num_rows),
        "cut": generator.choice(np.array(["x", "y", ""], object), num_rows),
    }
    made = vocabulary()
    codes = made.encode(columns)
    sizes = made.num_classes()[codes.categories] * (codes.categories >= 0)[:, None]
    predicted = np.where(sizes > 0, (generator.random(sizes.shape) * sizes).astype(int), -1)
    # Right more often than by chance.
    is_taken = (codes.labels >= 0) & (generator.random(sizes.shape) < 0.4)
    return columns, codes, np.where(is_taken, codes.labels, predicted)


def pairs_by_scikit_learn(
    columns: Columns, codes: Codes, predicted: np.ndarray
) -> Iterator[tuple[str, str, float, float]]:
    texts = vocabulary().decode(codes.categories, predicted, missing="none")
    for kind in ("shirt", "shoe"):
        for number, name in enumerate(("colour", "cut")):
            rows = (columns["kind"] == kind) & (columns[name] != "")
            if rows.any():
                truth, guess = columns[name][rows].astype(str), texts[rows, number].astype(str)
                micro = f1_score(truth, guess, average="micro")
                macro = f1_score(truth, guess, average="macro", zero_division=0)
                yield kind, name, float(micro), float(macro)


def harmonic(micro: float, macro: float) -> float:
    return 2 * micro * macro / (micro + macro) if micro + macro else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_scikit_learn(seed: int) -> None:
    columns, codes, predicted = drawn(60, seed)
    scores = score_attributes(vocabulary(), codes, predicted)
    expected = list(pairs_by_scikit_learn(columns, codes, predicted))
    by_kind: dict[str, list[tuple[float, float, float]]] = {}
    for pair, (kind, name, micro, macro) in zip(scores.pairs, expected, strict=True):
        assert (pair.category, pair.attribute) == (kind, name)
        assert pair.accuracy == pytest.approx(micro)
        # A pair without any training row predicts nothing, which scikit-learn counts as a class.
        if pair.num_classes:
            assert pair.macro_f1 == pytest.approx(macro)
            assert pair.score == pytest.approx(harmonic(micro, macro))
        else:
            assert (pair.macro_f1, pair.score) == (0, 0)
        by_kind.setdefault(kind, []).append((harmonic(micro, macro), micro, macro))
    means = np.mean([np.mean(figures, axis=0) for figures in by_kind.values()], axis=0)
    found = (scores.attribute_score, scores.micro_f1, scores.macro_f1)
    assert found == pytest.approx(tuple(means))


def test_scores_by_hand() -> None:
    """Shirts: two of three colours right; one cut of two, and the other never seen in training."""
    codes = vocabulary().encode(
        {
            "kind": np.array(["shirt", "shirt", "shirt", "shoe", "hat"], object),
            "colour": np.array(["a", "a", "b", "a", "a"], object),
            "cut": np.array(["x", "z", "", "", ""], object),
        }
    )
    predicted = np.array([[0, 0], [1, 0], [1, 0], [0, -1], [-1, -1]])
    scores = score_attributes(vocabulary(), codes, predicted)
    colour, cut, shoe = scores.pairs
    assert (colour.accuracy, colour.macro_f1) == pytest.approx((2 / 3, 2 / 3))
    # x: one of its two predictions is right, so F1 = 2/3; z: 0.
    assert (cut.accuracy, cut.macro_f1) == pytest.approx((1 / 2, 1 / 3))
    assert (cut.num_rows, cut.num_unknown, cut.num_classes) == (2, 1, 2)
    assert cut.score == pytest.approx(0.4)
    assert shoe.score == 1 and shoe.attribute == "colour"
    assert scores.attribute_score == pytest.approx(((2 / 3 + 0.4) / 2 + 1) / 2)
    # The hat's label counts in the accuracy, as wrong: 4 of 7.
    assert scores.accuracy == pytest.approx(4 / 7)
    assert (scores.num_labels, scores.num_unknown) == (7, 2)
    assert json.loads(json.dumps(asdict(scores)))["pairs"][1]["score"] == pytest.approx(0.4)


def test_a_pair_without_labels_is_listed_and_left_out_of_the_means() -> None:
    columns = {name: values[5:] for name, values in TRAIN.items()}  # shoes
    codes = vocabulary().encode(columns)
    scores = score_attributes(vocabulary(), codes, codes.labels)
    assert [(p.category, p.attribute, p.num_rows, p.score) for p in scores.pairs] == [
        ("shirt", "colour", 0, None),
        ("shirt", "cut", 0, None),
        ("shoe", "colour", 4, 1.0),
    ]
    assert (scores.attribute_score, scores.accuracy) == (1, 1)


def test_rows_without_any_label_are_refused() -> None:
    codes = vocabulary().encode({name: np.array([""], object) for name in TRAIN})
    with pytest.raises(SelectionError, match="has a label in a category that training saw"):
        score_attributes(vocabulary(), codes, codes.labels)


def test_intervals_are_those_of_a_plain_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws of groups, each scored anew from its rows; fewer than there are, for time."""
    monkeypatch.setattr(attribute_scores, "NUM_DRAWS", NUM_DRAWS)
    columns, codes, predicted = drawn(60)
    groups = np.random.default_rng(1).integers(0, 15, 60) * 7
    found = score_intervals(vocabulary(), codes, predicted, groups, np.random.default_rng(2))
    distinct = np.unique(groups)
    members = [np.flatnonzero(groups == group) for group in distinct]
    figures = []
    for draw in np.random.default_rng(2).integers(0, len(distinct), (NUM_DRAWS, len(distinct))):
        rows = np.concatenate([members[group] for group in draw])
        scores = score_rows(columns, predicted, rows)
        figures.append((scores.attribute_score, scores.accuracy))
    expected = np.percentile(np.array(figures), [2.5, 97.5], axis=0)
    np.testing.assert_allclose(found.attribute_score, expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.accuracy, expected[:, 1], rtol=1e-9)
    assert found.accuracy[0] < score_attributes(vocabulary(), codes, predicted).accuracy


def score_rows(columns: Columns, predicted: np.ndarray, rows: np.ndarray) -> AttributeScores:
    codes = vocabulary().encode({name: values[rows] for name, values in columns.items()})
    return score_attributes(vocabulary(), codes, predicted[rows])


def test_intervals_take_groups_without_labels() -> None:
    columns, _, predicted = drawn(40)
    columns = dict(columns)
    for name in ("colour", "cut"):
        columns[name] = np.where(np.arange(40) >= 30, "", columns[name])
    codes = vocabulary().encode(columns)
    found = score_intervals(vocabulary(), codes, predicted, np.arange(40), np.random.default_rng(0))
    accuracy = score_attributes(vocabulary(), codes, predicted).accuracy
    assert found.accuracy[0] < accuracy < found.accuracy[1]


@given(st.integers(1, 40), st.integers(0, 1000))
def test_scores_lie_from_0_to_1_and_are_1_for_the_truth(num_rows: int, seed: int) -> None:
    _, codes, predicted = drawn(num_rows, seed)
    try:
        scores = score_attributes(vocabulary(), codes, predicted)
    except SelectionError:
        return
    figures = (scores.attribute_score, scores.accuracy, scores.micro_f1, scores.macro_f1)
    assert all(0 <= figure <= 1 for figure in figures)
    perfect = score_attributes(vocabulary(), codes, codes.labels)
    assert (perfect.attribute_score == 1) == (codes.strangers[codes.categories >= 0] < 0).all()
