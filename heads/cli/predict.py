"""`python -m heads predict`: attributes of every item, as a table."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    print_json,
    print_table,
    store_argument,
    warn,
    where_option,
)
from embed.wording import counted
from heads.cli.group import main
from heads.cli.train_options import join_option

if TYPE_CHECKING:
    from heads.predicting import AttributeSummary, Predicted

SHOWN_CLASSES = 3


@main.command()
@store_argument
@click.argument("head", type=click.Path(dir_okay=False, path_type=Path))
@output_option("The table to write: a .csv or .parquet file.")
@click.option(
    "--layout",
    type=click.Choice(["table", "meesho"]),
    default="table",
    help="table: a class and its probability for each attribute. meesho: id, Category, len and "
    "the attributes, 'dummy' where a category has none.",
)
@where_option
@join_option
@force_option
@json_option
def predict(
    store: Path,
    head: Path,
    output: Path,
    layout: Any,
    where: tuple[str, ...],
    join: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write what HEAD predicts of each item of STORE.

    Where STORE has a column of an attribute, the accuracy is told as well, over the items that the
    head was neither trained nor chosen on.
    """
    from embed.rows import Where
    from heads.predicting import predict_to_file

    predicted = predict_to_file(
        store,
        head,
        output,
        layout=layout,
        joined=[Path(path) for path in join],
        where=[Where.parse(text) for text in where],
        force=force,
    )
    _report(predicted, as_json=as_json)


def _report(predicted: "Predicted", *, as_json: bool) -> None:
    for note in predicted.notes:
        warn(note)
    if as_json:
        print_json({**asdict(predicted), "output": str(predicted.output)})
        return
    header = ["attribute", "predicted", "classes", "most frequent", "mean probability"]
    is_judged = any(summary.num_judged for summary in predicted.attributes)
    rows = [
        [*_cells(summary), *(_judged(summary) if is_judged else [])]
        for summary in predicted.attributes
    ]
    title = f"{predicted.output}: {counted(predicted.num_rows, 'row')}"
    print_table(title, [*header, *(["accuracy on unseen rows"] if is_judged else [])], rows)


def _cells(summary: "AttributeSummary") -> Sequence[str]:
    frequent = [f"{name} ({count:,})" for name, count in summary.classes.items()]
    mean = summary.mean_probability
    return [
        summary.attribute,
        f"{sum(summary.classes.values()):,}",
        f"{len(summary.classes):,}",
        ", ".join([*frequent[:SHOWN_CLASSES], *(["…"] if len(frequent) > SHOWN_CLASSES else [])]),
        "–" if mean is None else f"{mean:.4f}",
    ]


def _judged(summary: "AttributeSummary") -> Sequence[str]:
    if summary.accuracy is None:
        return ["–"]
    return [f"{summary.accuracy:.4f} of {summary.num_judged:,}"]
