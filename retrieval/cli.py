"""The command lines of `python -m retrieval`: each is one call of a library function."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    CONTEXT,
    CommandGroup,
    force_option,
    json_option,
    output_option,
    print_json,
    print_table,
    split_column_option,
    store_argument,
    warn,
    where_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.evaluation import Evaluation
    from retrieval.thresholds import ThresholdResult

AT_THRESHOLD = {
    "space": "space",
    "row F1": "row_f1",
    "95 % interval": "interval",
    "precision": "precision",
    "recall": "recall",
    "score ≥": "score_threshold",
    "distance ≤": "distance_threshold",
}
RANKING = {
    "space": "space",
    "mAP": "map",
    "MRR": "mrr",
    "recall@1": "recall_at_1",
    "recall@5": "recall_at_5",
    "recall@10": "recall_at_10",
}
COMPARISON = {
    "space": "space",
    "row F1": "row_f1",
    "95 % interval": "interval",
    "mAP": "map",
    "recall@1": "recall_at_1",
    "score ≥": "score_threshold",
    "distance ≤": "distance_threshold",
}

space_option = click.option("--space", required=True, metavar="NAME", help="The space to search.")
label_option = click.option(
    "--label", required=True, metavar="COLUMN", help="Rows with equal values are true matches."
)
unseen_by_option = click.option(
    "--unseen-by",
    multiple=True,
    metavar="SPACE",
    help="Leave out rows that the head of this space has seen, too; repeatable.",
)
seed_option = click.option(
    "--seed", default=0, help="Seed of the folds and of the draws for the interval."
)
k_option = click.option(
    "--k",
    type=int,
    help="Neighbours of each item, itself included.  [default: the threshold file's, else 50]",
)


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def main() -> None:
    """Tune a threshold, see what it reaches, and write the matches."""


@main.command("tune-threshold")
@store_argument
@space_option
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
    from retrieval.thresholds import TuneSettings
    from retrieval.tuning import tune_to_file

    force = options.pop("force")
    settings = TuneSettings(**_selected(options))
    with Store(store) as opened:
        result = tune_to_file(opened, settings, output, force=force)
    if not _print(result.to_json(), as_json):
        _print_evaluations([result], AT_THRESHOLD)
        if output is not None:
            click.echo(f"threshold: {output}, curve: {output.with_suffix('.png')}")


@main.command()
@store_argument
@space_option
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
    from retrieval.evaluation import EvaluateSettings
    from retrieval.evaluation import evaluate as evaluate_space

    settings = EvaluateSettings(**_with_threshold(_selected(options)))
    with Store(store) as opened:
        result = evaluate_space(opened, settings)
    if not _print(result.to_json(), as_json):
        _print_evaluations([result], AT_THRESHOLD)
        _print_evaluations([result], RANKING)


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
    from retrieval.evaluation import EvaluateSettings
    from retrieval.evaluation import compare as compare_spaces

    settings = EvaluateSettings(space=spaces[0], **_selected(options))
    with Store(store) as opened:
        results = compare_spaces(opened, spaces, settings)
    for message in results[0].warnings:
        warn(message)
    if as_json:
        print_json({"spaces": {result.space: result.to_json() for result in results}})
    else:
        _print_evaluations(results, COMPARISON)


@main.command()
@store_argument
@click.option(
    "--threshold", required=True, metavar="FILE_OR_SCORE", help="A threshold file or a score."
)
@output_option("CSV file for the matches.")
@click.option("--space", metavar="NAME", help="The space to search; a threshold file knows it.")
@k_option
@where_option
@click.option("--id-name", default="id", help="Header of the column with the ids.")
@click.option("--matches-name", default="matches", help="Header of the column with the matches.")
@click.option("--separator", default=" ", help="Stands between ids.")
@force_option
@json_option
def match(store: Path, as_json: bool, **options: Any) -> None:
    """Write each item's matches to a CSV file: itself first, then others, best first."""
    from embed.store import Store
    from retrieval.matching import MatchSettings
    from retrieval.matching import match as write_matches

    settings = MatchSettings(**_with_threshold(_selected(options)))
    with Store(store) as opened:
        result = write_matches(opened, settings)
    if not _print(result.to_json(), as_json):
        click.echo(
            f"{result.num_rows:,} items with {result.num_matches:,} matches besides themselves, "
            f"{result.num_alone:,} alone: {result.path} "
            f"(space '{result.space}', score ≥ {result.score_threshold:.4f})"
        )


def _selected(options: dict[str, Any]) -> dict[str, Any]:
    """The options with restrictions read."""
    from embed.rows import Where

    return options | {"where": tuple(Where.parse(text) for text in options["where"])}


def _with_threshold(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the threshold read, where one is given."""
    from retrieval.threshold_files import parse_threshold

    given = options["threshold"]
    return options | {"threshold": None if given is None else parse_threshold(given)}


def _print(values: dict[str, Any], as_json: bool) -> bool:
    """Warnings, and the JSON where it is asked for; False where a table should follow."""
    for message in values.get("warnings", ()):
        warn(message)
    if as_json:
        print_json(values)
    return as_json


def _print_evaluations(
    results: "Sequence[ThresholdResult | Evaluation]", columns: Mapping[str, str]
) -> None:
    """One line for each space, with the columns that are known."""
    shown = {
        header: name for header, name in columns.items() if getattr(results[0], name) is not None
    }
    rows = [[_text(getattr(result, name)) for name in shown.values()] for result in results]
    first = results[0]
    title = f"{first.num_rows:,} rows, k = {first.k}, threshold: {first.protocol}"
    print_table(title, list(shown), rows)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, tuple):
        return " – ".join(map(_text, value))
    return str(value)
