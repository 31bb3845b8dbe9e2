"""`python -m retrieval serve`."""

from pathlib import Path
from typing import Any

import click

from embed.options import MemorySize, store_argument, under
from retrieval.cli.group import main

FILE = click.Path(dir_okay=False, path_type=Path)


@main.command()
@store_argument
@under(
    "What is served",
    click.option(
        "--threshold",
        metavar="FILE_OR_SCORE",
        help="A threshold file or a score: what is a match.",
    ),
    click.option("--space", metavar="NAME", help="The space to search, where no file says it."),
    click.option(
        "--head",
        "heads",
        multiple=True,
        type=FILE,
        metavar="HEAD",
        help="A head that made a space, so that images and titles can be searched in it, or one "
        "that predicts attributes; repeatable.",
    ),
    click.option("--label", metavar="COLUMN", help="Items with equal values truly match."),
    click.option(
        "--image-root",
        type=click.Path(file_okay=False, path_type=Path),
        help="The folder that images lie below.  [default: where the store's came from]",
    ),
    click.option(
        "--image-column",
        metavar="COLUMN",
        help="The column with the images.  [default: the store's own]",
    ),
    click.option("--title-column", default="title", help="The column with the titles."),
    click.option(
        "--neighbours",
        type=FILE,
        metavar="FILE",
        help="Neighbours of all items, of `retrieval neighbours`.",
    ),
    click.option("--decisions", type=FILE, metavar="FILE", help="The file of people's decisions."),
    click.option("--reviewer", default="reviewer", help="Who decides, unless the page is told."),
    click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N."),
)
@under(
    "The server",
    click.option("--host", default="127.0.0.1", help="The address to listen on."),
    click.option("--port", type=click.IntRange(0, 65535), default=8000, help="0: a free one."),
    click.option(
        "--token-file",
        "token_path",
        type=FILE,
        help="A file with a secret that every request has to show; needed where another --host or "
        "an --allow-host lets other machines in.",
    ),
    click.option(
        "--allow-host",
        "allowed_hosts",
        multiple=True,
        metavar="NAME",
        help="Another name under which the service is reached; repeatable.",
    ),
    click.option(
        "--reload",
        is_flag=True,
        help="Take up a store, a threshold, heads or neighbours that are replaced by a rename, as "
        "all commands here and mv do. A store that is written in place (cp) is not taken up.",
    ),
    click.option("--open", "open_browser", is_flag=True, help="Open the page in a browser."),
    click.option(
        "--memory", "memory_bytes", type=MemorySize(), help="What a search of all items may hold."
    ),
    click.option(
        "--thumbnail-cache",
        "thumbnail_bytes",
        type=MemorySize(),
        default="256MiB",
        help="How much of thumbnails is kept in memory.",
    ),
    click.option(
        "--max-upload", type=MemorySize(), default="20MiB", help="The most bytes of a request."
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=50_000_000,
        help="The most of an image.",
    ),
)
def serve(store: Path, max_upload: int, max_pixels: int, **options: Any) -> None:
    """Serve a search and review page, and the same as a REST service.

    It listens on this machine alone, unless --host and --token-file say otherwise.
    """
    if options["heads"]:  # which takes seconds
        names = ", ".join(head.name for head in options["heads"])
        click.echo(f"loading {store.name} with {names} …", err=True)
    from retrieval.service.server import ServerSettings
    from retrieval.service.server import serve as run
    from retrieval.service.settings import ServiceSettings, UploadLimits

    own = ("host", "port", "token_path", "allowed_hosts", "reload", "open_browser")
    server = ServerSettings(**{name: options.pop(name) for name in own})
    if options["memory_bytes"] is None:
        del options["memory_bytes"]
    limits = UploadLimits(max_upload, max_pixels)
    run(ServiceSettings(store, **options, limits=limits), server)
