"""Options that say which items look for neighbours, and which they look among."""

from pathlib import Path

import click

query_where_option = click.option(
    "--query-where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only these items look for neighbours; repeatable.",
)
gallery_where_option = click.option(
    "--gallery-where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="They look among these items only; repeatable.",
)
gallery_store_option = click.option(
    "--gallery-store",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="STORE",
    help="They look among the items of this store, which has the same space and label.",
)
