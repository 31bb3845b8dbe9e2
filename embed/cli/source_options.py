"""The options of every command that reads a source: which encoders run, and on what."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from embed.sources import FetchSettings, SourceSettings

Command = Callable[..., Any]
COLUMNS = ("id_column", "image_column", "title_column", "image_root")
FETCHING = ("allow_outside_root", "retries", "timeout_seconds")


def encoder_options(command: Command) -> Command:
    """`--image-encoder` and `--text-encoder`."""
    return _all_of(
        command,
        click.option(
            "--image-encoder",
            multiple=True,
            metavar="[NAME=]SPEC",
            help="An encoder of images; repeatable.",
        ),
        click.option(
            "--text-encoder",
            multiple=True,
            metavar="[NAME=]SPEC",
            help="An encoder of titles; repeatable.",
        ),
    )


def source_options(command: Command) -> Command:
    """Which columns hold what, where images are, and how they are fetched."""
    return _all_of(
        command,
        click.option("--id-column", default="id", help="Manifest column with the ids."),
        click.option("--image-column", default="image", help="Manifest column with image paths."),
        click.option("--title-column", default="title", help="Manifest column with titles."),
        click.option(
            "--image-root",
            metavar="FOLDER|ADDRESS",
            help="What image paths start from.  [default: the manifest's own folder]",
        ),
        click.option(
            "--allow-outside-root",
            is_flag=True,
            help="Read images that lie outside the image root too.",
        ),
        click.option(
            "--retries",
            type=click.IntRange(0),
            default=3,
            help="Attempts to fetch a remote image after the first.",
        ),
        click.option(
            "--timeout-seconds",
            type=click.FloatRange(0, min_open=True),
            default=30.0,
            help="Longest that one remote image may take, retries included.",
        ),
    )


def source_settings(options: Mapping[str, Any]) -> "tuple[SourceSettings, FetchSettings]":
    """What the options of `source_options` say."""
    from embed.sources import FetchSettings, SourceSettings

    return (
        SourceSettings(**{key: options[key] for key in COLUMNS}),
        FetchSettings(**{key: options[key] for key in FETCHING}),
    )


def _all_of(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):  # as decorators stacked in this order
        command = option(command)
    return command
