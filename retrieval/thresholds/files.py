"""The file that keeps a threshold, and how a threshold fits a store.

A file holds the fingerprints of the spaces that it was tuned on: other vectors are refused.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from embed.errors import SettingsError, ThresholdError
from embed.files import refuse_existing, replacing
from embed.store import Store
from retrieval.thresholds.checked_json import HIGHEST, LOWEST
from retrieval.thresholds.columns import DEFAULT_K, refuse_small_k
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.threshold_json import FORMAT, FORMAT_VERSION, from_json, to_json
from retrieval.thresholds.tuning import ThresholdResult


def save(result: ThresholdResult, path: Path, *, force: bool = False) -> None:
    """Write the threshold to a JSON file.

    Raises:
        OutputExistsError: the file exists and `force` was not given.
    """
    refuse_existing(path, force=force)
    text = json.dumps(to_json(result), indent=2, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> ThresholdResult:
    """Read a threshold that `save` wrote; it has no picture.

    Raises:
        ThresholdError: the file is missing or is not such a file.
    """
    values = _read_json(path)
    found = (values.get("format"), values.get("format_version"))
    if found != (FORMAT, FORMAT_VERSION):
        raise ThresholdError(
            f"{path} should have format {FORMAT} version {FORMAT_VERSION}: found {found[0]} "
            f"version {found[1]}: make one with `python -m retrieval tune-threshold … -o {path}`"
        )
    try:
        return from_json(values)
    except KeyError as error:
        raise ThresholdError(f"{path} should say its {error}, and does not") from error
    except (TypeError, ValueError, AttributeError, SettingsError) as error:
        raise ThresholdError(f"{path} does not hold what a threshold needs: {error}") from error


def parse_threshold(text: str) -> float | ThresholdResult:
    """A threshold as it is given on a command line: the name of a file, or a score.

    Raises:
        ThresholdError: it is neither, or a number that no score reaches.
    """
    if Path(text).is_file():
        return load(Path(text))
    try:
        given = float(text)
    except ValueError:
        raise ThresholdError(
            f"a threshold should be a file or a score such as 0.73: "
            f"{text} is {'a folder' if Path(text).is_dir() else 'neither: there is no such file'}"
        ) from None
    if not LOWEST <= given <= HIGHEST:
        raise ThresholdError(f"a score should be between −1 and 1 (1 − distance): found {text}")
    return given


def fit_to_store(
    store: Store, threshold: float | ThresholdResult, space: str | None, k: int | None
) -> MatchRule:
    """A threshold checked against a store: its spaces, fingerprints and k, where they are known.

    Args:
        store: the store to be cut.
        threshold: a score, or a tuned threshold, which knows its spaces.
        space: the space to be cut; None takes the tuned threshold's.
        k: neighbours, as `MatchRule.k`; None takes the tuned threshold's, else 50.

    Raises:
        SettingsError: a score without a space, or k is below 1.
        StoreError: there is no such space.
        ThresholdError: it was tuned on another space.
        FingerprintError: a space holds other vectors than those it was tuned on.
    """
    if k is not None:
        refuse_small_k(k, 1)
    if isinstance(threshold, ThresholdResult):
        rule = threshold.rule
        _refuse_other_space(rule, space)
    elif space is None:
        raise SettingsError(
            f"{threshold} is a score: say with --space of which space, or give a threshold file"
        )
    else:
        rule = MatchRule({space: 1.0}, (threshold,), DEFAULT_K)
    rule.refuse_other_vectors(store)
    return rule if k is None else replace(rule, k=k)


def _refuse_other_space(rule: MatchRule, space: str | None) -> None:
    if space is not None and [space] != list(rule.spaces):
        names = "', '".join(rule.spaces)
        raise ThresholdError(
            f"the threshold was tuned on space '{names}', not on '{space}': "
            f"tune one for '{space}', or leave --space out"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ThresholdError(
            f"no threshold at {path}: make one with `retrieval tune-threshold … -o {path}`"
        ) from error
    except ValueError as error:
        is_text = not isinstance(error, UnicodeDecodeError)
        why = f"it is no JSON: {error}" if is_text else "it is no text"
        raise ThresholdError(
            f"{path} is no threshold file ({why}): make one with "
            f"`python -m retrieval tune-threshold … -o FILE`"
        ) from error
    if not isinstance(values, dict):
        raise ThresholdError(f"{path} should hold one JSON object: found a {type(values).__name__}")
    return values
