"""The command lines of `python -m heads`: one module for each kind of command."""

from heads.cli import apply, export, info, predict, train
from heads.cli.group import main

__all__ = ["apply", "export", "info", "main", "predict", "train"]
