"""The command lines of `python -m heads`: one module for each kind of command."""

from heads.cli import apply, blend, compare, export, info, predict, soup, train, tune
from heads.cli.group import main

__all__ = [
    "apply",
    "blend",
    "compare",
    "export",
    "info",
    "main",
    "predict",
    "soup",
    "train",
    "tune",
]
