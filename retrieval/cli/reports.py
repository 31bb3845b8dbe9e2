"""How results are shown: one line for each space, or JSON."""

from typing import TYPE_CHECKING, Any

from embed.options import print_json, print_table, warn

if TYPE_CHECKING:
    from retrieval.evaluation.evaluations import Category, Evaluation
    from retrieval.thresholds.tuned import ThresholdResult

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


def print_result(values: dict[str, Any], as_json: bool) -> bool:
    """Warnings, and the JSON where it is asked for; False where a table should follow."""
    for message in values.get("warnings", ()):
        warn(message)
    if as_json:
        print_json(values)
    return as_json


def print_threshold(result: "ThresholdResult") -> None:
    """A tuned threshold on one line, with what it reaches."""
    from retrieval.evaluation.tables import interval_text, number_text

    shown = {
        "space": result.space,
        "row F1": number_text(result.row_f1),
        "95 % interval": interval_text(result.interval),
        "precision": number_text(result.precision),
        "recall": number_text(result.recall),
        "score ≥": number_text(result.score_threshold),
        "distance ≤": number_text(result.distance_threshold),
    }
    if result.interval is None:
        del shown["95 % interval"]
    title = f"{result.num_rows:,} rows, k = {result.k}, threshold: {result.protocol}"
    print_table(title, list(shown), [list(shown.values())])


def print_evaluation(result: "Evaluation") -> None:
    """The threshold, then a line for each metric, then one for each category, if there are any."""
    from retrieval.evaluation.tables import TITLES, interval_text, number_text

    score, distance = map(number_text, (result.score_threshold, result.distance_threshold))
    at = "" if result.score_threshold is None else f": score ≥ {score}, distance ≤ {distance}"
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
    if result.by is not None:
        names = [name for name in BY_CATEGORY if name in result.metrics]
        header = [result.by, "rows", "with matches", *(TITLES[name] for name in names)]
        print_table("", header, [_category_row(row, names) for row in result.categories])


def about_rows(result: "Evaluation") -> str:
    """On how many rows, with which k and whose threshold."""
    rows = f"{result.num_rows:,} rows"
    if result.num_gallery != result.num_rows:
        rows = f"{result.num_rows:,} queries among {result.num_gallery:,} rows"
    return f"{rows}, k = {result.k}, threshold: {result.protocol}"


def _category_row(category: "Category", names: list[str]) -> list[str]:
    from retrieval.evaluation.tables import number_text

    value = "(none)" if category.value is None else category.value
    counts = [f"{category.num_rows:,}", f"{category.num_queries:,}"]
    return [value, *counts, *(number_text(category.metrics[name]) for name in names)]
