"""The command lines of `python -m heads`: one module for each kind of command."""

from heads.cli import apply, train, tune
from heads.cli.group import main

__all__ = ["apply", "main", "train", "tune"]
