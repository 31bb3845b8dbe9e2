"""The model card: what a head is, was trained on, and reached, for people to read."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from embed.files import replacing
from embed.wording import counted
from heads.conditions import is_used
from heads.info import HeadInfo, flattened
from heads.wording import spoken_metric, spoken_split

SHOWN_CLASSES = 8
Table = tuple[list[str], list[list[str]]]
"""A header, and rows of as many cells."""


def write_card(info: HeadInfo, path: Path, picture: Path | None = None) -> None:
    """Write HEAD.md, with the curve of training where there is one."""
    with replacing(path) as temporary:
        temporary.write_text(card(info, path.stem, picture), encoding="utf-8")


def card(info: HeadInfo, name: str, picture: Path | None = None) -> str:
    """The card as Markdown."""
    parts = [
        [f"# {name}", *_introduction(info)],
        ["## Data", *_data(info)],
        ["## Classes", *_classes(info)],
        *([["## Members", _table(*member_table(info))]] if info.training.get("heads") else []),
        ["## Metrics on the validation rows", *_metrics(info, picture)],
        ["## Settings", *_settings(info)],
    ]
    return "\n\n".join(paragraph for part in parts for paragraph in part) + "\n"


def _introduction(info: HeadInfo) -> Iterator[str]:
    targets = spoken_list([f"`{target}`" for target in info.targets])
    by = f", by `{column}`" if (column := category_column(info)) else ""
    task = "predicts" if info.output == "attributes" else "makes vectors that are near for equal"
    yield f"A head of kind `{info.kind}` that {task} {targets}{by}."
    command, output = ("predict", " -o predictions.csv") if info.vocabulary else ("apply", "")
    yield f"Use it with `python -m heads {command} STORE HEAD{output}`."


def _data(info: HeadInfo) -> Iterator[str]:
    spaces = [
        [f"`{space.name}`", f"{space.dim:,}", f"{space.weight:g}", f"`{space.fingerprint}`"]
        for space in info.spaces
    ]
    yield _table(["space", "dimensions", "weight", "fingerprint"], spaces)
    restriction = f", only of rows with {_spoken_where(info.where)}" if info.where else ""
    splits = " ".join(f"Rows are split {spoken_split(split)}." for split in info.splits)
    yield (
        f"{counted(info.num_train, 'training row')} of {counted(info.num_classes, 'class')} and "
        f"{counted(info.num_validation, 'validation row')}{restriction}. {splits}"
    )


def _classes(info: HeadInfo) -> Iterator[str]:
    if info.vocabulary is None:
        yield f"{counted(len(info.classes), 'value')} of `{info.targets[0]}`: {some(info.classes)}"
        return
    yield _table(*class_table(info))


def class_table(info: HeadInfo) -> Table:
    """How many classes each attribute has, by category, and the most frequent ones."""
    rows = [
        [*_category(info, pair), pair["attribute"], f"{len(pair['classes']):,}", _frequent(pair)]
        for pair in (info.vocabulary or {})["pairs"]
    ]
    return [*_category_header(info), "attribute", "classes", "most frequent"], rows


def _frequent(pair: Mapping[str, Any]) -> str:
    counted = sorted(zip(pair["counts"], pair["classes"], strict=True), key=lambda c: -c[0])
    return some([f"{name} ({count:,})" for count, name in counted], 3)


def some(names: Sequence[str], number: int = SHOWN_CLASSES) -> str:
    """The first names."""
    return ", ".join(names[:number]) + (", …" if len(names) > number else "")


def _metrics(info: HeadInfo, picture: Path | None) -> Iterator[str]:
    if not info.metrics:
        yield "None: the heads that it is made of were put together without a store."
        return
    yield _table(*metric_table(info))
    yield _caveat(info)
    if picture is not None:
        yield f"![{_caption(info)}]({picture.name})"
    if len(info.details.get("pairs", [])) > 1:
        yield _table(*pair_table(info))
    if sentence := spoken_calibration(info):
        yield sentence


def spoken_calibration(info: HeadInfo) -> str:
    """What calibration did, as a sentence; empty where there was none."""
    calibration = info.details.get("calibration")
    if calibration is None:
        return ""
    return (
        f"Calibrated with temperature {calibration['temperature']:.3f}: the expected calibration "
        f"error was {calibration['ece_before']:.4f} before and is {calibration['ece_after']:.4f} "
        f"after, of rows that the temperature was not fitted on."
    )


def _caption(info: HeadInfo) -> str:
    return (
        "Metric over the weight" if "sweep" in info.details else "Loss and metric over the epochs"
    )


def _caveat(info: HeadInfo) -> str:
    if info.kind.startswith("baseline:"):
        return "It was fitted at once, not in epochs, and nothing was chosen on these rows."
    if info.training.get("heads"):
        return (
            "The heads that it is made of were chosen on these rows, and their weights where they "
            "were searched: on others the metrics may be lower."
        )
    keeps_best = info.training.get("keep") == "best"
    chosen = [*(["epoch"] if keeps_best else []), *(["threshold"] if not info.vocabulary else [])]
    if not chosen:
        return "The last epoch was kept: nothing was chosen on these rows."
    verb = "were" if len(chosen) > 1 else "was"
    what = f"The {spoken_list(chosen)} {verb} chosen on these rows"
    return f"{what}: on others the metrics may be lower."


def member_table(info: HeadInfo) -> Table:
    """The heads that a soup or blend was made of."""
    heads = info.training["heads"]
    weights = {**info.settings, **info.training}["weights"]
    scores = info.details.get("members", [{} for _ in heads])
    rows = [
        [
            head,
            f"{weight:.4g}",
            ", ".join(f"{spoken_metric(n)} {figure(v)}" for n, v in score.items()),
        ]
        for head, weight, score in zip(heads, weights, scores, strict=True)
    ]
    return ["made of the head", "weight", "by itself"], rows


def _listed(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{spoken_metric(name)} {figure(value)}" for name, value in metrics.items())


def metric_table(info: HeadInfo) -> Table:
    """All metrics, with their intervals."""
    rows = [
        [spoken_metric(name), figure(value), _interval(info, name)]
        for name, value in info.metrics.items()
    ]
    return ["metric", "value", "95 % interval"], rows


def pair_table(info: HeadInfo) -> Table:
    """How good each attribute is predicted, by category."""
    names = ["num_rows", "num_classes", "accuracy", "macro_f1", "score"]
    header = [*_category_header(info), "attribute", "rows", "classes", "accuracy", "macro F1"]
    rows = [
        [*_category(info, pair), pair["attribute"], *(figure(pair[name]) for name in names)]
        for pair in info.details["pairs"]
    ]
    return [*header, "score"], rows


def category_column(info: HeadInfo) -> str | None:
    """The column whose values have classes of their own, None where there is none."""
    column: str | None = (info.vocabulary or {}).get("category")
    return column


def _category_header(info: HeadInfo) -> list[str]:
    return ["category"] if category_column(info) else []


def _category(info: HeadInfo, pair: Mapping[str, Any]) -> list[str]:
    return [pair["category"]] if _category_header(info) else []


def _settings(info: HeadInfo) -> Iterator[str]:
    rows = [[f"`{name}`", value] for name, value in given_settings(info)]
    yield _table(["setting", "value"], rows)


def given_settings(info: HeadInfo) -> Iterator[tuple[str, str]]:
    """All settings by their names and as people write them.

    Those that are left open are not among them, nor those that do nothing beside the others.
    """
    settings = flattened({**info.settings, **info.training})
    for name, value in settings.items():
        if value not in (None, []) and is_used(info.kind, name, settings):
            yield name, _setting(value)


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return spoken_list([_setting(part) for part in value])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("|", r"\|").split())


def _spoken_where(where: Sequence[str]) -> str:
    return spoken_list([f"`{text}`" for text in where])


def spoken_list(names: Sequence[str]) -> str:
    """Names with commas and an 'and' before the last."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def figure(value: float | int | None) -> str:
    """A share with four decimals, a count with commas, – where there is none."""
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _interval(info: HeadInfo, metric: str) -> str:
    if metric not in info.intervals:
        return ""
    low, high = info.intervals[metric]
    return f"{low:.4f} – {high:.4f}"
