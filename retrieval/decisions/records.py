"""A line of the file of decisions: what somebody has said of a pair, or that it was taken back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

FORMAT = "retrieval-decision"
VERSION = 1
BEGINNING = f'{{"format": "{FORMAT}", "version": '.encode()
"""What every line begins with, so that one that was cut short is known by it."""

Verdict = Literal["same", "different", "unsure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

Pair = tuple[str, str]
"""Two ids, the lower one first: pairs have no direction."""


@dataclass(frozen=True)
class Decision:
    """What somebody has said of a pair of items.

    Attributes:
        id: what an undo calls it by; unique in the file.
        at: when, in UTC, as ISO 8601 has it.
        by: who.
        first, second: the ids of the items, as they were shown.
        decision: same, different or unsure.
        score: of the pair in all spaces together, at that time.
        scores: in each space, whose vectors had these `fingerprints`.
        threshold: where matches were cut then: at one score, or at one of each space; None where
            nothing had said it.
    """

    id: str
    at: str
    by: str
    first: str
    second: str
    decision: Verdict
    score: float
    scores: Mapping[str, float]
    fingerprints: Mapping[str, str]
    threshold: float | Mapping[str, float] | None

    @property
    def pair(self) -> Pair:
        """The two items, in an order that does not depend on how they were shown."""
        return pair_of(self.first, self.second)


@dataclass(frozen=True)
class Undo:
    """That the decision of this id was taken back; when and by whom."""

    at: str
    by: str
    undoes: str


@dataclass(frozen=True)
class Repair:
    """That so many lines before this one were cut short by a crash, and hold nothing."""

    at: str
    num_torn: int


class CutShortError(ValueError):
    """A line that is no JSON."""


Record = Decision | Undo | Repair


def pair_of(one: str, other: str) -> Pair:
    """Two ids as a pair."""
    return (one, other) if one < other else (other, one)


def to_line(record: Record) -> bytes:
    """A record as a line of JSON in UTF-8, its end included."""
    values = {"format": FORMAT, "version": VERSION, **vars(record)}
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def from_line(line: bytes) -> Record:
    """The record of a line.

    Raises:
        CutShortError: it is no JSON: it may be the beginning of a line.
        ValueError: it is no such line; the message says why.
    """
    try:
        values = json.loads(line)
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise CutShortError("it is no JSON") from error
    found = (values.get("format"), values.get("version")) if isinstance(values, dict) else None
    if found != (FORMAT, VERSION):
        raise ValueError(f"it should have format {FORMAT} version {VERSION}")
    if "num_torn" in values:
        return Repair(_text(values, "at"), _count(values, "num_torn"))
    if "undoes" in values:
        return Undo(*(_text(values, name) for name in ("at", "by", "undoes")))
    return _decision(values)


def _decision(values: Mapping[str, Any]) -> Decision:
    texts = {name: _text(values, name) for name in ("id", "at", "by", "first", "second")}
    decision = values.get("decision")
    if decision not in VERDICTS:
        raise ValueError(f"decision should be {', '.join(VERDICTS)}: found {decision!r}")
    if texts["first"] == texts["second"]:
        raise ValueError(f"first and second should be two items: both are '{texts['first']}'")
    threshold = values.get("threshold")
    if isinstance(threshold, dict):
        threshold = _numbers(values, "threshold")
    elif threshold is not None:
        threshold = _number(threshold, "threshold")
    fingerprints = _object(values, "fingerprints")
    return Decision(
        **texts,
        decision=decision,
        score=_number(values.get("score"), "score"),
        scores=_numbers(values, "scores"),
        fingerprints={space: _text(fingerprints, space) for space in fingerprints},
        threshold=threshold,
    )


def _text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    if not isinstance(found, str) or not found:
        raise ValueError(f"{name} should be a text: found {found!r}")
    return found


def _count(values: Mapping[str, Any], name: str) -> int:
    found = values.get(name)
    if type(found) is not int or found < 1:
        raise ValueError(f"{name} should count lines: found {found!r}")
    return found


def _number(found: Any, name: str) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"{name} should be a number: found {found!r}")
    return float(found)


def _object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} should be an object: found {found!r}")
    return found


def _numbers(values: Mapping[str, Any], name: str) -> dict[str, float]:
    return {key: _number(found, f"{name} of {key}") for key, found in _object(values, name).items()}
