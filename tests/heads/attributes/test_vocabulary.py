"""Columns as numbers of classes, and back."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import SelectionError, SettingsError
from heads.attributes.vocabulary import Pair, Vocabulary

COLUMNS = {
    "kind": np.array(["shirt", "shirt", "shoe", "shoe", "", "shirt"], object),
    "colour": np.array(["red", "blue", "red", "red", "red", "blue"], object),
    "size": np.array([7.0, np.nan, np.nan, np.nan, 8.5, 8.5]),
}


def vocabulary() -> Vocabulary:
    return Vocabulary.of(COLUMNS, ("colour", "size"), "kind")


def test_pairs_have_the_classes_of_their_category_in_order() -> None:
    made = vocabulary()
    assert made.categories == ("shirt", "shoe")
    assert made.pairs == (
        Pair("shirt", "colour", ("blue", "red"), (2, 1)),
        Pair("shirt", "size", ("7", "8.5"), (1, 1)),
        Pair("shoe", "colour", ("red",), (2,)),
    )
    assert made.num_classes().tolist() == [[2, 2], [1, 0]]
    assert made.class_counts().tolist() == [[[2, 1], [1, 1]], [[2, 0], [0, 0]]]
    assert made.constant_pairs == made.pairs[2:]
    assert [name for _, name in made.classes_seen_once] == ["red", "7", "8.5"]
    assert made.columns == ("kind", "colour", "size")


def test_json_keeps_everything() -> None:
    made = vocabulary()
    assert Vocabulary.from_json(json.loads(json.dumps(asdict(made)))) == made


def test_unknown_and_missing_labels_are_told_apart() -> None:
    codes = vocabulary().encode(
        {
            "kind": np.array(["shoe", "shirt", "hat", "", "shirt", "hat"], object),
            "colour": np.array(["blue", "green", "red", "red", "green", "dummy"], object),
            "size": np.array(["", "7", None, None, "9", "7"], object),
        }
    )
    assert codes.categories.tolist() == [1, 0, -1, -1, 0, -1]
    assert codes.labels.tolist() == [[-1, -1], [-1, 0], [-1, -1], [-1, -1], [-1, -1], [-1, -1]]
    # Blue is a colour of shirts alone; equal strangers of one category share a number.
    assert codes.strangers[:, 0].tolist() == [0, 1, 2, 3, 1, -1]
    assert codes.strangers[:, 1].tolist() == [-1, -1, -1, -1, 0, 1]
    assert (codes.num_unknown, codes.num_missing) == (7, 4)
    assert codes.strange_categories == {"hat": 2, "": 1}
    assert len(codes) == 6


def test_training_rows_decode_to_what_they_were() -> None:
    made = vocabulary()
    codes = made.encode(COLUMNS)
    assert made.decode(codes.categories, codes.labels, missing="dummy").tolist() == [
        ["red", "7"],
        ["blue", "dummy"],
        ["red", "dummy"],
        ["red", "dummy"],
        ["dummy", "dummy"],
        ["blue", "8.5"],
    ]


def test_without_a_category_there_is_one_of_all_rows() -> None:
    made = Vocabulary.of(COLUMNS, ("colour",))
    assert made.categories == ("",) and made.category is None and made.columns == ("colour",)
    codes = made.encode(COLUMNS)
    assert codes.categories.tolist() == [0] * 6
    assert codes.labels[:, 0].tolist() == [1, 0, 1, 1, 1, 0]
    assert codes.strange_categories == {}


def test_integers_with_a_gap_are_the_same_classes() -> None:
    """A column of integers becomes one of floats when a value is missing."""
    made = Vocabulary.of({"size": np.array([7, 8, 7])}, ("size",))
    codes = made.encode({"size": np.array([8.0, np.nan])})
    assert codes.labels.tolist() == [[1], [-1]] and codes.num_unknown == 0


def test_an_attribute_of_one_class_in_all_is_refused() -> None:
    columns = {"colour": COLUMNS["colour"], "same": np.full(6, "x", object)}
    with pytest.raises(SelectionError, match=r"'same' has only 'x' in 6 training rows.*--target"):
        Vocabulary.of(columns, ("colour", "same"))


def test_an_attribute_without_labels_is_refused() -> None:
    with pytest.raises(SelectionError, match="'empty' has no label in 2 training rows"):
        Vocabulary.of({"empty": np.array([np.nan, np.nan])}, ("empty",))


def test_a_category_column_without_values_is_refused() -> None:
    columns = {"kind": np.array(["", ""], object), "colour": np.array(["a", "b"], object)}
    with pytest.raises(SelectionError, match="'kind' is empty in all of the 2 training rows"):
        Vocabulary.of(columns, ("colour",), "kind")


@pytest.mark.parametrize(
    ("attributes", "category"), [((), None), (("a", "a"), None), (("a",), "a"), ((), "a")]
)
def test_targets_differ_from_each_other_and_the_category(
    attributes: tuple[str, ...], category: str | None
) -> None:
    with pytest.raises(SettingsError, match="--target names one or more different columns"):
        Vocabulary.of({"a": np.array(["x", "y"])}, attributes, category)


TEXTS = st.sampled_from(["", "dummy", "x", "y", "z", "7"])


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=12))
def test_nothing_is_lost_whatever_the_columns(rows: list[tuple[str, str, str]]) -> None:
    """Every label of a training row is known, and decodes to itself."""
    kind, first, second = (np.array(values, object) for values in zip(*rows, strict=True))
    columns = {"kind": kind, "first": first, "second": second}
    try:
        made = Vocabulary.of(columns, ("first", "second"), "kind")
    except SelectionError:
        return
    codes = made.encode(columns)
    has_category = codes.categories >= 0
    assert not (codes.strangers[has_category] >= 0).any()
    assert sum(sum(pair.counts) for pair in made.pairs) == (codes.labels >= 0).sum()
    decoded = made.decode(codes.categories, codes.labels)
    for number, name in enumerate(("first", "second")):
        expected = np.where(columns[name] == "dummy", "", columns[name])
        assert (decoded[has_category, number] == expected[has_category]).all()
