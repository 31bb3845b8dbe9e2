"""Options of refinements, in the order in which they are done, and how they are read."""

from typing import TYPE_CHECKING, Any

import click

from retrieval.cli.options import refuse_idle

if TYPE_CHECKING:
    from retrieval.refining.refinements import Refinements

REFINEMENTS = [
    click.option(
        "--blend",
        multiple=True,
        type=float,
        metavar="SCORE",
        help="Blend items with neighbours of at least this score; one stage for each.",
    ),
    click.option("--blend-nearest", default=50, help="The most neighbours that are blended in."),
    click.option(
        "--augment", default=0, metavar="N", help="Add its N nearest to each vector of the gallery."
    ),
    click.option(
        "--augment-weights",
        type=click.Choice(["rank", "score"]),
        default="rank",
        help="What they weigh by.",
    ),
    click.option("--expand", default=0, metavar="N", help="Add its N nearest to each query."),
    click.option(
        "--alpha", default=0.0, help="They weigh score^alpha; 0 is average query expansion."
    ),
    click.option("--rerank", is_flag=True, help="Rank by k-reciprocal neighbours."),
    click.option("--rerank-k1", default=20, help="Neighbours that have to be each other's."),
    click.option("--rerank-k2", default=6, help="Encodings that are averaged."),
    click.option("--rerank-lambda", default=0.3, help="Share of the original score, 0 to 1."),
]
NEEDS = {
    "--blend-nearest": "--blend",
    "--augment-weights": "--augment",
    "--alpha": "--expand",
    "--rerank-k1": "--rerank",
    "--rerank-k2": "--rerank",
    "--rerank-lambda": "--rerank",
}
"""What an option does nothing without."""
_NAMES = ("blend", "blend_nearest", "augment", "augment_weights", "expand", "alpha")


def take_refinements(options: dict[str, Any]) -> "Refinements":
    """The refinements that the options ask for; they are taken out of `options`.

    Raises:
        click.UsageError: an option that does nothing without another is given alone.
    """
    from retrieval.refining.reciprocal import Rerank
    from retrieval.refining.refinements import Refinements

    refuse_idle(NEEDS)
    values = {name: options.pop(name) for name in _NAMES}
    k1, k2, weight = (options.pop(f"rerank_{name}") for name in ("k1", "k2", "lambda"))
    rerank = Rerank(k1, k2, weight) if options.pop("rerank") else None
    return Refinements(**values, rerank=rerank)
