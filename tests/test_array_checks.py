"""The checks of arrays find what is wrong, and leave alone what has no arrays."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from .array_checks import check_arrays_of

NAME = "package_with_arrays"
CODE = """
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

Row = Float[np.ndarray, "n"]

def function(one: Row, other: Row) -> Row: return one
def returning(number: int) -> Row: return np.zeros((2, 2))
def without_arrays(number: int) -> str: return number

@contextmanager
def context(row: Row) -> Iterator[Row]: yield row

@dataclass
class Data:
    one: Row
    other: Row

class Thing:
    def method(self, one: Row, other: Row) -> None: ...
    @staticmethod
    def of_all(one: Row, other: Row) -> None: ...
    @classmethod
    def of_class(cls, one: Row, other: Row) -> None: ...
    @property
    def wrong(self) -> Row: return np.zeros((2, 2))
    @cached_property
    def wrong_once(self) -> Row: return np.zeros((2, 2))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / f"{NAME}.py").write_text(CODE, encoding="utf-8")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(tmp_path)
    check_arrays_of([NAME])
    yield importlib.import_module(NAME)
    del sys.modules[NAME]


def test_arrays_of_other_shapes_are_found(package: ModuleType) -> None:
    two, three = np.zeros(2), np.zeros(3)
    thing = package.Thing()
    takers = (package.function, thing.method, thing.of_all, thing.of_class, package.Data)
    for take in takers:
        take(two, two)
        with pytest.raises(TypeCheckError):
            take(two, three)


def test_results_of_other_shapes_are_found(package: ModuleType) -> None:
    with pytest.raises(TypeCheckError):
        package.returning(1)
    for name in ("wrong", "wrong_once"):
        with pytest.raises(TypeCheckError):
            getattr(package.Thing(), name)


def test_what_has_no_arrays_is_left_alone(package: ModuleType) -> None:
    assert package.without_arrays(1) == 1
    with package.context(np.zeros(2)) as row:
        assert len(row) == 2
