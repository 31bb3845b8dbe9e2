"""`python -m retrieval compare`."""

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
    split_column_option,
    under,
    warn,
    where_option,
)
from retrieval.cli.finding_options import HEADING, plain_options, take_finding
from retrieval.cli.group import main
from retrieval.cli.options import (
    include_training_option,
    is_given,
    label_option,
    refuse_idle,
    refuse_untuned_objective,
    seed_option,
    selected,
    signed_weights_option,
    tune_weights_option,
    unseen_by_option,
)
from retrieval.cli.refinement_options import REFINEMENTS
from retrieval.cli.reports import about_rows
from retrieval.cli.rule_options import rule_options, take_rules
from retrieval.cli.side_options import HEADING as ITEMS
from retrieval.cli.side_options import gallery_where_option, query_where_option

if TYPE_CHECKING:
    from retrieval.evaluation.comparison import Comparison


LAYOUTS = {".md": "markdown", ".csv": "csv", ".json": "json"}
"""How a table is written, by the suffix of its file."""


@main.command()
@click.argument(
    "stores",
    nargs=-1,
    required=True,
    metavar="STORE…",
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option(
    "--space",
    "spaces",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A space of any of the stores, or a combination: a+b by the mean of the scores, "
    "0.8*a+0.2*b by a weighted one, 'a|b' by union (one score is enough), 'a&b' by intersection. "
    "Repeat it.",
)
@label_option
@click.option(
    "--k",
    type=int,
    help="Neighbours of each item in each space, itself included unless it looks among a gallery.  "
    "[default: 50]",
)
@click.option(
    "--objective",
    type=click.Choice(["row-f1", "pair-f1"]),
    default="row-f1",
    help="What the cross-fitted threshold is the best for.",
)
@click.option("--ranking-only", is_flag=True, help="Compare rankings; no threshold is tuned.")
@click.option(
    "--against",
    metavar="LINE",
    help="Draw differences from this line, from the best, or from best-space, the best of one "
    "space; the best by what --objective is about.  [default: the first]",
)
@under(
    "Several spaces",
    click.option(
        "--combine",
        type=click.Choice(["concat", "sum"]),
        default="concat",
        help="What a+b is: the k nearest by the mean of the scores, or among the k nearest in any.",
    ),
    tune_weights_option,
    signed_weights_option,
)
@under("What matches", *rule_options)
@under(
    ITEMS,
    where_option,
    query_where_option,
    gallery_where_option,
    split_column_option,
    unseen_by_option,
    include_training_option,
)
@under(
    HEADING,
    *plain_options,
    click.option(
        "--neighbours",
        multiple=True,
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Start from this Parquet file in the line of its spaces; repeatable.",
    ),
    *REFINEMENTS,
)
@seed_option
@click.option(
    "--format",
    "layout",
    type=click.Choice(["text", "markdown", "csv", "json"]),
    default="text",
    help="Of what is printed, and of the file of -o, where text is Markdown; without it the file "
    "goes by its suffix.",
)
@output_option("Write the table here as well: .md, .csv or .json.", required=False)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Draw a bar with its interval for each line.",
)
@force_option
@json_option
def compare(
    stores: tuple[Path, ...],
    layout: str,
    output: Path | None,
    plot: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare spaces on the same rows, each at its own cross-fitted threshold.

    Several stores are joined by id: the first says which items and columns there are. Rows that the
    head of any of the spaces has seen are left out for all of them. The best line has a star, by
    what --objective is about; a difference is clear where its 95 % interval, drawn on the same
    groups for both, leaves out 0.
    """
    from embed.errors import SettingsError
    from embed.files import refuse_existing
    from embed.store import Store
    from retrieval.evaluation.compare import CompareSettings
    from retrieval.evaluation.compare import compare as compare_spaces
    from retrieval.thresholds.objectives import Objective

    written_as = layout if is_given("--format") else _layout_of(output)
    if plot is not None and plot.suffix != ".png":
        raise SettingsError(f"--plot names a picture that ends in .png: found {plot}")
    for path in (output, plot):
        if path is not None:
            refuse_existing(path, force=force)
    refuse_untuned_objective(options)
    refuse_idle({"--signed-weights": "--tune-weights"})
    options["objective"] = Objective(options["objective"])
    neighbours = options.pop("neighbours")
    rules, finding = take_rules(options), take_finding(options)
    settings = CompareSettings(
        **selected(options), rules=rules, finding=finding, neighbours=neighbours
    )
    with ExitStack() as stack:
        opened = [stack.enter_context(Store(path)) for path in stores]
        comparison = compare_spaces(opened, settings)
    for message in comparison.warnings:
        warn(message)
    _write(comparison, written_as, output, plot)
    _show(comparison, "json" if as_json else layout)
    files = {"table": output, "picture": plot}
    written = [f"{what}: {path}" for what, path in files.items() if path is not None]
    if written and layout == "text" and not as_json:
        click.echo(", ".join(written))


def _layout_of(output: Path | None) -> str:
    """The layout that the suffix of the table's file says."""
    from embed.errors import SettingsError

    if output is None:
        return "text"
    if output.suffix not in LAYOUTS:
        raise SettingsError(
            f"-o names a file that ends in {', '.join(LAYOUTS)}: found {output}; name it so, or "
            f"give --format"
        )
    return LAYOUTS[output.suffix]


def _write(comparison: "Comparison", layout: str, output: Path | None, plot: Path | None) -> None:
    from embed.files import replacing

    if output is not None:
        with replacing(output) as temporary:
            temporary.write_text(_text(comparison, layout), encoding="utf-8")
    if plot is not None:
        from retrieval.evaluation.plots import plot_comparison

        plot_comparison(comparison, plot)


def _text(comparison: "Comparison", layout: str) -> str:
    import json

    from retrieval.evaluation.tables import as_csv, as_markdown

    if layout == "json":
        return json.dumps(comparison.to_json(), indent=2, ensure_ascii=False) + "\n"
    return as_csv(comparison) if layout == "csv" else as_markdown(comparison)


def _show(comparison: "Comparison", layout: str) -> None:
    from retrieval.evaluation.tables import differences_table, metrics_table, summary_table

    if layout == "json":
        print_json(comparison.to_json())
    elif layout == "text":
        # Several tables: one would be too wide for a terminal.
        print_table(about_rows(comparison.lines[0].evaluation), *summary_table(comparison))
        print_table("", *metrics_table(comparison))
        if len(comparison.lines) > 1:
            print_table("", *differences_table(comparison))
    else:
        click.echo(_text(comparison, layout), nl=False)
