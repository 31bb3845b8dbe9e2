"""`python -m heads train`."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    store_argument,
    under,
)
from heads.cli.group import main
from heads.cli.reports import Progress, report_member, report_study, report_training
from heads.cli.task_options import numbers, open_stores, task_of
from heads.cli.train_options import KINDS, TASK_OPTIONS, train_options

if TYPE_CHECKING:
    from heads.settings import HeadSettings


@main.command()
@store_argument
@output_option(
    "The head file to write, a .safetensors; HEAD.md, HEAD.png and HEAD.jsonl go beside it."
)
@click.option("--kind", type=click.Choice(KINDS), default="projection", help="What kind of head.")
@train_options
@under(
    "Several trainings",
    click.option(
        "--folds",
        type=int,
        metavar="K",
        help="A head for each of K folds of groups, reported on that fold; the next one picks its "
        "epoch, the other K − 2 train it. Writes HEAD-fold-1.safetensors and so on, "
        "HEAD.folds.json and every row's out-of-fold result in HEAD.folds.parquet.",
    ),
    click.option(
        "--seeds",
        type=int,
        metavar="N",
        help="Train with N seeds from --seed on: HEAD-seed-0.safetensors and so on, and their "
        "spread in HEAD.seeds.json.",
    ),
)
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

    folds, seeds = options.pop("folds"), options.pop("seeds")
    if folds is not None or seeds is not None:
        _train_members(store, output, folds, seeds, {"force": force, **options}, as_json=as_json)
        return
    kind, resume = options["kind"], options.pop("resume")
    tensorboard = options.pop("tensorboard")
    settings = settings_of(kind, options)
    progress = Progress(settings.training.epochs)
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
            on_epoch=progress,
            on_resume=progress.resumed,
        )
    report_training(trained, output, as_json=as_json)


def _train_members(
    store: Path,
    output: Path,
    folds: int | None,
    seeds: int | None,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from heads.studies.folds import train_folds
    from heads.studies.members import Plan, Running
    from heads.studies.seeds import train_seeds

    refuse_split_with_folds(folds, seeds)
    if options.pop("tensorboard") is not None:
        raise click.UsageError("--tensorboard is for one training: leave out --folds and --seeds")
    kind, resume, force = options["kind"], options.pop("resume"), options.pop("force")
    settings = settings_of(kind, options)
    progress = Progress(settings.training.epochs)
    running = Running(
        force, resume, progress.of_member, progress.member_resumed, on_member=report_member
    )
    with ExitStack() as stack:
        stores = open_stores(stack, store, options["join"])
        plan = Plan(stores, task_of(kind, options), settings, output)
        if folds is not None:
            study = train_folds(plan, folds, running)
        else:
            study = train_seeds(plan, seeds or 0, running)
    report_study(study, as_json=as_json)


def refuse_split_with_folds(folds: int | None, seeds: int | None) -> None:
    """Wrong usage where both are given, or --split, whose shares folds don't have."""
    from click.core import ParameterSource

    if folds is not None and seeds is not None:
        raise click.UsageError("give --folds or --seeds, not both")
    source = click.get_current_context().get_parameter_source("split")
    if folds is not None and source is not ParameterSource.DEFAULT:
        raise click.UsageError("--folds are of equal size: leave --split out")


def settings_of(kind: str, options: Mapping[str, Any]) -> "HeadSettings":
    """The settings among the options of the command line."""
    from heads.settings import head_settings

    return head_settings(kind, given_settings(kind, options))


def given_settings(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are settings, None where they are not given."""
    given = {name: value for name, value in options.items() if name not in TASK_OPTIONS}
    given["dropout"] = _dropout(kind, options["dropout"])
    given["milestones"] = numbers(options["milestones"], "--milestones")
    return given


def _dropout(kind: str, text: str | None) -> float | tuple[float, ...] | None:
    rates = numbers(text, "--dropout")
    if rates is None or kind == "projection":
        return rates
    if len(rates) > 1:
        raise click.UsageError(f"--dropout takes one rate with --kind {kind}: found '{text}'")
    return rates[0]
