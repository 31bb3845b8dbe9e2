"""The group that every command of `python -m retrieval` belongs to."""

import click

from embed.options import CONTEXT, CommandGroup


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def main() -> None:
    """Tune a threshold, see what it reaches, and write the matches."""
