"""The command lines of `python -m heads`."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    CONTEXT,
    CommandGroup,
    command_line,
    force_option,
    json_option,
    output_option,
    print_json,
    print_table,
    split_column_option,
    store_argument,
    where_option,
)

if TYPE_CHECKING:
    from heads.projection.training import TrainedHead


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def main() -> None:
    """Train small heads on the spaces of a store, and apply them."""


@main.command()
@store_argument
@output_option("The head file to write, a .safetensors; HEAD.png and HEAD.jsonl go beside it.")
@click.option("--kind", type=click.Choice(["projection"]), default="projection", help="What it is.")
@click.option("--space", multiple=True, required=True, help="A space to take in; repeatable.")
@click.option("--target", required=True, metavar="COLUMN", help="Equal values should come near.")
@click.option("--split", default="80/10/10", help="Per cent of groups for train/val/test.")
@click.option("--split-seed", type=int, default=0, help="Another seed splits otherwise.")
@split_column_option
@where_option
@click.option("--dim", type=int, default=256, help="Size of the new space.")
@click.option("--dropout", type=float, default=0.2, help="Share of features left out in training.")
@click.option("--loss", type=click.Choice(["arcface", "softmax"]), default="arcface", help="Loss.")
@click.option("--scale", type=float, default=16.0, help="Factor of the cosines in the softmax.")
@click.option("--margin-radians", type=float, default=0.5, help="ArcFace's angular margin.")
@click.option(
    "--start",
    type=click.Choice(["discriminants", "random"]),
    default="discriminants",
    help="Where training starts: linear discriminants of the training rows, or random weights.",
)
@click.option("--epochs", type=int, default=20, help="Passes over the training rows.")
@click.option("--batch-size", type=int, default=256, help="Rows a step.")
@click.option("--learning-rate", type=float, default=5e-4, help="AdamW's, at its highest.")
@click.option("--weight-decay", type=float, default=1e-2, help="AdamW's.")
@click.option("--warmup-epochs", type=float, default=2.0, help="Epochs of rising learning rate.")
@click.option("--seed", type=int, default=0, help="Seed of weights, dropout and order.")
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@force_option
@json_option
def train(store: Path, output: Path, force: bool, as_json: bool, **options: Any) -> None:
    """Train a head on spaces of STORE.

    Rows fall into train, val and test by a hash of their target, so that the products of one side
    are in no other. The head is kept as it was at its best epoch on the val rows; the test rows
    stay unseen, for `python -m retrieval` to report on.
    """
    from embed.rows import Split, Where
    from embed.store import Store
    from heads.projection.network import ProjectionSettings
    from heads.projection.training import Task, TrainingSettings
    from heads.run import train_to_files

    split = Split.parse(
        options["target"], options["split"], options["split_seed"], options["split_column"]
    )
    where = tuple(Where.parse(text) for text in options["where"])
    task = Task(options["space"], options["target"], split, where)
    head = ProjectionSettings(**_fields_of(ProjectionSettings, options))
    training = TrainingSettings(**_fields_of(TrainingSettings, options))
    with Store(store) as opened:
        trained = train_to_files(opened, task, head, training, output, force=force)
    _report_training(trained, output, as_json)


@main.command()
@store_argument
@click.argument("head", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", help="Name of the new space.  [default: the head file's name]")
@output_option("Write a copy of the store here, and leave STORE as it is.", required=False)
@force_option
@json_option
def apply(
    store: Path, head: Path, name: str | None, output: Path | None, force: bool, as_json: bool
) -> None:
    """Add the space that HEAD makes to STORE."""
    from heads.applying import apply_head

    applied = apply_head(store, head, name=name, output=output, force=force, command=command_line())
    if as_json:
        print_json(
            {
                "store": str(applied.store),
                "space": applied.space,
                "num_items": applied.num_items,
                "dim": applied.info.dim,
                "fingerprint": applied.info.fingerprint,
            }
        )
    else:
        click.echo(
            f"{applied.store}: space '{applied.space}' with {applied.info.dim} dimensions "
            f"for {applied.num_items:,} items"
        )


def _fields_of(settings: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options that are fields of a dataclass of settings."""
    return {field.name: options[field.name] for field in fields(settings)}


def _report_training(trained: "TrainedHead", output: Path, as_json: bool) -> None:
    info = trained.info
    if as_json:
        print_json(
            {
                "head": str(output),
                "kind": info.kind,
                "spaces": [space.name for space in info.spaces],
                "num_train": info.num_train,
                "num_validation": info.num_validation,
                "num_classes": len(info.classes),
                "metrics": info.metrics,
                "seconds": round(trained.seconds, 3),
            }
        )
        return
    header = ["head", "trained on", "validation rows", "row F1", "at epoch", "seconds"]
    row = [
        str(output),
        f"{info.num_train:,} rows, {len(info.classes):,} classes",
        f"{info.num_validation:,}",
        f"{info.metrics['row_f1']:.4f}",
        f"{info.metrics['epoch']} of {len(trained.history)}",
        f"{trained.seconds:.1f}",
    ]
    print_table("", header, [row])
    click.echo(f"curve: {output.with_suffix('.png')}, {output.with_suffix('.jsonl')}")
