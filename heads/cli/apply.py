"""`python -m heads apply`: a head's vectors become a space."""

from pathlib import Path

import click

from embed.options import (
    command_line,
    force_option,
    json_option,
    output_option,
    print_json,
    store_argument,
    warn,
)
from embed.wording import counted
from heads.cli.group import main
from heads.cli.train_options import join_option


@main.command()
@store_argument
@click.argument("head", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", help="Name of the new space.  [default: the head file's name]")
@join_option
@output_option("Write a copy of the store here, and leave STORE as it is.", required=False)
@force_option
@json_option
def apply(
    store: Path,
    head: Path,
    name: str | None,
    join: tuple[str, ...],
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Add the space that HEAD makes to STORE."""
    from heads.applying import apply_head

    applied = apply_head(
        store,
        head,
        name=name,
        output=output,
        joined=[Path(path) for path in join],
        force=force,
        command=command_line(),
    )
    for note in applied.notes:
        warn(note)
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
            f"{applied.store}: space '{applied.space}' with "
            f"{counted(applied.info.dim, 'dimension')} for {counted(applied.num_items, 'item')}"
        )
