"""Sources of several files: `shards-{000..099}.tar`, `{train,test}.tar` and `*.parquet`."""

import glob
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from embed.errors import SourceError

MAX_FILES = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"^([0-9]+)\.\.([0-9]+)$")


def is_pattern(source: str) -> bool:
    """True for what names several files; a file of that very name is taken as itself."""
    return bool(_BRACES.search(source) or glob.has_magic(source)) and not Path(source).exists()


def matching_files(pattern: str) -> list[Path]:
    """The files of a pattern: of braces in their order, of a glob sorted by name, 2 before 10.

    Raises:
        SourceError: one that braces name is missing, or nothing matches.
    """
    names = list(islice(expand_braces(pattern), MAX_FILES + 1))
    if len(names) > MAX_FILES:
        raise SourceError(f"{pattern} names more than {MAX_FILES:,} files: is the range right?")
    return [path for name in names for path in _files(name, pattern)]


def _files(name: str, pattern: str) -> list[Path]:
    if glob.has_magic(name) and not Path(name).exists():
        found = sorted(glob.iglob(name), key=_natural)  # noqa: PTH207 (absolute, too)
        if not found:
            raise SourceError(f"no file matches {name}")
        return [Path(path) for path in found]
    if not Path(name).is_file():
        raise SourceError(f"{pattern} names {name}, which is no file")
    return [Path(name)]


def expand_braces(pattern: str) -> Iterator[str]:
    """The texts that a pattern with {a,b} and {000..099} stands for, the first braces slowest."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    for choice in _choices(braces[1]):
        for rest in expand_braces(after):
            yield before + choice + rest


def _choices(text: str) -> Iterator[str]:
    """The texts between braces; numbers are padded with zeros as their ends are."""
    ends = _RANGE.match(text)
    if ends is None:
        yield from text.split(",")
        return
    first, last = ends.groups()
    is_padded = any(end.startswith("0") and len(end) > 1 for end in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    step = 1 if int(first) <= int(last) else -1
    for number in range(int(first), int(last) + step, step):
        yield f"{number:0{width}d}"


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]
