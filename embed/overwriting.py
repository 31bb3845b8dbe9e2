"""Before a command runs: none of the files that it writes may be one that it reads."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from embed.errors import SettingsError

OUTPUTS = ("output", "groups", "plot")
"""The parameters of commands that name a file which is written."""
IN_PLACE = ("into",)
"""Those that name a file which is read and written on purpose."""


def refuse_overwriting(values: Mapping[str, Any]) -> None:
    """Look at the values of a command's parameters, by name.

    A text counts as a file where there is one of that name, as in --threshold FILE and
    --threshold NAME=FILE; a file that is written again in its place is no output here.

    Raises:
        SettingsError: an output is an input too, by whatever path.
    """
    read = [(name, path) for name, path in _files(values) if name not in (*OUTPUTS, *IN_PLACE)]
    for output, written in _files(values):
        if output not in OUTPUTS:
            continue
        name = next((name for name, path in read if path.samefile(written)), None)
        if name is not None:
            raise SettingsError(
                f"--{output} {written} is what the command reads as {_spoken(name)}, and would "
                f"replace it: give the output another name"
            )


def _files(values: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The files among the values that are there, each with the name of its parameter."""
    for name, value in values.items():
        several = value if isinstance(value, list | tuple) else [value]
        yield from ((name, path) for path in _paths(several) if _exists(path))


def _paths(values: Iterable[Any]) -> Iterator[Path]:
    for value in values:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, str) and value:
            yield Path(value)
            if "=" in value:
                yield Path(value.partition("=")[2])


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that can't be the name of a file
        return False


def _spoken(name: str) -> str:
    """How the command line calls a parameter: `store` is the noun STORE."""
    return name.replace("_", "-")
