"""`python -m retrieval evaluate`."""

from pathlib import Path
from typing import Any

import click

from embed.options import (
    json_option,
    split_column_option,
    store_argument,
    where_option,
)
from retrieval.cli.group import main
from retrieval.cli.options import (
    k_option,
    label_option,
    seed_option,
    selected,
    spaces_option,
    unseen_by_option,
    with_threshold,
)
from retrieval.cli.reports import AT_THRESHOLD, RANKING, print_evaluations, print_result


@main.command()
@store_argument
@spaces_option
@label_option
@click.option(
    "--threshold",
    metavar="FILE_OR_SCORE",
    help="A threshold file or a score.  [default: tuned by cross-fit]",
)
@k_option
@unseen_by_option
@where_option
@split_column_option
@seed_option
@json_option
def evaluate(store: Path, as_json: bool, **options: Any) -> None:
    """Show what a space reaches: row F1 at a threshold, and how it ranks.

    Row metrics count the item itself as a match; mAP, MRR and recall@k do not.
    """
    from embed.store import Store
    from retrieval.evaluation.evaluate import EvaluateSettings
    from retrieval.evaluation.evaluate import evaluate as evaluate_space

    settings = EvaluateSettings(**with_threshold(selected(options)))
    with Store(store) as opened:
        result = evaluate_space(opened, settings)
    if not print_result(result.to_json(), as_json):
        print_evaluations([result], AT_THRESHOLD)
        print_evaluations([result], RANKING)
