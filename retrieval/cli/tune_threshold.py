"""`python -m retrieval tune-threshold`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    store_argument,
    under,
)
from retrieval.cli.finding_options import finding_options, take_finding
from retrieval.cli.group import main
from retrieval.cli.options import (
    LABEL_HELP,
    combine_option,
    decisions_option,
    read_weights,
    refuse_combine_of_one,
    refuse_idle,
    seed_option,
    selected,
    signed_weights_option,
    spaces_option,
    tune_weights_option,
    weight_option,
)
from retrieval.cli.reports import print_result, print_threshold
from retrieval.cli.rule_options import rule_options, take_rules
from retrieval.cli.side_options import labelled_options

if TYPE_CHECKING:
    from retrieval.thresholds.tune_settings import TuneSettings


@main.command("tune-threshold")
@store_argument
@spaces_option
@click.option(
    "--label", metavar="COLUMN", help=f"{LABEL_HELP} Without it nothing but --decisions counts."
)
@output_option("JSON file for the threshold; its picture goes beside it as .png.", required=False)
@click.option(
    "--k",
    type=int,
    help="Neighbours of each item in each space, itself included unless it looks among a gallery.  "
    "[default: 50]",
)
@under(
    "Several spaces",
    combine_option,
    weight_option,
    tune_weights_option,
    signed_weights_option,
)
@under(
    "What matches",
    click.option(
        "--objective",
        type=click.Choice(["row-f1", "pair-f1", "recall-at-precision", "precision-at-recall"]),
        help="What the threshold is the best for; all but the first are of pairs.  "
        "[default: row-f1, or pair-f1 without --label]",
    ),
    click.option("--wanted", type=float, help="The precision or recall that must be reached."),
    *rule_options,
    click.option(
        "--threshold-by", metavar="COLUMN", help="Thresholds of their own for each value of it."
    ),
    click.option(
        "--shrinkage",
        default=100.0,
        help="--threshold-by: so many rows of a category weigh as much as the common threshold.",
    ),
    click.option(
        "--calibrate", is_flag=True, help="Keep the probability of being a match by score."
    ),
)
@under(
    "How it is reported",
    click.option(
        "--protocol",
        type=click.Choice(["cross-fit", "holdout", "same-rows"]),
        default="cross-fit",
        help="cross-fit: each fifth of the labels is reported at the threshold tuned on the "
        "others; holdout: half and half; same-rows: tuned and reported on the same rows, "
        "optimistic.",
    ),
    seed_option,
)
@decisions_option(
    "What people have decided of pairs in this file goes before the labels; nothing else counts "
    "without --label."
)
@labelled_options
@finding_options
@force_option
@json_option
def tune_threshold(
    store: Path, output: Path | None, gallery_store: Path | None, as_json: bool, **options: Any
) -> None:
    """Find the score threshold that is exactly best.

    All distinct scores are tried. The threshold takes exactly the pairs of the best cut, and lies
    halfway to the next lower score.
    """
    from embed.store import Store
    from retrieval.thresholds.threshold_json import to_json
    from retrieval.thresholds.tuning_files import tune_to_file

    refuse_idle({"--shrinkage": "--threshold-by", "--signed-weights": "--tune-weights"})
    refuse_combine_of_one(options)
    force = options.pop("force")
    settings = _settings(selected(options))
    with ExitStack() as stack:
        opened = stack.enter_context(Store(store))
        gallery = stack.enter_context(Store(gallery_store)) if gallery_store else None
        result = tune_to_file(opened, settings, output, gallery_store=gallery, force=force)
    if not print_result(to_json(result), as_json):
        print_threshold(result, output)
        if output is not None:
            shown = f", picture: {output.with_suffix('.png')}" if result.picture else ""
            click.echo(f"threshold: {output}{shown}")


def _settings(options: dict[str, Any]) -> "TuneSettings":
    """The options as settings: those of rules and objectives in objects of their own."""
    from retrieval.thresholds.objectives import Objective
    from retrieval.thresholds.tune_settings import TuneSettings

    default = "row-f1" if options["label"] else "pair-f1"
    objective = Objective(options.pop("objective") or default, options.pop("wanted"))
    weights, rules = read_weights(options.pop("weights")), take_rules(options)
    options["combine"] = options["combine"] or "concat"
    finding = take_finding(options)
    return TuneSettings(
        **options, weights=weights, rules=rules, objective=objective, finding=finding
    )
