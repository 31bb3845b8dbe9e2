"""`python -m retrieval vote`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    print_table,
    store_argument,
)
from retrieval.cli.finding_options import finding_options, take_finding
from retrieval.cli.group import main
from retrieval.cli.options import selected, space_option
from retrieval.cli.reports import print_result
from retrieval.cli.side_options import item_options

if TYPE_CHECKING:
    from retrieval.matches.vote_columns import ColumnOutcome


@main.command()
@store_argument
@space_option
@click.option(
    "--column",
    "columns",
    multiple=True,
    required=True,
    metavar="COLUMN",
    help="What is voted on; repeatable.",
)
@output_option("The table to write: a .csv or .parquet file.")
@click.option(
    "--k",
    type=int,
    help="How many nearest others vote; the item itself does not.  [default: 10, or all]",
)
@click.option(
    "--voting",
    type=click.Choice(["weighted", "uniform"]),
    default="weighted",
    help="weighted: each neighbour's vote counts as much as its score; uniform: all the same.",
)
@item_options
@finding_options
@force_option
@json_option
def vote(store: Path, gallery_store: Path | None, as_json: bool, **options: Any) -> None:
    """Label each item by the votes of its nearest neighbours.

    Neighbours without a label do not vote. Where an item's own label is known it is judged, as if
    it were not.
    """
    from embed.store import Store
    from retrieval.matches.voting import VoteSettings
    from retrieval.matches.voting import vote as write_votes

    finding = take_finding(options)
    settings = VoteSettings(**selected(options), finding=finding)
    with ExitStack() as stack:
        opened = stack.enter_context(Store(store))
        gallery = stack.enter_context(Store(gallery_store)) if gallery_store else None
        result = write_votes(opened, settings, gallery)
    if not print_result(result.to_json(), as_json):
        title = (
            f"{result.num_rows:,} items, {result.num_gallery:,} may vote, k = {result.k}, "
            f"{result.voting}"
        )
        header = [
            "column",
            "items predicted",
            "mean share of votes",
            "items judged",
            "accuracy",
            "macro F1",
            "score of both",
        ]
        print_table(title, header, [_cells(outcome) for outcome in result.columns])
        click.echo(f"votes: {result.output}")


def _cells(outcome: "ColumnOutcome") -> list[str]:
    figures = outcome.accuracy, outcome.macro_f1, outcome.score
    return [
        outcome.column,
        f"{outcome.num_predicted:,}",
        _number(outcome.mean_share),
        f"{outcome.num_judged:,}",
        *map(_number, figures),
    ]


def _number(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.4f}"
