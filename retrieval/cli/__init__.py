"""The command lines of `python -m retrieval`: one module for each command."""

from retrieval.cli import compare, evaluate, index, match, neighbours, tune_threshold
from retrieval.cli.group import main

__all__ = ["compare", "evaluate", "index", "main", "match", "neighbours", "tune_threshold"]
