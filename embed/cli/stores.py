"""Commands about stores that are there: `python -m embed info` and `verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.cli.group import main
from embed.cli.source_options import source_options, source_settings
from embed.cli.tables import print_spaces
from embed.options import json_option, print_json, store_argument
from embed.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embed.store import Store
    from embed.verification.verifying import Check


@main.command()
@store_argument
@json_option
def info(store: Path, as_json: bool) -> None:
    """Show what STORE holds: items, columns, spaces, and what was left out."""
    from embed.store import Store

    with Store(store) as opened:
        if as_json:
            print_json(_info(opened))
            return
        print_spaces(f"{store}: {counted(len(opened), 'item')}", opened.spaces)
        click.echo(f"columns: {', '.join(opened.columns) or 'none'}")
        click.echo(f"left out: {counted(len(opened.failures), 'item')}")
        for failure in opened.failures[:10]:
            click.echo(f"  {failure.id}: {failure.stage}: {failure.reason}")


def _info(store: "Store") -> dict[str, Any]:
    from embed.summary import describe_spaces

    return {
        "store": str(store.path),
        "num_items": len(store),
        "num_failures": len(store.failures),
        "columns": store.columns,
        "spaces": describe_spaces(store.spaces),
        "created_utc": store.attributes["created_utc"],
        "command": store.attributes["command"],
    }


@main.command()
@store_argument
@click.option(
    "--source",
    help="The source that the store was made of, to read its images again.",
)
@source_options
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=100_000_000,
    help="Largest image, as pixels in all; as much as `embed run` was allowed.",
)
@click.option("--sample", default=64, help="Rows to encode again; 0 for none.")
@click.option("--seed", default=0, help="Another seed takes another sample.")
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option("--strict", is_flag=True, help="What is changed or skipped counts as failed.")
@json_option
def verify(
    store: Path,
    sample: int,
    seed: int,
    device: str,
    strict: bool,
    as_json: bool,
    source: str | None,
    max_pixels: int,
    **options: Any,
) -> None:
    """Check that STORE is whole, and that its encoders still make the vectors it holds.

    The structure is read from end to end. Then a sample of rows is read from where the images are,
    hashed, encoded and compared: `changed` are files that are no longer what was encoded, `skipped`
    is what can't be checked here, such as an image above --max-pixels. Ends with 1 if anything
    failed.
    """
    from embed.verification.sampling import Source
    from embed.verification.verifying import VerifySettings
    from embed.verification.verifying import verify as verify_store

    source_of_store = Source(source, *source_settings(options), max_pixels)
    settings = VerifySettings(store, source_of_store, sample, seed, device)
    checks = verify_store(settings)
    bad = ("failed", "changed", "skipped") if strict else ("failed",)
    num_failed = sum(check.result in bad for check in checks)
    _report(store, checks, num_failed, as_json)
    if num_failed:
        raise click.exceptions.Exit(1)


def _report(store: Path, checks: "Sequence[Check]", num_failed: int, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        found = [asdict(check) for check in checks]
        print_json({"store": str(store), "num_failed": num_failed, "checks": found})
        return
    width = max(len(check.name) for check in checks)
    for check in checks:
        click.echo(f"{check.name:<{width}}  {check.result:<7}  {check.detail}")
    click.echo(f"{store}: {num_failed} of {counted(len(checks), 'check')} failed")
