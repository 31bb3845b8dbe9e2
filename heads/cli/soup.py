"""`python -m heads soup`: the weights of several heads, averaged."""

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click

from heads.cli.ensembles import (
    heads_to_one,
    report_ensemble,
    stores_with_validation,
    validated,
)
from heads.cli.group import main


@main.command()
@heads_to_one
@click.option(
    "--how",
    type=click.Choice(["uniform", "greedy"]),
    help="The mean of all, or of those that do validation no harm.  [default: uniform]",
)
@click.option("--sweep", is_flag=True, help="Of two heads, the best of --steps weights.")
@click.option("--steps", type=int, default=21, help="Weights of a sweep, from 0 to 1.")
@validated
def soup(
    heads: tuple[Path, ...],
    output: Path,
    how: Literal["uniform", "greedy"] | None,
    sweep: bool,
    steps: int,
    store: Path | None,
    join: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Average the weights of heads of one kind into one head, as quick as each of them.

    It works where the heads start from the same weights: trained with other settings, on other
    data, or from linear discriminants. The metric is that of training, on the validation rows of
    STORE; it draws the curve of a sweep.
    """
    from heads.ensembles.soup import soup_to_files

    if sweep and how is not None:
        raise click.UsageError("--sweep and --how are two ways to make a soup: give one of them")
    chosen = "sweep" if sweep else how or "uniform"
    with ExitStack() as stack:
        made = soup_to_files(
            heads,
            output,
            chosen,
            stores=stores_with_validation(stack, store, join),
            num_steps=steps,
            force=force,
        )
    report_ensemble(made, output, chosen, as_json=as_json)
