"""How results are shown: one line for each space, or JSON."""

from typing import TYPE_CHECKING, Any

import click

from embed.options import print_json, print_table, warn
from embed.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.evaluation.evaluations import Category, Evaluation
    from retrieval.thresholds.match_rules import MatchRule
    from retrieval.thresholds.tuning import ThresholdResult

MARKS = {"concat": "+", "sum": "+", "union": "or", "intersection": "and"}
"""What stands between spaces that are combined."""

MEANINGS = {
    "row_f1": "of what each item is matched with, itself included",
    "precision": "the share of that which is true",
    "recall": "the share of the true items in it",
    "pair_f1": "of pairs of two items",
    "pair_precision": "the share of the matched pairs that are true",
    "pair_recall": "the share of the true pairs that are matched",
    "map": "average precision in the k nearest, 1 where only true matches come first",
    "map_trec": "the same divided by all true matches, as trec_eval does",
    "mrr": "1 / rank of the nearest true match, 0 beyond k",
    "recall@1": "the nearest is a true match",
    "recall@5": "one of the 5 nearest is",
    "recall@10": "one of the 10 nearest is",
    "found@1": "the share of the true matches that the nearest is",
    "found@5": "the share that is among the 5 nearest",
    "found@10": "the share that is among the 10 nearest",
    "precision@5": "the share of the 5 nearest that is true",
    "precision@10": "the share of the 10 nearest that is true",
    "mp@5": "the share of the min(R, 5) nearest that is true",
    "r_precision": "the share of the R nearest that is true, R true matches in all",
    "map@r": "average precision in the R nearest",
}
"""What each metric says, in a few words."""

BY_CATEGORY = ("row_f1", "pair_f1", "map", "mrr", "recall@1", "recall@5", "mp@5")
"""The metrics that are shown for each category."""


MOST_CATEGORIES = 20
"""How many thresholds of categories are printed."""

NAMES = {
    "row_f1": "row F1",
    "pair_f1": "F1 of pairs",
    "pair_precision": "precision of pairs",
    "pair_recall": "recall of pairs",
}
OBJECTIVES: dict[str, tuple[str, str | None]] = {
    "row-f1": ("row_f1", None),
    "pair-f1": ("pair_f1", None),
    "recall-at-precision": ("pair_recall", "pair_precision"),
    "precision-at-recall": ("pair_precision", "pair_recall"),
}
"""The figure that each objective makes the best, and the one that has to be reached."""


def print_result(values: dict[str, Any], as_json: bool) -> bool:
    """Warnings, and the JSON where it is asked for; False where a table should follow."""
    for message in values.get("warnings", ()):
        warn(message)
    if as_json:
        print_json(values)
    return as_json


def print_threshold(result: "ThresholdResult", output: "Path | None" = None) -> None:
    """A tuned threshold with what it reaches, on one line; then those of categories, if any.

    `output` is the file that it was saved to.
    """
    from retrieval.evaluation.tables import interval_text, number_text
    from retrieval.thresholds.wording import distance_text, threshold_text

    rule, reached = result.rule, result.reached
    shown = {
        "space": f" {MARKS[rule.combine]} ".join(rule.spaces),
        "row F1": number_text(reached["row_f1"]),
        "95 % interval": None if result.interval is None else interval_text(result.interval),
        "precision": number_text(reached["precision"]),
        "recall": number_text(reached["recall"]),
        "score ≥": threshold_text(rule.thresholds),
        "distance ≤": distance_text(rule.thresholds),
    }
    known = {header: text for header, text in shown.items() if text is not None}
    title = f"{_rows_text(result)}, k = {result.k}, threshold: {result.protocol}"
    print_table(title, list(known), [list(known.values())])
    pairs = (number_text(reached[f"pair_{name}"]) for name in ("f1", "precision", "recall"))
    click.echo(
        "pairs: F1 {}, precision {}, recall {}; ".format(*pairs)
        + f"recall within reach of k: {result.recall_within_k:.4f}"
    )
    click.echo(f"left alone, all items have row F1 {result.row_f1_alone:.4f}")
    click.echo(_objective_line(result))
    if len(set(rule.spaces.values())) > 1:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in rule.spaces.items())
        click.echo(f"shares of the spaces: {shares}")
    if rule.by_category:
        _print_categories(rule, output)


def _rows_text(result: "ThresholdResult") -> str:
    if result.is_self_join:
        return counted(result.num_rows, "row")
    return f"{counted(result.num_rows, 'query')} among {counted(result.num_gallery, 'row')}"


def _objective_line(result: "ThresholdResult") -> str:
    """What the objective reached where it was the best."""
    from retrieval.evaluation.tables import number_text

    objective, reached = result.objective, result.where_tuned
    name, bound = OBJECTIVES[objective.name]
    text = f"objective {objective.name}: {NAMES[name]} {number_text(reached[name])}"
    if bound is not None:
        found, wanted = number_text(reached[bound]), objective.wanted
        text += f" at {NAMES[bound]} {found} (wanted: {wanted:g} or more)"
    return f"{text}, on the rows that it was tuned on"


def _print_categories(rule: "MatchRule", output: "Path | None") -> None:
    """The thresholds of the first categories, and how many more there are."""
    from retrieval.thresholds.wording import threshold_text

    rows = [[name, threshold_text(own)] for name, own in rule.by_category.items()]
    shown = rows[:MOST_CATEGORIES]
    print_table(f"thresholds by {rule.category}", [str(rule.category), "score ≥"], shown)
    if len(rows) > len(shown):
        where = "give -o FILE for all" if output is None else f"all in {output}"
        click.echo(f"… and {len(rows) - len(shown):,} more ({where})")


def print_evaluation(result: "Evaluation") -> None:
    """The threshold, then a line for each metric, then one for each category, if there are any."""
    from retrieval.evaluation.tables import TITLES, interval_text, number_text
    from retrieval.thresholds.wording import cut_text

    at = f": {cut_text(result.thresholds)}" if result.thresholds else ""
    rows = [
        [
            TITLES[name],
            number_text(result.metrics[name]),
            interval_text(result.intervals[name]),
            meaning,
        ]
        for name, meaning in MEANINGS.items()
        if name in result.metrics
    ]
    header = [f"space {result.space}", "mean", "95 % interval", "what it is the mean of"]
    print_table(about_rows(result) + at, header, rows)
    if result.row_f1_alone is not None:
        click.echo(f"left alone, all items have row F1 {result.row_f1_alone:.4f}")
    if result.by is not None:
        names = [name for name in BY_CATEGORY if name in result.metrics]
        header = [result.by, "rows", "with matches", *(TITLES[name] for name in names)]
        print_table("", header, [_category_row(row, names) for row in result.categories])


def about_rows(result: "Evaluation") -> str:
    """On how many rows, with which k and whose threshold."""
    rows = counted(result.num_rows, "row")
    if not result.is_self_join:
        rows = f"{counted(result.num_rows, 'query')} among {counted(result.num_gallery, 'row')}"
    return f"{rows}, k = {result.k}, threshold: {result.protocol}"


def _category_row(category: "Category", names: list[str]) -> list[str]:
    from retrieval.evaluation.tables import number_text

    value = "(none)" if category.value is None else category.value
    counts = [f"{category.num_rows:,}", f"{category.num_queries:,}"]
    return [value, *counts, *(number_text(category.metrics.get(name)) for name in names)]
