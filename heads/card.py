"""The model card: what a head is, was trained on, and reached, for people to read."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from embed.files import replacing
from embed.rows import Split
from heads.info import HeadInfo, flattened


def write_card(info: HeadInfo, path: Path, picture: Path | None = None) -> None:
    """Write HEAD.md, with the curve of training where there is one."""
    with replacing(path) as temporary:
        temporary.write_text(card(info, path.stem, picture), encoding="utf-8")


def card(info: HeadInfo, name: str, picture: Path | None = None) -> str:
    """The card as Markdown."""
    return "\n".join(
        [
            f"# {name}",
            "",
            *_paragraphs(info),
            "## Metrics on the validation rows",
            "",
            *_metrics(info),
            *([f"![Loss and metric over the epochs]({picture.name})", ""] if picture else []),
            *_pairs(info.details.get("pairs", [])),
            *_calibration(info.details.get("calibration")),
            "## Settings",
            "",
            *_table(["setting", "value"], _settings(info)),
        ]
    )


def _paragraphs(info: HeadInfo) -> Iterator[str]:
    task = "makes vectors that are near for equal" if info.output == "vectors" else "predicts"
    yield f"A head of kind `{info.kind}` that {task} {', '.join(f'`{t}`' for t in info.targets)}."
    yield ""
    yield "## Data"
    yield ""
    spaces = [
        [f"`{space.name}`", f"{space.dim:,}", f"{space.weight:g}", f"`{space.fingerprint}`"]
        for space in info.spaces
    ]
    yield from _table(["space", "dimensions", "weight", "fingerprint"], spaces)
    yield f"{info.num_train:,} training rows of {info.num_classes:,} classes, "
    yield f"{info.num_validation:,} validation rows. {'; '.join(map(_split, info.splits))}."
    if info.where:
        yield f"Only rows with {' and '.join(f'`{text}`' for text in info.where)}."
    yield ""


def _split(split: Split) -> str:
    if split.column is not None:
        return f"Split by column `{split.column}`"
    within = f" within each value of `{split.stratify}`" if split.stratify else ""
    if split.folds is not None:
        return (
            f"{split.folds} folds by `{split.group}`{within}, seed {split.seed}: fold {split.fold} "
            f"is held out, fold {split.val_fold} is validation"
        )
    shares = "/".join(f"{100 * share:g}" for share in (split.train, split.val, split.test))
    return f"Split {shares} by `{split.group}`{within}, seed {split.seed}"


def _metrics(info: HeadInfo) -> Iterator[str]:
    rows = []
    for name, value in info.metrics.items():
        low_high = info.intervals.get(name)
        interval = f"{low_high[0]:.4f} – {low_high[1]:.4f}" if low_high else ""
        rows.append([name, f"{value:.4f}" if isinstance(value, float) else f"{value:,}", interval])
    yield from _table(["metric", "value", "95 % interval"], rows)
    yield "The kept epoch, and for a projection the threshold, were chosen on these rows: on"
    yield "others the metrics may be lower."
    yield ""


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not pairs:
        return
    names = ["category", "attribute", "num_rows", "num_classes", "accuracy", "macro_f1", "score"]
    header = ["category", "attribute", "rows", "classes", "accuracy", "macro F1", "score"]
    yield from _table(header, [[_cell(pair[name]) for name in names] for pair in pairs])


def _calibration(calibration: Mapping[str, Any] | None) -> Iterator[str]:
    if calibration is None:
        return
    yield f"Calibrated with temperature {calibration['temperature']:.3f}: the expected calibration"
    yield f"error was {calibration['ece_before']:.4f} before, and is {calibration['ece_after']:.4f}"
    yield "after, of rows that the temperature was not fitted on."
    yield ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _settings(info: HeadInfo) -> list[list[str]]:
    settings = flattened({**info.settings, **info.training})
    return [[f"`{name}`", _cell(value)] for name, value in settings.items()]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) and not value.is_integer() else str(value)
