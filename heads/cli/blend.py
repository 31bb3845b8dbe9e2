"""`python -m heads blend`: several heads as one."""

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click

from heads.cli.ensembles import (
    FitProgress,
    heads_to_one,
    report_ensemble,
    stores_with_validation,
    validated,
)
from heads.cli.group import main
from heads.cli.task_options import numbers


@main.command()
@heads_to_one
@click.option(
    "--how",
    type=click.Choice(["average", "concat"]),
    help="Vectors side by side, or their mean.  [default: concat; average for attributes]",
)
@click.option("--weights", metavar="W,W…", help="One for each head.  [default: equal]")
@click.option(
    "--fit",
    is_flag=True,
    help="Find the weights that are best for validation: tenths, then steps down to 0.01.",
)
@validated
def blend(
    heads: tuple[Path, ...],
    output: Path,
    how: Literal["average", "concat"] | None,
    weights: str | None,
    fit: bool,
    store: Path | None,
    join: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Keep several heads whole in one file, to apply or predict with as one.

    They may take in different spaces. Vectors are put side by side, so that a score is the weighted
    mean of the heads' scores; of attributes the log probabilities are averaged, by the names of
    categories and classes. With STORE the blend is compared with its heads on the validation rows.
    """
    from heads.ensembles.blend import blend_to_files

    with ExitStack() as stack:
        made = blend_to_files(
            heads,
            output,
            how,
            numbers(weights, "--weights"),
            fit=fit,
            stores=stores_with_validation(stack, store, join),
            force=force,
            on_tried=FitProgress(),
        )
    report_ensemble(made, output, made.info.settings["how"], as_json=as_json)
