"""`python -m heads compare`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    print_json,
    print_table,
    warn,
)
from heads.cli.group import main
from heads.cli.task_options import open_stores
from heads.cli.train_options import join_option

if TYPE_CHECKING:
    from heads.studies.comparison import Comparison
    from retrieval.metrics.intervals import Difference


@main.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN…",
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["text", "markdown", "csv"]),
    default="text",
    help="Of the table.",
)
@click.option(
    "--store",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Heads only: the store they were trained on, to draw each one's difference from the "
    "first on the same validation rows.",
)
@join_option
@output_option("Write the table here: Markdown, or CSV with --format csv.", required=False)
@force_option
@json_option
def compare(
    runs: tuple[Path, ...],
    layout: str,
    store: Path | None,
    join: tuple[str, ...],
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Set heads side by side: head files, HEAD.folds.json or HEAD.seeds.json.

    One row for each, with the settings that differ, and metrics with their 95 % intervals, or mean
    ± standard deviation of folds and seeds; the best value has a star. Those that were judged on
    different rows do not compare: a warning says so, and there is no star.
    """
    from embed.files import refuse_existing, replacing
    from heads.studies.comparison import as_csv, as_markdown, compare_runs, table
    from heads.studies.comparison import as_json as json_of

    if output is not None:
        refuse_existing(output, force=force)
    comparison = compare_runs(runs)
    pairs = [] if store is None else _differences(store, join, runs)
    for warning in comparison.warnings:
        warn(warning)
    header, rows = table(comparison)
    text = as_csv(comparison) if layout == "csv" else as_markdown(header, rows)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if as_json:
        print_json({**json_of(comparison), **_pairs_json(runs, pairs)})
    elif layout == "text":
        _print_lists(comparison, header, rows)
        _print_pairs(runs, pairs)
    else:
        click.echo(text, nl=False)


def _print_lists(comparison: "Comparison", header: list[str], rows: list[list[str]]) -> None:
    """Metrics and settings in a table each: together they would be too wide for a terminal."""
    at = 3 + len(comparison.settings)
    print_table("", [*header[:3], *header[at:]], [[*row[:3], *row[at:]] for row in rows])
    if comparison.settings:
        # A setting a line: there may be many of them.
        names = [row[0] for row in rows]
        values = [[header[n], *(row[n] for row in rows)] for n in range(3, at)]
        print_table("", ["setting", *names], values)


def _differences(store: Path, join: tuple[str, ...], runs: tuple[Path, ...]) -> "list[Difference]":
    from heads.head import load_head
    from heads.studies.pairing import heads_difference

    first, *others = ((path, load_head(path)) for path in runs)
    with ExitStack() as stack:
        stores = open_stores(stack, store, join)
        return [
            heads_difference(stores, first[1], head, (str(first[0]), str(path)))
            for path, head in others
        ]


def _pairs_json(runs: tuple[Path, ...], pairs: "list[Difference]") -> dict[str, Any]:
    if not pairs:
        return {}
    found = [
        {
            "head": str(path),
            "against": str(runs[0]),
            "metric": pair.metric,
            "difference": pair.value,
            "interval": pair.interval,
        }
        for path, pair in zip(runs[1:], pairs, strict=True)
    ]
    return {"differences": found}


def _print_pairs(runs: tuple[Path, ...], pairs: "list[Difference]") -> None:
    from heads.wording import spoken_metric

    if not pairs:
        return
    rows = [
        [
            f"{path} less {runs[0]}",
            spoken_metric(pair.metric),
            f"{pair.value:+.4f} ({pair.interval[0]:+.4f} – {pair.interval[1]:+.4f})",
            "yes" if pair.is_clear else "no",
        ]
        for path, pair in zip(runs[1:], pairs, strict=True)
    ]
    header = ["difference on the same rows", "metric", "95 % interval over groups", "clear"]
    print_table("", header, rows)
