"""`python -m retrieval neighbours`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    print_json,
    store_argument,
    under,
)
from retrieval.cli.finding_options import HEADING, index_option, plain_options, shows_progress
from retrieval.cli.group import main
from retrieval.cli.options import selected, spaces_option
from retrieval.cli.refinement_options import REFINEMENTS, take_refinements
from retrieval.cli.side_options import item_options


@main.command()
@store_argument
@spaces_option
@output_option("Table of neighbours: .parquet, which other commands can start from, or .csv.")
@click.option(
    "--k",
    type=int,
    help="Neighbours of each item, itself included; of each query, in a gallery.  "
    "[default: 50, or all]",
)
@item_options
@under(HEADING, *plain_options, index_option, *REFINEMENTS)
@force_option
@json_option
def neighbours(store: Path, gallery_store: Path | None, as_json: bool, **options: Any) -> None:
    """Write each item's neighbours to a table.

    Its columns are id, neighbour_id, rank and score. An item is not listed as its own neighbour.
    With several spaces, the mean of their scores counts. Refinements are done in the order in which
    they are listed.
    """
    from embed.store import Store
    from retrieval.listing import ListingSettings, list_neighbours

    options["shows_progress"] = shows_progress()
    settings = ListingSettings(refinements=take_refinements(options), **selected(options))
    with ExitStack() as stack:
        opened = stack.enter_context(Store(store))
        among = None if gallery_store is None else stack.enter_context(Store(gallery_store))
        result = list_neighbours(opened, settings, among)
    if as_json:
        print_json(result.to_json())
        return
    found = result.info
    how = "exactly" if found.method == "exact" else f"{found.method}, recall {found.recall:.4f}"
    click.echo(
        f"{result.num_pairs:,} neighbours of {found.num_queries:,} items among "
        f"{found.num_gallery:,} ({how}): {result.path}"
    )
