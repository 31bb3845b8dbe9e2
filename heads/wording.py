"""How metrics and splits are named to people, in tables, cards and messages."""

from collections.abc import Mapping

from embed.rows import Split

METRIC_NAMES = {
    "row_f1": "row F1",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "loss": "training loss",
    "epoch": "kept epoch",
}

NO_FIGURES = ("epoch", "loss")


def figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that say how good a head is, and not how it was trained."""
    return {name: value for name, value in metrics.items() if name not in NO_FIGURES}


def spoken_metric(name: str) -> str:
    """A metric's name as people write it."""
    return METRIC_NAMES.get(name, name.replace("_", " "))


def spoken_split(split: Split) -> str:
    """How rows fell into train, val and test, to follow "rows are split"."""
    if split.column is not None:
        return f"by the column `{split.column}`"
    within = f", in equal shares of each `{split.stratify}`" if split.stratify else ""
    rule = f"by a hash of `{split.group}`{within}, with seed {split.seed}"
    if split.folds is not None:
        return (
            f"into {split.folds} folds {rule}: fold {split.fold} is held out, fold "
            f"{split.val_fold} is validation"
        )
    shares = "/".join(f"{100 * share:g}" for share in (split.train, split.val, split.test))
    return f"{shares} into train/val/test {rule}"
