"""The command lines of `python -m embed`: one module for each kind of command."""

from embed.cli import demo, doctor, encoders, exchange, run, stores
from embed.cli.group import main

__all__ = ["demo", "doctor", "encoders", "exchange", "main", "run", "stores"]
