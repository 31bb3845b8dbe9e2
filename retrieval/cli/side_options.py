"""Options that say which items look for neighbours, and which they look among."""

from pathlib import Path

import click

from embed.options import split_column_option, under, where_option
from retrieval.cli.options import include_training_option, unseen_by_option

HEADING = "Which items"

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

item_options = under(
    HEADING,
    where_option,
    query_where_option,
    gallery_where_option,
    gallery_store_option,
    unseen_by_option,
)
"""Which items look among which."""

labelled_options = under(
    HEADING,
    where_option,
    query_where_option,
    gallery_where_option,
    gallery_store_option,
    split_column_option,
    unseen_by_option,
    include_training_option,
)
"""The same where labels are known, and some have been trained on."""
