"""Heads side by side: what differs in their settings, and what they reach."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from embed.errors import SettingsError
from heads.head import load_head
from heads.info import HeadInfo, flattened
from heads.studies.members import read_report
from heads.wording import figures, spoken_metric

Format = Literal["text", "markdown", "csv"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "csv")


@dataclass(frozen=True)
class Run:
    """A head, or the heads of folds or seeds, whose `metrics` are then means.

    `intervals` are of 95 %, `sd` is the standard deviation over members. `rows` is equal for runs
    that were judged on the same rows with the same labels; '' where the head does not say.
    """

    name: str
    info: HeadInfo
    metrics: Mapping[str, float]
    rows: str
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sd: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """All runs, the names of the settings that differ, those of all metrics, and warnings."""

    runs: tuple[Run, ...]
    settings: tuple[str, ...]
    metrics: tuple[str, ...]
    warnings: tuple[str, ...]

    def best(self, metric: str) -> float | None:
        """The highest value of a metric."""
        return max(
            (run.metrics[metric] for run in self.runs if metric in run.metrics), default=None
        )


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read head files, HEAD.folds.json or HEAD.seeds.json, and set them beside each other.

    Raises:
        SettingsError: there is none.
        HeadError: a file that is neither.
    """
    if not paths:
        raise SettingsError("nothing to compare: name head files, HEAD.folds.json, HEAD.seeds.json")
    names = _names(paths)
    runs = tuple(replace(read_run(path), name=names[path]) for path in paths)
    metrics = dict.fromkeys(name for run in runs for name in run.metrics)
    return Comparison(runs, _differing(runs), tuple(metrics), tuple(_warnings(runs)))


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """The files' names without folder and ending, where that tells them apart."""
    stems = {path: path.name.removesuffix(path.suffix) for path in paths}
    return stems if len(set(stems.values())) == len(stems) else {p: str(p) for p in paths}


def read_run(path: Path) -> Run:
    """One of them.

    Raises:
        HeadError: it is no head, and no report of folds or seeds.
    """
    if path.suffix != ".json":
        info = load_head(path).info
        rows = str(info.details.get("validation_rows", ""))
        return Run(str(path), info, figures(info.metrics), rows, info.intervals)
    report = read_report(path)
    info = load_head(path.with_name(report["members"][0]["head"])).info
    return Run(str(path), info, report["mean"], str(report["validation_rows"]), sd=report["sd"])


def as_json(comparison: Comparison) -> dict[str, Any]:
    """All of it, as JSON takes it."""
    return {
        "runs": [
            {
                "name": run.name,
                "kind": run.info.kind,
                "spaces": [space.name for space in run.info.spaces],
                "settings": {name: _setting(run, name) for name in comparison.settings},
                "metrics": dict(run.metrics),
                "intervals": dict(run.intervals),
                "sd": dict(run.sd),
            }
            for run in comparison.runs
        ],
        "warnings": list(comparison.warnings),
    }


def table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The header, and a row for each run; the best value of a metric has a star if all compare."""
    header = ["head", "kind", "spaces", *comparison.settings]
    header += [spoken_metric(name) for name in comparison.metrics]
    rows = [
        [
            run.name,
            run.info.kind,
            " + ".join(space.name for space in run.info.spaces),
            *(_text(_setting(run, name)) for name in comparison.settings),
            *(_metric(comparison, run, name) for name in comparison.metrics),
        ]
        for run in comparison.runs
    ]
    return header, rows


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that Markdown renders."""
    lines = [header, ["---"] * len(header), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def as_csv(comparison: Comparison) -> str:
    """Numbers in columns of their own: a metric, its low and high end, its deviation."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("", "_low", "_high", "_sd")
    columns = [name + end for name in comparison.metrics for end in ends]
    writer.writerow(["head", "kind", "spaces", *comparison.settings, *columns])
    for run in comparison.runs:
        figures: list[Any] = []
        for name in comparison.metrics:
            low_high = run.intervals.get(name, ("", ""))
            figures += [run.metrics.get(name, ""), *low_high, run.sd.get(name, "")]
        spaces = "+".join(space.name for space in run.info.spaces)
        settings = [_text(_setting(run, name)) for name in comparison.settings]
        writer.writerow([run.name, run.info.kind, spaces, *settings, *figures])
    return text.getvalue()


def _settings_of(info: HeadInfo) -> dict[str, Any]:
    """Settings by their options' names, and the rows and targets."""
    return {
        "targets": ", ".join(info.targets),
        "where": ", ".join(info.where),
        **flattened({**info.settings, **info.training}),
    }


def _setting(run: Run, name: str) -> Any:
    return _settings_of(run.info).get(name)


def _differing(runs: Sequence[Run]) -> tuple[str, ...]:
    """The settings whose values are not the same in all runs that have them, in their order.

    What only some kinds of head have differs by the kind, which has a column of its own.
    """
    found = [_settings_of(run.info) for run in runs]
    names = dict.fromkeys(name for settings in found for name in settings)
    values = {name: [own[name] for own in found if name in own] for name in names}
    return tuple(name for name, those in values.items() if any(v != those[0] for v in those))


def _warnings(runs: Sequence[Run]) -> list[str]:
    warnings = [
        f"{run.name} does not say which rows it was validated on: train it again to compare it"
        for run in runs
        if not run.rows
    ]
    by_rows: dict[str, list[str]] = {}
    for run in runs:
        by_rows.setdefault(run.rows, []).append(run.name)
    if len(by_rows) > 1:
        groups = "; ".join(", ".join(names) for names in by_rows.values())
        warnings.append(
            f"these were judged on different rows or labels, so that their figures do not "
            f"compare: {groups}"
        )
    return warnings


def _metric(comparison: Comparison, run: Run, name: str) -> str:
    if name not in run.metrics:
        return "–"
    value = run.metrics[name]
    comparable = len(comparison.runs) > 1 and not comparison.warnings
    star = "*" if comparable and value == comparison.best(name) else ""
    if name in run.sd:
        return f"{value:.4f}{star} ± {run.sd[name]:.4f}"
    if name in run.intervals:
        low, high = run.intervals[name]
        return f"{value:.4f}{star} ({low:.3f}–{high:.3f})"
    return f"{value:.4f}{star}"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
