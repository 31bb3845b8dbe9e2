"""How results are shown: one line for each space, or JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def print_evaluations(
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
