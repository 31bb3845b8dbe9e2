"""Calls of what says shapes of arrays are checked: functions of modules, and those of classes.

jaxtyping's own import hook wraps every function, whatever it takes: in these tests that made each
call of a small one ten times slower, and each import three times. What the others annotate, mypy
checks without running them. Functions within functions are not checked.
"""

import re
import sys
from collections.abc import Sequence
from functools import cached_property
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from inspect import get_annotations, isclass, isgeneratorfunction
from types import FunctionType, ModuleType
from typing import Any

from beartype import beartype
from jaxtyping import jaxtyped

ARRAY = re.compile(r"\b(BFloat|Bool|Float|Inexact|Int|Integer|Num|Real|Shaped|UInt)\d*\[")


def check_arrays_of(packages: Sequence[str]) -> None:
    """Check calls of what is imported from these packages from now on."""
    sys.meta_path.insert(0, _Finder(packages))


class _Finder(MetaPathFinder):
    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self.packages:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _wrap_functions_of(module, module.__name__)


def _wrap_functions_of(owner: ModuleType | type, module: str) -> None:
    for name, value in list(vars(owner).items()):
        if isclass(value) and value.__module__ == module and value is not owner:
            _wrap_functions_of(value, module)
        elif isinstance(value, cached_property):
            if _says_arrays(value.func, module):
                value.func = jaxtyped(value.func, typechecker=beartype)
        elif any(_says_arrays(function, module) for function in _functions_of(value)):
            setattr(owner, name, jaxtyped(value, typechecker=beartype))


def _functions_of(value: Any) -> list[Any]:
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    return [getattr(value, "__func__", value)]


def _says_arrays(function: Any, module: str) -> bool:
    return (
        isinstance(function, FunctionType)
        and function.__module__ == module
        and not _makes_a_context(function)
        and ARRAY.search(repr(get_annotations(function))) is not None
    )


def _makes_a_context(function: FunctionType) -> bool:
    """Whether it gives something else than what it is annotated with, as a decorator has it."""
    inner = getattr(function, "__wrapped__", function)
    return inner is not function and isgeneratorfunction(inner)
