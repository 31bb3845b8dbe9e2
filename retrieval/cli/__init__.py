"""The command lines of `python -m retrieval`: one module for each command."""

from retrieval.cli import compare, duplicates, evaluate, match, tune_threshold, vote
from retrieval.cli.group import main

__all__ = ["compare", "duplicates", "evaluate", "main", "match", "tune_threshold", "vote"]
