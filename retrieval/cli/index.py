"""`python -m retrieval index`."""

from pathlib import Path
from typing import Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    print_json,
    print_table,
    store_argument,
    under,
    warn,
    where_option,
)
from embed.wording import counted
from retrieval.cli.finding_options import plain_options
from retrieval.cli.group import main
from retrieval.cli.options import selected, space_option, unseen_by_option


@main.command()
@store_argument
@space_option
@click.option(
    "--method",
    type=click.Choice(["hnsw", "ivf-flat", "ivf-pq", "sq8"]),
    default="hnsw",
    help="hnsw: a graph, the quickest; ivf-flat: cells; ivf-pq: cells of short codes, the "
    "smallest; sq8: a byte for each component, small but no quicker than an exact search.",
)
@click.option("--recall", default=0.95, help="The share of exact neighbours that it should find.")
@click.option(
    "--k",
    type=int,
    help="Neighbours that this is measured of, itself included.  [default: 50, or all]",
)
@click.option("--num-queries", default=1000, help="Items that it is measured on.")
@output_option("[default: STORE's name with .SPACE.METHOD.faiss]", required=False)
@where_option
@unseen_by_option
@under("How it is measured", *plain_options)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed of the index and of these items.",
)
@force_option
@json_option
def index(store: Path, as_json: bool, **options: Any) -> None:
    """Build an index for quick, approximate search.

    How hard it looks is set by measuring its recall.
    It proposes neighbours; their scores are exact. It fits the rows it was built of, and no others.
    What the index itself takes does not count in --memory.
    """
    from embed.store import Store
    from retrieval.search.approximate import IndexSettings
    from retrieval.search.index_building import BuildSettings, build

    names = ("space", "method", "recall", "k", "num_queries", "seed")
    wanted = IndexSettings(**{name: options.pop(name) for name in names})
    settings = BuildSettings(wanted, **selected(options))
    with Store(store) as opened:
        result = build(opened, settings)
    for message in result.warnings:
        warn(message)
    if as_json:
        print_json(result.to_json())
        return
    info = result.info
    quickness = [info.seconds_per_query, info.exact_seconds_per_query]
    print_table(
        f"{info.num_rows:,} rows of '{info.space}', measured on {info.num_queries:,}",
        [
            "method",
            "depth",
            "oversampling",
            f"recall of {counted(info.k - 1, 'neighbour')}",
            "ms per query",
            "exact ms per query",
        ],
        [
            [
                info.method,
                str(info.effort.depth),
                str(info.effort.oversampling),
                f"{info.recall:.4f}",
                *(f"{1000 * seconds:.3f}" for seconds in quickness),
            ]
        ],
    )
    size = f"{result.num_bytes / 2**20:,.1f} MiB"
    click.echo(f"index: {result.path} ({size}, built in {result.build_seconds:.1f} s)")
