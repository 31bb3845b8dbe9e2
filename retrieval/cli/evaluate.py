"""`python -m retrieval evaluate`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from embed.options import (
    json_option,
    store_argument,
    under,
)
from retrieval.cli.finding_options import finding_options, take_finding
from retrieval.cli.group import main
from retrieval.cli.options import (
    combine_option,
    decisions_option,
    k_option,
    label_option,
    read_weights,
    refuse_combine_of_one,
    refuse_untuned_objective,
    seed_option,
    selected,
    spaces_option,
    weight_option,
    with_threshold,
)
from retrieval.cli.reports import print_evaluation, print_result
from retrieval.cli.side_options import labelled_options


@main.command()
@store_argument
@spaces_option
@label_option
@click.option(
    "--threshold",
    metavar="FILE_OR_SCORE",
    help="A threshold file or a score.  [default: tuned by cross-fit]",
)
@click.option("--ranking-only", is_flag=True, help="No threshold: only how the space ranks.")
@click.option("--by", metavar="COLUMN", help="Show each value of this column on its own, too.")
@click.option(
    "--objective",
    type=click.Choice(["row-f1", "pair-f1"]),
    default="row-f1",
    help="What the cross-fitted threshold is the best for.",
)
@decisions_option("What people have decided of pairs in this file goes before the labels.")
@k_option
@seed_option
@under("Several spaces", combine_option, weight_option)
@labelled_options
@finding_options
@json_option
def evaluate(store: Path, gallery_store: Path | None, as_json: bool, **options: Any) -> None:
    """Show what a space reaches: row F1 at a threshold, and how it ranks.

    Row metrics count the item itself as a match; pairs and rankings (mAP, MRR, recall@k and the
    others) do not. Intervals are of 95 %, drawn over groups of equal labels.
    """
    from embed.store import Store
    from retrieval.evaluation.evaluate import EvaluateSettings
    from retrieval.evaluation.evaluate import evaluate as evaluate_space
    from retrieval.thresholds.objectives import Objective

    refuse_combine_of_one(options)
    refuse_untuned_objective(options)
    options["objective"] = Objective(options["objective"])
    finding = take_finding(options)
    options["weights"] = read_weights(options["weights"])
    settings = EvaluateSettings(**with_threshold(selected(options)), finding=finding)
    with ExitStack() as stack:
        opened = stack.enter_context(Store(store))
        gallery = None if gallery_store is None else stack.enter_context(Store(gallery_store))
        result = evaluate_space(opened, settings, gallery)
    if not print_result(result.to_json(), as_json):
        print_evaluation(result)
