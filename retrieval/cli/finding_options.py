"""Options that say how neighbours are found, and how they are read."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import MemorySize, under
from retrieval.cli.refinement_options import REFINEMENTS, take_refinements

if TYPE_CHECKING:
    from retrieval.finding import Finding

HEADING = "How neighbours are found"
_FILE = click.Path(dir_okay=False, path_type=Path)

memory_option = click.option(
    "--memory",
    "memory_bytes",
    type=MemorySize(),
    default="2GiB",
    help="What a search may hold; vectors that are refined are not counted.",
)
index_option = click.option(
    "--index",
    type=_FILE,
    metavar="FILE",
    help="Search with it: quick, not exact. `retrieval index` makes one.",
)
neighbours_option = click.option(
    "--neighbours",
    type=_FILE,
    metavar="FILE",
    help="Start from this Parquet file, which `retrieval neighbours` wrote.",
)

device_option = click.option(
    "--device", default="auto", help="Where large products are made: auto, cpu, cuda or cuda:N."
)
plain_options = (memory_option, device_option)

search_options = under(HEADING, *plain_options, index_option, neighbours_option)
"""Where neighbours come from."""

finding_options = under(HEADING, *plain_options, index_option, neighbours_option, *REFINEMENTS)
"""The same, and what is done to them."""


def take_finding(options: dict[str, Any]) -> "Finding":
    """How the options want neighbours found; they are taken out of `options`."""
    from retrieval.finding import NO_REFINEMENTS, Finding

    refinements = take_refinements(options) if "rerank" in options else NO_REFINEMENTS
    return Finding(
        options.pop("memory_bytes"),
        refinements,
        options.pop("index", None),
        options.pop("neighbours", None),
        options.pop("device"),
        shows_progress(),
    )


def shows_progress() -> bool:
    """True where the command that runs may tell how far it is: beside JSON on a terminal alone."""
    return not click.get_current_context().params.get("as_json") or sys.stderr.isatty()
