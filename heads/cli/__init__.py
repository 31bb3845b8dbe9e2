"""The command lines of `python -m heads`: one module for each kind of command."""

from heads.cli import apply, blend, soup, train
from heads.cli.group import main

__all__ = ["apply", "blend", "main", "soup", "train"]
