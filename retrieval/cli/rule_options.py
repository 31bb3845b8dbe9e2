"""Options that say what decides on matches beside the threshold."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from retrieval.thresholds.rules import Rules

rule_options = (
    click.option(
        "--at-least",
        default=1,
        help="Take so many whatever they score, the item itself included; 2: leave none alone.",
    ),
    click.option(
        "--at-most", type=int, help="Take no more than so many, the item itself included."
    ),
    click.option("--gap", is_flag=True, help="Take nothing beyond the widest fall of the scores."),
    click.option("--reciprocal", is_flag=True, help="Take only items that find this one as well."),
)
"""Of every command that tunes a threshold."""


def take_rules(options: dict[str, Any]) -> "Rules":
    """The rules, whose options are taken out of the others."""
    from retrieval.thresholds.rules import Rules

    names = ("at_least", "at_most", "gap", "reciprocal")
    return Rules(**{name: options.pop(name) for name in names})
