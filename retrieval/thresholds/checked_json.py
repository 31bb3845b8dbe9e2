"""Values of a JSON object that have to be of a kind: each raises ValueError and names the key."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

LOWEST, HIGHEST = -1.0, 1 + 1e-5
"""Of a score threshold: one that matches nothing lies just above every score."""


def number(values: Mapping[str, Any], key: str) -> float:
    """A finite number."""
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{key} should be a finite number such as 0.73: found {value!r}")
    return float(value)


def optional_number(values: Mapping[str, Any], key: str) -> float | None:
    """A finite number, or null."""
    return None if values[key] is None else number(values, key)


def score(values: Mapping[str, Any], key: str, size: float = 1.0) -> float:
    """A score threshold; scores lie between −`size` and `size`."""
    value = number(values, key)
    if not LOWEST * size <= value <= HIGHEST * size:
        raise ValueError(f"{key} should be a score between −{size:g} and {size:g}: found {value!r}")
    return value


def numbers(values: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """A list of finite numbers."""
    if not isinstance(values[key], list):
        raise ValueError(f"{key} should be a list of numbers: found {values[key]!r}")
    return tuple(number({key: value}, key) for value in values[key])


def integer(values: Mapping[str, Any], key: str) -> int:
    """A whole number."""
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key} should be a whole number: found {value!r}")
    return value


def text(values: Mapping[str, Any], key: str) -> str:
    """A text."""
    if not isinstance(values[key], str):
        raise ValueError(f"{key} should be a text: found {values[key]!r}")
    return str(values[key])


def switch(values: Mapping[str, Any], key: str) -> bool:
    """True or false."""
    if not isinstance(values[key], bool):
        raise ValueError(f"{key} should be true or false: found {values[key]!r}")
    return bool(values[key])


def json_object(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object with values of any kind."""
    if not isinstance(values[key], dict):
        raise ValueError(f"{key} should be an object: found {values[key]!r}")
    return dict(values[key])
