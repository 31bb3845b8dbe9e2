"""What the names of lines stand for."""

import pytest

from embed.errors import SettingsError
from retrieval.evaluation.combinations import Combination, read_combination, without_blanks

KNOWN = {"a", "b", "vit-2", "odd+name", "2*b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", Combination(("a",))),
        ("odd+name", Combination(("odd+name",))),
        ("2*b", Combination(("2*b",))),
        ("a+b", Combination(("a", "b"), "sum")),
        ("a+vit-2", Combination(("a", "vit-2"), "sum")),
        ("0.8*a+.2*b", Combination(("a", "b"), "sum", {"a": 0.8, "b": 0.2})),
        ("3*a+b", Combination(("a", "b"), "sum", {"a": 3.0})),
        ("a-0.25*b", Combination(("a", "b"), "sum", {"b": -0.25})),
        ("a+-0.25*b", Combination(("a", "b"), "sum", {"b": -0.25})),
        ("-1*b+vit-2-1.5*a", Combination(("b", "vit-2", "a"), "sum", {"b": -1.0, "a": -1.5})),
        ("a|b", Combination(("a", "b"), "union")),
        ("a&vit-2", Combination(("a", "vit-2"), "intersection")),
        ("fra", Combination(("fra",))),
        ("fra+a", Combination(("fra", "a"), "sum")),
    ],
)
def test_names_are_read(text: str, expected: Combination) -> None:
    assert read_combination(text, KNOWN, "sum") == expected


def test_what_is_cut_by_a_mean() -> None:
    texts = ("a", "a+b", "a|b", "a&b")
    assert [read_combination(text, KNOWN).is_mean for text in texts] == [False, True, False, False]


def test_blanks_around_the_marks_do_not_count() -> None:
    assert without_blanks(" 0.8 * a + b".strip(), KNOWN) == "0.8*a+b"
    assert without_blanks("a - 0.25 * b", KNOWN) == "a-0.25*b"
    assert without_blanks("a | b", KNOWN) == "a|b"
    assert without_blanks("a - b", KNOWN) == "a - b"
    assert without_blanks("a + b", {"a + b"}) == "a + b"


def test_thresholds_of_their_own_have_no_weights() -> None:
    with pytest.raises(SettingsError, match=r"weights are those of a mean, .* 0.8\*a\|b cuts each"):
        read_combination("0.8*a|b", KNOWN)
