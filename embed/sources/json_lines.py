"""Manifests of one JSON object a line."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from embed.errors import SourceError
from embed.sources.blocks import Blocks
from embed.sources.records import NumberColumns, as_row
from embed.sources.spool import unreadable

SUFFIXES = (".jsonl", ".ndjson")


def scan_json_lines(path: Path, source: str, scratch: Path) -> tuple[pl.LazyFrame, frozenset[str]]:
    """The rows as text, and the names of the columns that hold numbers with fractions.

    Raises:
        SourceError: a line is no JSON object; the message names it.
    """
    numbers = NumberColumns()
    blocks = Blocks(scratch / "blocks", source, ())
    for fields in _objects(path, source):
        blocks.add(as_row(fields, numbers))
    return blocks.scan(), numbers.names


def _objects(path: Path, source: str) -> Iterator[dict[str, Any]]:
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parsed(line, number, source)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise unreadable(source, error) from error


def _opened(path: Path) -> io.TextIOWrapper:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _parsed(line: str, number: int, source: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{source}: line {number} is not JSON ({error}): give one object a line"
        ) from error
    if not isinstance(fields, dict):
        raise SourceError(
            f"{source}: line {number} is no JSON object but {line.strip()[:40]}: "
            f"give one object a line"
        )
    return fields
