"""`python -m heads train`."""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    print_json,
    print_table,
    store_argument,
    warn,
)
from heads.cli.group import main
from heads.cli.task_options import numbers, open_stores, task_of
from heads.cli.train_options import KINDS, TASK_OPTIONS, train_options

if TYPE_CHECKING:
    from heads.settings import HeadSettings
    from heads.training.loop import Epoch, TrainedHead

SECONDS_BETWEEN_LINES = 5.0
SHOWN_METRICS = {
    "row_f1": "row F1",
    "attribute_score": "attribute score",
    "accuracy": "accuracy",
}


@main.command()
@store_argument
@output_option(
    "The head file to write, a .safetensors; HEAD.md, HEAD.png and HEAD.jsonl go beside it."
)
@click.option("--kind", type=click.Choice(KINDS), default="projection", help="What it is.")
@train_options
@force_option
@json_option
def train(store: Path, output: Path, force: bool, as_json: bool, **options: Any) -> None:
    """Train a head on spaces of STORE.

    A projection makes a new space, in which rows with equal values of --target are near. Rows fall
    into train, val and test by a hash of their target, so that the products of one side are in no
    other. The head is kept as it was at its best epoch on the val rows; the test rows stay unseen,
    for `python -m retrieval` to report on.

    Attributes are predicted: each --target, by a classifier of its own for each --category. Here
    rows are split one by one, in equal shares of each category (--group keeps some together).
    """
    from heads.run import train_to_files

    kind, resume = options["kind"], options.pop("resume")
    tensorboard = options.pop("tensorboard")
    settings = settings_of(kind, options)
    with ExitStack() as stack:
        trained = train_to_files(
            open_stores(stack, store, options["join"]),
            task_of(kind, options),
            settings.kind,
            settings.training,
            output,
            force=force,
            resume=resume,
            tensorboard=tensorboard,
            on_epoch=Progress(settings.training.epochs),
        )
    report_training(trained, output, as_json=as_json)


def settings_of(kind: str, options: Mapping[str, Any]) -> "HeadSettings":
    """The settings among the options of the command line."""
    from heads.settings import head_settings

    given = {name: value for name, value in options.items() if name not in TASK_OPTIONS}
    given["dropout"] = numbers(options["dropout"], "--dropout")
    given["milestones"] = numbers(options["milestones"], "--milestones")
    return head_settings(kind, given)


class Progress:
    """A line on standard error for each epoch, where they take long enough to be waited for."""

    def __init__(self, num_epochs: int) -> None:
        self._num_epochs = num_epochs
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def __call__(self, epoch: "Epoch") -> None:
        """Say how far it is, at most once in a few seconds."""
        if time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in epoch.metrics.items())
        click.echo(
            f"epoch {epoch.epoch} of {self._num_epochs}: loss {epoch.loss:.4f}, {metrics}", err=True
        )
        sys.stderr.flush()


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
    shown = [name for name in SHOWN_METRICS if name in info.metrics]
    cells = {
        "head": str(output),
        "trained on": f"{info.num_train:,} rows, {info.num_classes:,} classes",
        "validation rows": f"{info.num_validation:,}",
        **{SHOWN_METRICS[name]: f"{info.metrics[name]:.4f}" for name in shown},
    }
    if trained.history:
        cells["at epoch"] = f"{info.metrics['epoch']} of {len(trained.history)}"
    cells["seconds"] = f"{trained.seconds:.1f}"
    print_table("", list(cells), [list(cells.values())])
    if trained.history:
        click.echo(f"curve: {output.with_suffix('.png')}, {output.with_suffix('.jsonl')}")
