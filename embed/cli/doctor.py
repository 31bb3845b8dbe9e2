"""`python -m embed doctor`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.cli.group import main
from embed.cli.source_options import encoder_options, source_options, source_settings
from embed.options import json_option, print_json, print_table
from embed.wording import counted

if TYPE_CHECKING:
    from embed.doctor.examination import Diagnosis


@main.command()
@click.argument("source")
@encoder_options
@source_options
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=100_000_000,
    help="Refuse images of more pixels, as `embed run` does.",
)
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", default="auto", help="auto, fp32, bf16 or fp16.")
@click.option(
    "--seconds", type=click.FloatRange(1), default=20.0, help="About how long to measure."
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where a store would be written: that disk is measured.  [default: the system's own]",
)
@json_option
def doctor(source: str, as_json: bool, **options: Any) -> None:
    """Measure on SOURCE what limits a run, and say which settings suit it.

    Reads, decodes, copies, encodes and writes a sample for some seconds, each step by itself and
    then all together. Nothing is kept.
    """
    from embed.doctor.examination import DoctorSettings, examine

    columns, fetch = source_settings(options)
    diagnosis = examine(
        DoctorSettings(
            source,
            options["image_encoder"],
            options["text_encoder"],
            columns,
            fetch,
            options["max_pixels"],
            options["device"],
            options["precision"],
            options["seconds"],
            options["folder"],
        )
    )
    if as_json:
        print_json(
            asdict(diagnosis)
            | {
                "bottleneck": diagnosis.bottleneck,
                "share_of_ceiling": round(diagnosis.share_of_ceiling, 3),
            }
        )
    else:
        _print(diagnosis)


def _print(diagnosis: "Diagnosis") -> None:
    rows = [
        [step.name, f"{step.items_per_second:,.0f}", f"{1000 / step.items_per_second:,.3f}"]
        for step in diagnosis.steps
    ]
    print_table(
        f"a sample of {counted(diagnosis.num_sampled, 'item')}, {diagnosis.num_unreadable} "
        f"unreadable",
        ["step by itself", "items/s", "ms an item"],
        rows,
    )
    what = "decoding and encoding in turn" if diagnosis.counts_decoding else "encoding alone"
    click.echo(
        f"together {diagnosis.end_to_end:,.1f} items/s: {diagnosis.share_of_ceiling:.0%} of "
        f"{diagnosis.ceiling:,.1f}, the most that {what} could reach here"
    )
    click.echo(f"slowest step: {diagnosis.bottleneck}")
    for spec in diagnosis.left_out:
        click.echo(f"left out: {spec}, which learns from all titles at a run's end")
    settings = " ".join(f"{option} {value}" for option, value in diagnosis.settings.items())
    click.echo(f"settings that suit it: {settings}")
