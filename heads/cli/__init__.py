"""The command lines of `python -m heads`: one module for each kind of command."""

from heads.cli import apply, blend, export, info, predict, soup, train
from heads.cli.group import main

__all__ = ["apply", "blend", "export", "info", "main", "predict", "soup", "train"]
