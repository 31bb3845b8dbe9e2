"""Options that say who looks among whom."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from embed.store import Store

gallery_option = click.option(
    "--gallery",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="STORE",
    help="Another store whose items are looked among.  [default: the same store]",
)
query_where_option = click.option(
    "--query-where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only these items look for neighbours; repeatable.",
)
gallery_where_option = click.option(
    "--gallery-where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only these items are looked among; repeatable.",
)


@contextmanager
def opened(store: Path, gallery: Path | None) -> Iterator[tuple["Store", "Store | None"]]:
    """The store, and the one of the gallery where there is another."""
    from embed.store import Store

    with ExitStack() as stack:
        queries = stack.enter_context(Store(store))
        yield queries, stack.enter_context(Store(gallery)) if gallery is not None else None
