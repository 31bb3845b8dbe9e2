"""How results are shown: one line for each space, or JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from embed.options import print_json, print_table, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.evaluation.evaluate import Evaluation
    from retrieval.thresholds.tuned import ThresholdResult

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
MARKS = {"concat": "+", "sum": "+", "union": "or", "intersection": "and"}
COMPARISON = {
    "space": "space",
    "row F1": "row_f1",
    "95 % interval": "interval",
    "mAP": "map",
    "recall@1": "recall_at_1",
    "score ≥": "score_threshold",
    "distance ≤": "distance_threshold",
}


def print_result(values: dict[str, Any], as_json: bool) -> bool:
    """Warnings, and the JSON where it is asked for; False where a table should follow."""
    for message in values.get("warnings", ()):
        warn(message)
    if as_json:
        print_json(values)
    return as_json


def print_threshold(result: "ThresholdResult") -> None:
    """A tuned threshold with what it reaches, on one line; then those of categories, if any."""
    rule, reached = result.rule, result.reached
    shown = {
        "space": f" {MARKS[rule.combine]} ".join(rule.spaces),
        "row F1": _text(reached["row_f1"]),
        "95 % interval": None if result.interval is None else _text(result.interval),
        "precision": _text(reached["precision"]),
        "recall": _text(reached["recall"]),
        "score ≥": _each(rule.thresholds),
        "distance ≤": _each([1 - score for score in rule.thresholds]),
    }
    known = {header: text for header, text in shown.items() if text is not None}
    title = f"{result.num_rows:,} rows, k = {rule.k}, threshold: {result.protocol}"
    print_table(title, list(known), [list(known.values())])
    click.echo(
        f"pairs: F1 {reached['pair_f1']:.4f}, precision {reached['pair_precision']:.4f}, "
        f"recall {reached['pair_recall']:.4f}; "
        f"recall within reach of k: {result.recall_within_k:.4f}"
    )
    if len(set(rule.spaces.values())) > 1:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in rule.spaces.items())
        click.echo(f"shares of the spaces: {shares}")
    if rule.by_category:
        rows = [[name, _each(own)] for name, own in rule.by_category.items()]
        print_table(f"thresholds by {rule.category}", [str(rule.category), "score ≥"], rows)


def _each(values: "Sequence[float]") -> str:
    return ", ".join(map(_text, values))


def print_evaluations(results: "Sequence[Evaluation]", columns: Mapping[str, str]) -> None:
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
