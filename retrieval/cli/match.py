"""`python -m retrieval match`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    store_argument,
)
from embed.wording import counted
from retrieval.cli.finding_options import search_options, take_finding
from retrieval.cli.group import main
from retrieval.cli.options import (
    decisions_option,
    is_given,
    k_option,
    one_space_option,
    refuse_idle,
    selected,
    with_threshold,
)
from retrieval.cli.reports import print_result
from retrieval.cli.side_options import item_options

if TYPE_CHECKING:
    from retrieval.matches.honouring import Changes
    from retrieval.matches.matching import MatchSummary

COMPETITION_ONLY = ("--id-name", "--matches-name", "--separator")


@main.command()
@store_argument
@click.option(
    "--threshold", required=True, metavar="FILE_OR_SCORE", help="A threshold file or a score."
)
@output_option("The file of matches: .csv, or for pairs .csv or .parquet.")
@one_space_option("The space to search; a threshold file knows it.", required=False)
@k_option
@click.option(
    "--format",
    "layout",
    type=click.Choice(["competition", "pairs"]),
    help="competition: a CSV line an item, with the ids of all its matches; pairs: a line a match, "
    "with scores.  [default: pairs for .parquet, else competition]",
)
@item_options
@click.option("--id-name", default="id", help="Header of the column with the ids.")
@click.option("--matches-name", default="matches", help="Header of the column with the matches.")
@click.option("--separator", default=" ", help="Stands between ids.")
@click.option(
    "--groups",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the groups of matched items, too: a .csv or .parquet file.",
)
@click.option(
    "--linkage",
    type=click.Choice(["single", "complete"]),
    default="single",
    help="single: chains of matches make a group; complete: all pairs of a group match.",
)
@decisions_option(
    "Honour what people have decided of pairs in this file.  [default: STORE.decisions.jsonl, "
    "where there is one]"
)
@click.option("--no-decisions", is_flag=True, help="Pass over what people have decided of pairs.")
@search_options
@force_option
@json_option
def match(store: Path, gallery_store: Path | None, as_json: bool, **options: Any) -> None:
    """Write each item's matches to a file.

    The item itself comes first, then others, best first. What people have decided of pairs, as on
    the page of `retrieval serve`, goes before the threshold.
    """
    from embed.store import Store
    from retrieval.matches.match_settings import MatchSettings
    from retrieval.matches.matching import match as write_matches

    refuse_idle({"--linkage": "--groups"})
    if options["no_decisions"] and options["decisions"]:
        raise click.UsageError("--decisions and --no-decisions: give one of them")
    finding = take_finding(options)
    settings = MatchSettings(**with_threshold(selected(options)), finding=finding)
    if settings.format == "pairs":
        _refuse_given(COMPETITION_ONLY)
    with ExitStack() as stack:
        opened = stack.enter_context(Store(store))
        gallery = stack.enter_context(Store(gallery_store)) if gallery_store else None
        result = write_matches(opened, settings, gallery)
    if not print_result(result.to_json(), as_json):
        click.echo(
            f"{_found(result)}: {result.path} "
            f"({', '.join(result.spaces)}{_cut(result.score_thresholds)})"
        )
        if result.decisions is not None:
            click.echo(_honoured(result.decisions))
        if result.groups is not None:
            groups = result.groups
            click.echo(
                f"{counted(groups.num_groups, 'group')} of two items or more, the largest of "
                f"{groups.largest:,}, {groups.num_flagged:,} flagged: {groups.path}"
            )


def _cut(thresholds: tuple[float, ...]) -> str:
    """What scores have to reach, or that none does."""
    from retrieval.thresholds.wording import NOTHING_MATCHES, threshold_text

    text = threshold_text(thresholds)
    return f": {text}" if text == NOTHING_MATCHES else f", score ≥ {text}"


def _found(result: "MatchSummary") -> str:
    if result.is_self_join:
        return (
            f"{result.num_rows:,} items with {result.num_matches:,} matches besides themselves, "
            f"{result.num_alone:,} alone"
        )
    return (
        f"{result.num_rows:,} queries with {result.num_matches:,} matches among "
        f"{result.num_gallery:,} items, {result.num_alone:,} without any"
    )


def _honoured(changes: "Changes") -> str:
    num_decided = changes.num_same + changes.num_different
    return (
        f"{counted(num_decided, 'decided pair')} honoured: {changes.num_added:,} added, "
        f"{changes.num_taken_out:,} taken out: {changes.path}"
    )


def _refuse_given(options: tuple[str, ...]) -> None:
    for option in filter(is_given, options):
        raise click.UsageError(
            f"{option} is for a competition's file: pairs have columns of their own; leave it out, "
            f"or give --format competition"
        )
