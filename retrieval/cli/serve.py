"""`python -m retrieval serve`."""

from pathlib import Path

import click

from embed.options import store_argument
from retrieval.cli.group import main


@main.command()
@store_argument
@click.option(
    "--threshold", metavar="FILE_OR_SCORE", help="A threshold file or a score: what is a match."
)
@click.option("--host", default="127.0.0.1", help="The address to listen on.")
@click.option("--port", type=int, default=8000, help="The port; 0 takes a free one.")
def serve(store: Path, threshold: str | None, host: str, port: int) -> None:
    """Serve a search and review page, and the same as a REST service."""
    from retrieval.service.server import serve as run
    from retrieval.service.settings import ServiceSettings

    run(ServiceSettings(store, threshold), host, port)
