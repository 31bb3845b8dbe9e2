"""`python -m retrieval match`."""

from pathlib import Path
from typing import Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    store_argument,
    where_option,
)
from retrieval.cli.group import main
from retrieval.cli.options import k_option, selected, with_threshold
from retrieval.cli.reports import print_result


@main.command()
@store_argument
@click.option(
    "--threshold", required=True, metavar="FILE_OR_SCORE", help="A threshold file or a score."
)
@output_option("CSV file for the matches.")
@click.option("--space", metavar="NAME", help="The space to search; a threshold file knows it.")
@k_option
@where_option
@click.option("--id-name", default="id", help="Header of the column with the ids.")
@click.option("--matches-name", default="matches", help="Header of the column with the matches.")
@click.option("--separator", default=" ", help="Stands between ids.")
@force_option
@json_option
def match(store: Path, as_json: bool, **options: Any) -> None:
    """Write each item's matches to a CSV file: itself first, then others, best first."""
    from embed.store import Store
    from retrieval.matches.matching import MatchSettings
    from retrieval.matches.matching import match as write_matches

    settings = MatchSettings(**with_threshold(selected(options)))
    with Store(store) as opened:
        result = write_matches(opened, settings)
    if not print_result(result.to_json(), as_json):
        click.echo(
            f"{result.num_rows:,} items with {result.num_matches:,} matches besides themselves, "
            f"{result.num_alone:,} alone: {result.path} "
            f"({', '.join(result.spaces)}, score ≥ "
            f"{', '.join(f'{score:.4f}' for score in result.score_thresholds)})"
        )
