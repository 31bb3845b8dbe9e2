"""The command lines of `python -m retrieval`: one module for each command."""

from retrieval.cli import (
    compare,
    duplicates,
    evaluate,
    index,
    match,
    neighbours,
    serve,
    tune_threshold,
    vote,
)
from retrieval.cli.group import main

__all__ = [
    "compare",
    "duplicates",
    "evaluate",
    "index",
    "main",
    "match",
    "neighbours",
    "serve",
    "tune_threshold",
    "vote",
]
