"""What a line of a comparison is called: a space, or several of them and how they are combined."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from embed.errors import SettingsError
from retrieval.evaluation.contenders import MARKS

COMBINED_BY = {MARKS[combine]: combine for combine in ("concat", "union", "intersection")}
"""How spaces are combined that stand on one line, by the mark between them."""

NUMBER = r"(?:\d+\.?\d*|\.\d+)"
TERM = re.compile(rf"(?:(-?{NUMBER})\*)?(.*)", re.DOTALL)
BEFORE_TERMS = re.compile(rf"\+|(?<=[^+])(?=-{NUMBER}\*)")
"""A plus sign, or what is before a weight below 0: names of spaces may hold a hyphen."""


@dataclass(frozen=True)
class Combination:
    """The spaces that a line is of, and how they are combined.

    `weights` are by space, empty where none is given.
    """

    spaces: tuple[str, ...]
    combine: str = "concat"
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_mean(self) -> bool:
        """True where several spaces are cut by the mean of their scores."""
        return len(self.spaces) > 1 and MARKS[self.combine] == "+"


def without_blanks(text: str, known: Collection[str]) -> str:
    """`a + 0.5 * b` as `a+0.5*b`, unless a space has just that name."""
    if text in known:
        return text
    tight = re.sub(r"\s*([*+|&])\s*", r"\1", text)
    return re.sub(rf"\s*-\s*(?={NUMBER}\*)", "-", tight)


def read_combination(text: str, known: Collection[str], plus: str = "concat") -> Combination:
    """The spaces that a name on a line stands for: its own, or those of a combination.

    Where any part is a space, the others were meant to be spaces as well. `plus` is how `a+b` is
    combined.

    Raises:
        SettingsError: weights of a union or an intersection.
    """
    if text in known:
        return Combination((text,))
    for mark, combine in COMBINED_BY.items():
        parts = BEFORE_TERMS.split(text) if mark == "+" else text.split(mark)
        terms = [_term(part, known) for part in parts]
        if not any(space in known for space, _ in terms):
            continue
        weights = {space: weight for space, weight in terms if weight is not None}
        if weights and mark != "+":
            raise SettingsError(
                f"weights are those of a mean, as in 0.8*a+0.2*b: {text} cuts each space at a "
                f"threshold of its own; leave them out"
            )
        return Combination(
            tuple(space for space, _ in terms), plus if mark == "+" else combine, weights
        )
    return Combination((text,))


def _term(text: str, known: Collection[str]) -> tuple[str, float | None]:
    """A space, and its weight where one stands before it."""
    found = None if text in known else TERM.fullmatch(text)
    if found is None or found[1] is None:
        return text, None
    return found[2], float(found[1])
