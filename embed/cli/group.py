"""The group that the commands of `python -m embed` belong to."""

import click

from embed.options import CONTEXT, CommandGroup


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def main() -> None:
    """Turn images and titles into vectors, kept in one HDF5 store."""
