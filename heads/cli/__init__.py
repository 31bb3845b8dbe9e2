"""The command lines of `python -m heads`: one module for each kind of command."""

from heads.cli import apply, train
from heads.cli.group import main

__all__ = ["apply", "main", "train"]
