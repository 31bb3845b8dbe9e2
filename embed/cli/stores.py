"""Commands about stores that are there: `python -m embed info`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.cli.group import main
from embed.cli.tables import print_spaces
from embed.options import json_option, print_json, store_argument

if TYPE_CHECKING:
    from embed.store import Store


@main.command()
@store_argument
@json_option
def info(store: Path, as_json: bool) -> None:
    """Show what STORE holds: items, columns, spaces, and what was left out."""
    from embed.store import Store

    with Store(store) as opened:
        if as_json:
            print_json(_info(opened))
            return
        print_spaces(f"{store}: {len(opened):,} items", opened.spaces)
        click.echo(f"columns: {', '.join(opened.columns) or 'none'}")
        click.echo(f"left out: {len(opened.failures)} items")
        for failure in opened.failures[:10]:
            click.echo(f"  {failure.id}: {failure.stage}: {failure.reason}")


def _info(store: "Store") -> dict[str, Any]:
    from embed.run import describe_spaces

    return {
        "store": str(store.path),
        "num_items": len(store),
        "num_failures": len(store.failures),
        "columns": store.columns,
        "spaces": describe_spaces(store.spaces),
        "created_utc": store.attributes["created_utc"],
        "command": store.attributes["command"],
    }
