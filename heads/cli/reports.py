"""What training tells the user: how far it is, and what came out."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embed.options import print_json, print_table, warn
from embed.wording import counted

if TYPE_CHECKING:
    from heads.studies.members import MemberResult, Study
    from heads.training.loop import Epoch, TrainedHead

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """A line on standard error for each epoch, where they take long enough to be waited for."""

    def __init__(self, num_epochs: int) -> None:
        self._num_epochs = num_epochs
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def __call__(self, epoch: "Epoch") -> None:
        """Say how far it is, at most once in a few seconds."""
        self.of_member("", epoch)

    def of_member(self, name: str, epoch: "Epoch") -> None:
        """The same of one training of several, which is called by its name."""
        if time.monotonic() < self._next_line:
            return
        from heads.wording import spoken_metric

        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        metrics = ", ".join(
            f"{spoken_metric(name)} {value:.4f}" for name, value in epoch.metrics.items()
        )
        click.echo(
            f"{_prefix(name)}epoch {epoch.epoch} of {self._num_epochs}: loss {epoch.loss:.4f}, "
            f"{metrics}",
            err=True,
        )
        sys.stderr.flush()

    def resumed(self, num_done: int) -> None:
        """Say where training goes on."""
        self.member_resumed("", num_done)

    def member_resumed(self, name: str, num_done: int) -> None:
        """The same of one training of several."""
        if num_done < self._num_epochs:
            done = f"goes on at epoch {num_done + 1} of {self._num_epochs}"
        else:
            done = f"nothing is left of {counted(self._num_epochs, 'epoch')}"
        click.echo(f"{_prefix(name)}{done}", err=True)


def _prefix(name: str) -> str:
    return f"{name}, " if name else ""


def report_training(trained: "TrainedHead", output: Path, *, as_json: bool) -> None:
    """What came out: one JSON object, or a short table."""
    info = trained.info
    for note in trained.notes:
        warn(note)
    if as_json:
        print_json(
            {
                "head": str(output),
                "kind": info.kind,
                "spaces": [space.name for space in info.spaces],
                "targets": list(info.targets),
                "num_train": info.num_train,
                "num_validation": info.num_validation,
                "num_classes": info.num_classes,
                "metrics": dict(info.metrics),
                "intervals": dict(info.intervals),
                "details": dict(info.details),
                "seconds": round(trained.seconds, 3),
            }
        )
        return
    from heads.card import metric_table, pair_table, spoken_calibration
    from heads.wording import figures

    epoch = f"epoch {info.metrics['epoch']} of {len(trained.history)}, " if trained.history else ""
    click.echo(
        f"{output}: {counted(info.num_train, 'training row')} of "
        f"{counted(info.num_classes, 'class')}, "
        f"{counted(info.num_validation, 'validation row')}, {epoch}{trained.seconds:.1f} s"
    )
    shown = replace(info, metrics=figures(info.metrics))
    print_table("", *metric_table(shown))
    if len(info.details.get("pairs", ())) > 1:
        print_table("", *pair_table(info))
    if sentence := spoken_calibration(info):
        click.echo(sentence)
    written = [".md", ".png", ".jsonl"] if trained.history else [".md"]
    click.echo(f"more: {', '.join(str(output.with_suffix(suffix)) for suffix in written)}")


def report_member(member: "MemberResult") -> None:
    """A line on standard error for each member of a study, once it is trained."""
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in member.metrics.items())
    click.echo(f"{member.name}: {metrics} on {counted(member.num_rows, 'row')}", err=True)


def report_study(study: "Study", *, as_json: bool) -> None:
    """Folds or seeds: one JSON object, or a row for each, and mean ± standard deviation."""
    from heads.studies.members import report_of
    from heads.wording import spoken_metric

    for note in study.notes:
        warn(note)
    if as_json:
        print_json({"report": str(study.report), **report_of(study)})
        return
    rows = [
        [
            member.name,
            f"{member.info.num_train:,}",
            f"{member.num_rows:,}",
            *(f"{value:.4f}" for value in member.metrics.values()),
            str(member.info.metrics.get("epoch", "–")),
        ]
        for member in study.members
    ]
    spread = [f"{value:.4f} ± {study.sd[name]:.4f}" for name, value in study.mean.items()]
    header = ["head", "train rows", "rows", *map(spoken_metric, study.mean), "at epoch"]
    print_table("", header, [*rows, ["mean ± sd", "", "", *spread, ""]])
    click.echo(f"report: {study.report}")
