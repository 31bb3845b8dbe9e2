"""The group that the commands of `python -m heads` belong to."""

import click

from embed.options import CONTEXT, CommandGroup


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def main() -> None:
    """Train small heads on the spaces of a store: new spaces, or predicted attributes."""
