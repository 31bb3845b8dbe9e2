"""`python -m embed run`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.cli.group import main
from embed.cli.source_options import encoder_options, source_options, source_settings
from embed.cli.tables import print_spaces
from embed.options import command_line, json_option, output_option, print_json, warn
from embed.wording import counted

if TYPE_CHECKING:
    from embed.summary import RunSummary


@main.command()
@click.argument("source")
@output_option("The store to write, or to bring up to date.")
@encoder_options
@source_options
@click.option(
    "--max-pixels",
    type=int,
    default=100_000_000,
    help="Refuse images of more pixels (width × height); other formats than JPEG end at 179 "
    "million in any case.",
)
@click.option(
    "--device",
    default="auto",
    help="auto, cpu, cuda or cuda:N; several, as in cuda:0,cuda:1, work side by side.",
)
@click.option("--precision", default="auto", help="auto, fp32, bf16 or fp16.")
@click.option("--batch-size", default="auto", help="Items encoded at once.")
@click.option("--workers", default="auto", help="Threads that read and decode, for each device.")
@click.option(
    "--max-failures", default="0", metavar="N|P%", help="Unreadable items to leave out, at most."
)
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Read only the items again that the store lists as failed, and no others.",
)
@click.option("--prune", is_flag=True, help="Leave out items that the source no longer has.")
@click.option(
    "--drop-space",
    multiple=True,
    metavar="NAME",
    help="Leave this space out of the store that is written; repeatable.",
)
@json_option
def run(source: str, output: Path, as_json: bool, **options: Any) -> None:
    """Embed SOURCE: a folder of images, a manifest (CSV, TSV, JSON lines, Parquet), or tar shards.

    \b
    Encoders of images              of titles
      open_clip:ARCH/TAG              open_clip:ARCH/TAG
      open_clip:ARCH@WEIGHTS_FILE     open_clip:ARCH@WEIGHTS_FILE
      transformers:FOLDER             transformers:FOLDER[,pooling=mean|cls]
      timm:ARCH@WEIGHTS_FILE          tfidf[:ngrams=1-2,min_df=2,…]
      classic:color-hog
      classic:phash

    With no encoder named, OpenCLIP ViT-H-14 (laion2b_s32b_b79k) and OpenAI CLIP ViT-L-14-336 run.

    A run that was stopped goes on where it was: give the same command again. Run on a store that is
    complete, it encodes only what is new or changed, keeps the spaces of other encoders, and keeps
    items that the source no longer has (--prune).
    """
    try:
        with _termination_interrupts():
            summary = _run(source, output, options)
    except KeyboardInterrupt:
        click.echo("stopped: finished rows are kept, the same command goes on from them", err=True)
        raise click.exceptions.Exit(130) from None
    _report(summary, as_json)


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Take SIGTERM, by which schedulers stop jobs, for Ctrl-C: finished rows are written first."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(source: str, output: Path, options: dict[str, Any]) -> "RunSummary":
    from embed.run import RunSettings
    from embed.run import run as run_embedding

    columns, fetch = source_settings(options)
    settings = RunSettings(
        source,
        output,
        image_encoders=options["image_encoder"],
        text_encoders=options["text_encoder"],
        columns=columns,
        fetch=fetch,
        max_pixels=options["max_pixels"],
        device=options["device"],
        precision=options["precision"],
        batch_size=_number_or_auto("--batch-size", options["batch_size"]),
        num_workers=_number_or_auto("--workers", options["workers"]),
        max_failures=options["max_failures"],
        retry_failed=options["retry_failed"],
        prune=options["prune"],
        drop_spaces=options["drop_space"],
        quiet=False,
        command=command_line(),
    )
    return run_embedding(settings)


def _number_or_auto(option: str, text: str) -> int | None:
    if text == "auto":
        return None
    if not text.lstrip("-").isdigit():
        raise click.UsageError(f"{option} is auto or a number: found '{text}'")
    return int(text)


def _report(summary: "RunSummary", as_json: bool) -> None:
    for message in summary.warnings:
        warn(message)
    for failure in summary.failures[:10]:
        warn(f"left out {failure.id}: {failure.stage}: {failure.reason}")
    if as_json:
        print_json(_summary(summary))
        return
    print_spaces(f"{summary.output}: {counted(summary.num_items, 'item')}", summary.spaces)
    click.echo(
        f"{summary.num_encoded:,} encoded, {summary.num_reused:,} reused, "
        f"{len(summary.failures)} left out in {summary.seconds:.1f} s "
        f"({summary.items_per_second:,.0f} items/s)"
    )


def _summary(summary: "RunSummary") -> dict[str, Any]:
    from embed.summary import describe_spaces

    return {
        "store": str(summary.output),
        "num_items": summary.num_items,
        "num_failures": len(summary.failures),
        "num_encoded": summary.num_encoded,
        "num_reused": summary.num_reused,
        "seconds": round(summary.seconds, 3),
        "items_per_second": round(summary.items_per_second, 1),
        "spaces": describe_spaces(summary.spaces),
    }
