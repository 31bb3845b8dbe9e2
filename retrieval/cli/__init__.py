"""The command lines of `python -m retrieval`: one module for each command."""

from retrieval.cli import compare, evaluate, match, tune_threshold
from retrieval.cli.group import main

__all__ = ["compare", "evaluate", "main", "match", "tune_threshold"]
