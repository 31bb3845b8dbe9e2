"""`python -m retrieval tune-threshold`."""

from pathlib import Path
from typing import Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    split_column_option,
    store_argument,
    where_option,
)
from retrieval.cli.group import main
from retrieval.cli.options import (
    label_option,
    seed_option,
    selected,
    spaces_option,
    unseen_by_option,
)
from retrieval.cli.reports import AT_THRESHOLD, print_evaluations, print_result


@main.command("tune-threshold")
@store_argument
@spaces_option
@label_option
@output_option("JSON file for the threshold; its curve goes beside it as .png.", required=False)
@click.option("--k", default=50, help="Neighbours of each item, itself included.")
@click.option(
    "--protocol",
    type=click.Choice(["cross-fit", "holdout", "same-rows"]),
    default="cross-fit",
    help="cross-fit: each fifth of the labels is reported at the threshold tuned on the others; "
    "holdout: half and half; same-rows: tuned and reported on the same rows, optimistic.",
)
@unseen_by_option
@where_option
@split_column_option
@seed_option
@force_option
@json_option
def tune_threshold(store: Path, output: Path | None, as_json: bool, **options: Any) -> None:
    """Find the score threshold with the best mean row F1, exactly.

    The threshold takes exactly the pairs of the best of all distinct cuts, and lies halfway to the
    next lower score.
    """
    from embed.store import Store
    from retrieval.thresholds.tuned import TuneSettings
    from retrieval.thresholds.tuning import tune_to_file

    force = options.pop("force")
    settings = TuneSettings(**selected(options))
    with Store(store) as opened:
        result = tune_to_file(opened, settings, output, force=force)
    if not print_result(result.to_json(), as_json):
        print_evaluations([result], AT_THRESHOLD)
        if output is not None:
            click.echo(f"threshold: {output}, curve: {output.with_suffix('.png')}")
