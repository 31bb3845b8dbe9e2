"""Numbers beside what they count."""

import pytest

from embed.wording import counted


@pytest.mark.parametrize(
    ("number", "noun", "verb", "expected"),
    [
        (1, "row", "", "1 row"),
        (0, "row", "", "0 rows"),
        (1000, "class", "", "1,000 classes"),
        (2, "epoch", "", "2 epochs"),
        (3, "query", "", "3 queries"),
        (1, "item", "have", "1 item has"),
        (2, "item", "have", "2 items have"),
        (1, "item", "are", "1 item is"),
        (1, "image", "were", "1 image was"),
        (1, "item", "stay", "1 item stays"),
    ],
)
def test_nouns_and_verbs_agree_with_the_number(
    number: int, noun: str, verb: str, expected: str
) -> None:
    assert counted(number, noun, verb) == expected
