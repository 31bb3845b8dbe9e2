"""Options that several commands share, and how they are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from embed.options import Decorator


def only_one(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> str | None:
    """The value of an option that may be given once; click would take the last of several."""
    if len(values) > 1:
        raise click.UsageError(
            f"--{option.name} is given once here: found {', '.join(values)}", ctx
        )
    return values[0] if values else None


def one_space_option(help_text: str, *, required: bool = True) -> Decorator:
    """`--space` of a command that searches one."""
    return click.option(
        "--space",
        multiple=True,
        required=required,
        callback=only_one,
        metavar="NAME",
        help=help_text,
    )


space_option = one_space_option("The space to search.")
spaces_option = click.option(
    "--space",
    "spaces",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A space to search; repeatable.",
)
combine_option = click.option(
    "--combine",
    type=click.Choice(["concat", "sum", "union", "intersection"]),
    help="concat: the k nearest by the weighted mean of the scores; sum: the same, "
    "among the k nearest in any space; union, intersection: each cut at a threshold of its own, "
    "one score is enough, or all are needed.  [default: concat, or the threshold file's]",
)
weight_option = click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="NAME=FACTOR",
    help="Share of a space in the mean; repeatable.  [default: 1 each, or the threshold file's]",
)
tune_weights_option = click.option(
    "--tune-weights",
    is_flag=True,
    help="Choose the shares as well, from a grid; much quicker with sum than with concat.",
)
signed_weights_option = click.option(
    "--signed-weights",
    is_flag=True,
    help="--tune-weights: of shares below 0 too, by which what is near in a space as well is less "
    "of a match.",
)
LABEL_HELP = "Rows with equal values are true matches."
label_option = click.option("--label", required=True, metavar="COLUMN", help=LABEL_HELP)
unseen_by_option = click.option(
    "--unseen-by",
    multiple=True,
    metavar="SPACE",
    help="Leave out rows that the head of this space was trained or chosen on; repeatable.",
)
include_training_option = click.option(
    "--include-training-rows", is_flag=True, help="Keep rows that heads have seen; warns of it."
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed of the folds and of the draws for the interval.",
)
k_option = click.option(
    "--k",
    type=int,
    help="Neighbours of each item, itself included.  [default: the threshold file's, else 50]",
)


def decisions_option(help_text: str) -> Decorator:
    """`--decisions`, which each command uses in its own way."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("--decisions", type=path, metavar="FILE", help=help_text)


def is_given(option: str) -> bool:
    """True where the command that runs was given this option, such as --alpha: no default."""
    ctx = click.get_current_context()
    source = ctx.get_parameter_source(_parameter(ctx, option))
    return source in (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)


def refuse_idle(needs: Mapping[str, str]) -> None:
    """Refuse options of the command that runs which do nothing without another one.

    Args:
        needs: by option, such as --alpha, the one that it needs, such as --expand; options that the
            command does not have are passed over.

    Raises:
        click.UsageError: an option is given, and what it needs is not.
    """
    ctx = click.get_current_context()
    there = {name for parameter in ctx.command.params for name in parameter.opts}
    for option, needed in needs.items():
        if option in there and is_given(option) and not ctx.params[_parameter(ctx, needed)]:
            raise click.UsageError(
                f"{option} does nothing without {needed}: give that as well, or leave it out", ctx
            )


def _parameter(ctx: click.Context, option: str) -> str:
    """The name under which click keeps an option's value."""
    return next(str(each.name) for each in ctx.command.params if option in each.opts)


def selected(options: dict[str, Any]) -> dict[str, Any]:
    """The options with restrictions read."""
    from embed.rows import Where

    named = [name for name in ("where", "query_where", "gallery_where") if name in options]
    return options | {name: tuple(map(Where.parse, options[name])) for name in named}


def with_threshold(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the threshold read, where one is given."""
    from retrieval.thresholds.files import parse_threshold

    given = options["threshold"]
    return options | {"threshold": None if given is None else parse_threshold(given)}


def read_weights(texts: tuple[str, ...]) -> dict[str, float]:
    """From NAME=FACTOR; the factor of a name that is given twice is the last."""
    from embed.errors import SettingsError

    weights = {}
    for text in texts:
        name, equals, factor = text.rpartition("=")
        try:
            weights[name] = float(factor)
        except ValueError:
            equals = ""
        if not name or not equals:
            raise SettingsError(f"--weight takes NAME=FACTOR such as image=0.6: found '{text}'")
    return weights


def refuse_combine_of_one(options: Mapping[str, Any]) -> None:
    """Raise SettingsError where --combine is given and there is one space."""
    from embed.errors import SettingsError

    if options["combine"] is not None and len(options["spaces"]) == 1:
        raise SettingsError(
            f"--combine {options['combine']} is for several spaces, and one is given: leave it out"
        )


def refuse_untuned_objective(options: Mapping[str, Any]) -> None:
    """Raise SettingsError where --objective is given and no threshold is tuned."""
    from embed.errors import SettingsError

    if not is_given("--objective"):
        return
    for name, option in (("ranking_only", "--ranking-only"), ("threshold", "--threshold")):
        if options.get(name):
            raise SettingsError(
                f"--objective says what a tuned threshold is the best for, and with {option} none "
                f"is tuned: leave one of them out"
            )
