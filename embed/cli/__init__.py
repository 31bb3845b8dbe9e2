"""The command lines of `python -m embed`: one module for each kind of command."""

from embed.cli import demo, encoders, run, stores
from embed.cli.group import main

__all__ = ["demo", "encoders", "main", "run", "stores"]
