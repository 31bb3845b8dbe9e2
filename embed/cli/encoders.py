"""`python -m embed encoders`."""

from typing import TYPE_CHECKING

import click

from embed.cli.group import main
from embed.options import json_option, print_json, print_table
from embed.wording import counted

if TYPE_CHECKING:
    from embed.encoders.listing import ListedEncoder


@main.command()
@click.argument("search", default="", metavar="[SPEC_OR_WORD]")
@click.option("--all", "everything", is_flag=True, help="Every published OpenCLIP model.")
@json_option
def encoders(search: str, everything: bool, as_json: bool) -> None:
    """List the encoders to choose from, or those whose spec holds a word. Nothing is fetched."""
    from embed.encoders.listing import describe, list_encoders

    found = list_encoders(search, everything=everything)
    if as_json:
        print_json({"encoders": [describe(encoder) for encoder in found]})
        return
    header = ("spec", "for", "dim", "input", "weights")
    print_table(counted(len(found), "encoder"), header, [_row(encoder) for encoder in found])


def _row(encoder: "ListedEncoder") -> tuple[str, ...]:
    inputs = []
    if encoder.pixels:
        inputs.append("{} × {} pixels".format(*encoder.pixels))
    if encoder.tokens:
        inputs.append(f"{encoder.tokens} tokens")
    return (
        f"{encoder.spec}{' (default)' if encoder.is_default else ''}",
        ", ".join(encoder.modalities),
        f"{encoder.dim:,}" if encoder.dim else "–",
        ", ".join(inputs) or "–",
        encoder.weights,
    )
