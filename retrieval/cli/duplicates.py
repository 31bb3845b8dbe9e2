"""`python -m retrieval duplicates`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    print_table,
    store_argument,
    under,
    where_option,
)
from embed.wording import agreeing, counted
from retrieval.cli.finding_options import HEADING, plain_options, shows_progress
from retrieval.cli.group import main
from retrieval.cli.options import selected
from retrieval.cli.reports import print_result

if TYPE_CHECKING:
    from retrieval.matches.duplicates import DuplicateSummary


class Limit(click.ParamType[tuple[str, int | float]]):
    """A space and its limit: NAME=NUMBER."""

    name = "NAME=NUMBER"

    def __init__(self, number: type[int] | type[float]) -> None:
        self._number = number

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int | float]:
        """The two; usage is wrong where it is not that."""
        if isinstance(value, tuple):
            return value
        space, _, number = str(value).rpartition("=")
        try:
            limit = self._number(number)
        except ValueError:
            space = ""
        if not space:
            kind = "a whole number" if self._number is int else "a number"
            self.fail(f"expected the name of a space, = and {kind}: found '{value}'", param, ctx)
        return space, limit


@main.command()
@store_argument
@click.option(
    "--exact",
    type=click.Choice(["content", "image", "text"]),
    default="content",
    help="What is equal byte by byte in exact copies: all that was encoded, the image, the title.",
)
@click.option(
    "--max-bits",
    multiple=True,
    type=Limit(int),
    help="Near copies: codes of this binary space that differ in so many bits at most; repeatable.",
)
@click.option(
    "--min-score",
    "min_scores",
    multiple=True,
    type=Limit(float),
    help="Near copies: vectors of this space whose score is so high at least; repeatable.",
)
@click.option(
    "--leaks",
    metavar="COLUMN[=VALUE,VALUE]",
    help="List and count the pairs whose values of this column differ, such as split=train,val; "
    "the file of -o has these alone.",
)
@output_option("The table of pairs to write: a .csv or .parquet file.", required=False)
@click.option(
    "--groups",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The table of groups to write: a .csv or .parquet file.",
)
@where_option
@under(
    HEADING,
    *plain_options,
    click.option(
        "--neighbours",
        multiple=True,
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Take near copies of its space from this Parquet file, which `retrieval neighbours` "
        "wrote; repeatable. It warns where more may exist than are listed.",
    ),
)
@force_option
@json_option
def duplicates(store: Path, as_json: bool, **options: Any) -> None:
    """Find items that are copies of one another.

    Exact ones by their bytes, and near ones by any spaces. With --leaks, find those that stand on
    two sides of a split.
    """
    from embed.store import Store
    from retrieval.matches.duplicate_settings import DuplicateSettings
    from retrieval.matches.duplicates import find_duplicates

    limits = {name: _by_space(options[name], name) for name in ("max_bits", "min_scores")}
    settings = DuplicateSettings(**(selected(options) | limits), shows_progress=shows_progress())
    with Store(store) as opened:
        found = find_duplicates(opened, settings)
    if not print_result(found.to_json(), as_json):
        _print(found)


def _by_space(limits: Sequence[tuple[str, int | float]], name: str) -> dict[str, int | float]:
    found = dict(limits)
    if len(found) < len(limits):
        option = name.removesuffix("s") if name == "min_scores" else name
        raise click.UsageError(f"--{option.replace('_', '-')} names a space twice: give one limit")
    return found


def _print(found: "DuplicateSummary") -> None:
    rows = [[way.way, way.limit, f"{way.num_pairs:,}", f"{way.num_items:,}"] for way in found.ways]
    print_table(counted(found.num_rows, "item"), ["way", "limit", "pairs", "items"], rows)
    click.echo(
        f"{counted(found.num_pairs, 'pair')} of copies: {counted(found.num_items, 'item')} in "
        f"{counted(found.num_groups, 'group')}; with one of each kept, {found.num_redundant:,} "
        f"would go"
    )
    if found.leaks is not None:
        _print_leaks(found)
    is_all = found.leaks is None
    for name, path in (
        ("pairs" if is_all else "pairs that are leaks", found.output),
        ("groups" if is_all else "groups of all copies, leaks or not", found.groups),
    ):
        if path is not None:
            click.echo(f"{name}: {path}")


def _print_leaks(found: "DuplicateSummary") -> None:
    num_leaks = sum(leak.num_pairs for leak in found.leaks or ())
    click.echo(
        f"{num_leaks:,} of {counted(found.num_pairs, 'pair')} {agreeing(num_leaks, 'are')} leaks"
    )
    if not found.leaks:
        return
    rows = [
        [" – ".join(leak.sides), f"{leak.num_pairs:,}", *(f"{n:,}" for n in leak.num_items)]
        for leak in found.leaks
    ]
    print_table("leaks", ["sides", "pairs", "items of the first", "items of the second"], rows)
