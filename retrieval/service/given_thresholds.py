"""Thresholds as clients write them: a score, or SPACE=SCORE where each space has one of its own."""

from collections.abc import Sequence

from embed.errors import SettingsError
from retrieval.thresholds.match_rules import MatchRule

COMBINED = ""
"""What the one threshold is called that counts for all spaces together."""

GIVE_ONE = "give threshold=SCORE, or "
"""What clients can do where nothing says when two items match."""

LOWEST, HIGHEST = -2.0, 2.0
"""What a client may give; weights below 0 lead beyond −1 and 1."""


def given_thresholds(rule: MatchRule, given: Sequence[str]) -> dict[str, float]:
    """The thresholds that are given, by the space that they are of, or by `COMBINED`.

    Raises:
        SettingsError: a text that is neither, or the rule has no such threshold.
    """
    names = _names(rule)
    found: dict[str, float] = {}
    for text in given:
        name, equals, score = text.rpartition("=")
        if name not in names or (equals and name == COMBINED):
            of_spaces = f"SPACE=SCORE, of {', '.join(names)}"
            wanted = "a SCORE of all" if names == [COMBINED] else of_spaces
            raise SettingsError(f"a threshold is given as {wanted}: found '{text[:200]}'")
        found[name] = _score(text, score)
    return found


def thresholds_of(rule: MatchRule, given: Sequence[str]) -> tuple[float, ...]:
    """The rule's thresholds, with those in their place that are given.

    Raises:
        SettingsError: as `given_thresholds`.
    """
    own = dict(zip(_names(rule), rule.thresholds, strict=True))
    return tuple((own | given_thresholds(rule, given)).values())


def _names(rule: MatchRule) -> list[str]:
    return [COMBINED] if len(rule.thresholds) == 1 else list(rule.spaces)


def _score(text: str, score: str) -> float:
    try:
        value = float(score)
    except ValueError:
        value = float("nan")
    if not LOWEST <= value <= HIGHEST:
        raise SettingsError(f"a threshold is a score such as 0.73: found '{text[:200]}'")
    return value
