"""`python -m heads info`: what a head is."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embed.options import json_option, print_json, print_table
from embed.wording import counted
from heads.cli.group import main

if TYPE_CHECKING:
    from heads.describing import HeadDescription
    from heads.info import HeadInfo


@main.command()
@click.argument("head", type=click.Path(dir_okay=False, path_type=Path), metavar="HEAD")
@json_option
def info(head: Path, as_json: bool) -> None:
    """Show what HEAD is, takes in and predicts, was trained on, and reached."""
    from heads.describing import describe_head

    described = describe_head(head)
    if as_json:
        print_json(described.as_json())
        return
    for name, value in _facts(described):
        click.echo(f"{name:<13} {value}")
    _print_spaces(described.info)
    _print_classes(described.info)
    _print_metrics(described.info)
    _print_settings(described.info)


def _facts(described: "HeadDescription") -> Iterator[tuple[str, str]]:
    from heads.card import category_column, spoken_list
    from heads.wording import spoken_split

    info = described.info
    yield "head", str(described.path)
    yield "kind", info.kind
    yield "predicts" if info.vocabulary else "brings near", spoken_list(info.targets)
    if category := category_column(info):
        yield "by category", category
    yield "trained on", f"{counted(info.num_train, 'row')} of {counted(info.num_classes, 'class')}"
    yield "validated on", counted(info.num_validation, "row")
    if info.where:
        yield "only", spoken_list(info.where)
    for split in info.splits:
        yield "split", spoken_split(split)
    yield "parameters", f"{described.num_parameters:,}"
    yield "size", f"{described.num_bytes:,} bytes"
    yield "fingerprint", described.fingerprint


def _print_spaces(info: "HeadInfo") -> None:
    rows = [[s.name, f"{s.dim:,}", f"{s.weight:g}", s.fingerprint] for s in info.spaces]
    print_table("", ["space", "dimensions", "weight", "fingerprint"], rows)


def _print_classes(info: "HeadInfo") -> None:
    from heads.card import class_table, some

    if info.vocabulary is None:
        click.echo(f"{counted(len(info.classes), 'class')}: {some(info.classes)}\n")
        return
    print_table("", *class_table(info))


def _print_metrics(info: "HeadInfo") -> None:
    from heads.card import member_table, metric_table, pair_table, spoken_calibration

    if info.training.get("heads"):
        print_table("", *member_table(info))
    if info.metrics:
        print_table("", *metric_table(info))
    if len(info.details.get("pairs", [])) > 1:
        print_table("", *pair_table(info))
    if sentence := spoken_calibration(info):
        click.echo(sentence)


def _print_settings(info: "HeadInfo") -> None:
    """By the options of `heads train` that they are of."""
    from heads.card import given_settings

    rows = [[name.replace("_", "-"), value] for name, value in given_settings(info)]
    print_table("", ["setting", "value"], rows)
