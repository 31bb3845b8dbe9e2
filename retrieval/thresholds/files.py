"""The file that keeps a threshold, and how a threshold fits a store.

A file holds the fingerprint of the space that it was tuned on: other vectors are refused.
"""

import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from embed.errors import FingerprintError, SettingsError, ThresholdError
from embed.files import refuse_existing, replacing
from embed.store import Store
from retrieval.thresholds.tuned import (
    DEFAULT_K,
    FORMAT,
    FORMAT_VERSION,
    ThresholdResult,
    refuse_small_k,
)


def save(result: ThresholdResult, path: Path, *, force: bool = False) -> None:
    """Write the threshold to a JSON file.

    Raises:
        OutputExistsError: the file exists and `force` was not given.
    """
    refuse_existing(path, force=force)
    text = json.dumps(result.to_json(), indent=2, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> ThresholdResult:
    """Read a threshold that `save` wrote; it has no curve.

    Raises:
        ThresholdError: the file is missing or is not such a file.
    """
    values = _read_json(path)
    found = (values.pop("format", None), values.pop("format_version", None))
    if found != (FORMAT, FORMAT_VERSION):
        raise ThresholdError(
            f"{path} should have format {FORMAT} version {FORMAT_VERSION}: found {found[0]} "
            f"version {found[1]}: make one with `python -m retrieval tune-threshold … -o {path}`"
        )
    _refuse_wrong_values(values, path)
    tuples = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    try:
        return ThresholdResult(**({"interval": None} | values | tuples))
    except TypeError as error:  # a key that is missing, or one that does not belong
        raise ThresholdError(f"{path} does not hold what a threshold needs: {error}") from error


def parse_threshold(text: str) -> float | ThresholdResult:
    """A threshold as it is given on a command line: the name of a file, or a score.

    Raises:
        ThresholdError: it is neither, or a number that no score reaches.
    """
    if Path(text).is_file():
        return load(Path(text))
    try:
        score = float(text)
    except ValueError:
        raise ThresholdError(
            f"a threshold should be a file or a score such as 0.73: "
            f"{text} is {'a folder' if Path(text).is_dir() else 'neither'}"
        ) from None
    if not -1 <= score <= 1 + 1e-5:  # a tuned threshold may lie just above every score
        raise ThresholdError(f"a score should be between −1 and 1 (1 − distance): found {text}")
    return score


@dataclass(frozen=True)
class Cut:
    """Where a space is to be cut: its score threshold, and how many neighbours are looked at."""

    space: str
    score: float
    k: int


def fit_to_store(
    store: Store, threshold: float | ThresholdResult, space: str | None, k: int | None
) -> Cut:
    """A threshold checked against a store: its space, fingerprint and k, where they are known.

    Args:
        store: the store to be cut.
        threshold: a score, or a tuned threshold, which knows its space.
        space: the space to be cut; None takes the tuned threshold's.
        k: neighbours, the item itself included; None takes the tuned threshold's, else 50.

    Raises:
        SettingsError: a score without a space, or k is below 2.
        ThresholdError: it was tuned on another space.
        FingerprintError: the space holds other vectors than those it was tuned on.
    """
    if isinstance(threshold, ThresholdResult):
        return _fit_result(store, threshold, space, threshold.k if k is None else k)
    if space is None:
        raise SettingsError(
            f"{threshold} is a score: say with --space of which space, or give a threshold file"
        )
    refuse_small_k(DEFAULT_K if k is None else k)
    store.space(space)
    return Cut(space, threshold, DEFAULT_K if k is None else k)


def _fit_result(store: Store, threshold: ThresholdResult, space: str | None, k: int) -> Cut:
    refuse_small_k(k)
    if space is not None and space != threshold.space:
        raise ThresholdError(
            f"the threshold was tuned on space '{threshold.space}', not on '{space}': "
            f"tune one for '{space}', or leave --space out"
        )
    found = store.space(threshold.space).fingerprint
    if found != threshold.fingerprint:
        raise FingerprintError(
            f"the threshold was tuned on space '{threshold.space}' with fingerprint "
            f"{threshold.fingerprint}, {store.path} has {found}: tune it again on this store"
        )
    return Cut(threshold.space, threshold.score_threshold, k)


def _refuse_wrong_values(values: dict[str, Any], path: Path) -> None:
    """Check what a threshold is used for: to cut the scores of a space."""
    for key, kind in (("space", str), ("fingerprint", str), ("k", int)):
        if not isinstance(values.get(key), kind):
            found = values.get(key)
            raise ThresholdError(f"{path}: {key} should be a {kind.__name__}: found {found!r}")
    score = values.get("score_threshold")
    if not isinstance(score, float) or not isfinite(score):
        raise ThresholdError(
            f"{path}: score_threshold should be a finite number such as 0.73: found {score!r}"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ThresholdError(
            f"no threshold at {path}: make one with `retrieval tune-threshold … -o {path}`"
        ) from error
    except ValueError as error:  # bad JSON or bad UTF-8
        raise ThresholdError(
            f"{path} is no threshold file: make one with "
            f"`python -m retrieval tune-threshold … -o FILE`"
        ) from error
    if not isinstance(values, dict):
        raise ThresholdError(f"{path} should hold one JSON object: found a {type(values).__name__}")
    return values
