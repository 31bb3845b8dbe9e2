"""The command lines of `python -m heads`: one module for each kind of command."""

from heads.cli import apply, compare, train, tune
from heads.cli.group import main

__all__ = ["apply", "compare", "main", "train", "tune"]
