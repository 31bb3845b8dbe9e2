"""`python -m retrieval compare`."""

from pathlib import Path
from typing import Any

import click

from embed.options import (
    json_option,
    print_json,
    split_column_option,
    store_argument,
    warn,
    where_option,
)
from retrieval.cli.group import main
from retrieval.cli.options import k_option, label_option, seed_option, selected, unseen_by_option
from retrieval.cli.reports import COMPARISON, print_evaluations


@main.command()
@store_argument
@click.option("--space", "spaces", multiple=True, required=True, metavar="NAME", help="Repeat it.")
@label_option
@k_option
@unseen_by_option
@where_option
@split_column_option
@seed_option
@json_option
def compare(store: Path, spaces: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Compare spaces on the same rows, each at its own cross-fitted threshold.

    Rows that the head of any of the spaces has seen are left out for all of them.
    """
    from embed.store import Store
    from retrieval.evaluation.evaluate import EvaluateSettings
    from retrieval.evaluation.evaluate import compare as compare_spaces

    settings = EvaluateSettings(spaces=spaces, **selected(options))
    with Store(store) as opened:
        results = compare_spaces(opened, spaces, settings)
    for message in results[0].warnings:
        warn(message)
    if as_json:
        print_json({"spaces": {result.space: result.to_json() for result in results}})
    else:
        print_evaluations(results, COMPARISON)
