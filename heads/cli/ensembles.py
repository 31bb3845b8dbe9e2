"""What `heads soup` and `heads blend` have in common: arguments, stores, and what they print."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    all_of,
    force_option,
    json_option,
    output_option,
    print_json,
    print_table,
    warn,
)
from heads.cli.reports import SECONDS_BETWEEN_LINES
from heads.cli.task_options import open_stores
from heads.cli.train_options import join_option

if TYPE_CHECKING:
    from heads.ensembles.ensemble import Ensemble
    from heads.features import FeatureStores

heads_to_one = all_of(
    click.argument(
        "heads",
        nargs=-1,
        required=True,
        metavar="HEAD HEAD…",
        type=click.Path(dir_okay=False, path_type=Path),
    ),
    output_option("The head file to write, a .safetensors; its card goes beside it."),
)
"""The heads that are put together, and the one that they become."""

validated = all_of(
    click.option(
        "--store",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The store with the validation rows, by the split that the heads have in common.",
    ),
    join_option,
    force_option,
    json_option,
)
"""On which rows it is judged, and the options that every command has."""


def stores_with_validation(
    stack: ExitStack, store: Path | None, joined: tuple[str, ...]
) -> "FeatureStores | None":
    """The stores that were named, open until the stack ends; None where none was."""
    if store is not None:
        return open_stores(stack, store, joined)
    if joined:
        raise click.UsageError("--join adds spaces to those of --store: give that as well")
    return None


class FitProgress:
    """A line on standard error every few seconds while weights are searched."""

    def __init__(self) -> None:
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def __call__(self, num_tried: int, best: Sequence[float], value: float) -> None:
        """Say how far the search is."""
        if time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        shares = ", ".join(f"{weight:.2f}" for weight in best)
        click.echo(f"{num_tried} weights tried: best {value:.4f} at {shares}", err=True)


def report_ensemble(ensemble: "Ensemble", output: Path, how: str, *, as_json: bool) -> None:
    """What came out, and its members beside it: one JSON object, or a short table."""
    from heads.ensembles.ensemble import files_of
    from heads.wording import spoken_metric

    for note in ensemble.notes:
        warn(note)
    if as_json:
        print_json(_as_json(ensemble, output, how))
        return
    info = ensemble.info
    names = [name for name in info.metrics if name in info.intervals]
    header = ["head", "weight", *map(spoken_metric, names), "95 % interval"]
    first = [info.intervals[name] for name in names[:1]]
    interval = "".join(f"{low:.4f} – {high:.4f}" for low, high in first)
    own = [str(output), "", *(f"{info.metrics[name]:.4f}" for name in names), interval]
    rows = [own, *_member_rows(ensemble, names)]
    print_table("", header if names else header[:2], [row if names else row[:2] for row in rows])
    click.echo(f"written: {', '.join(map(str, files_of(ensemble, output)))}")


def _member_rows(ensemble: "Ensemble", names: list[str]) -> list[list[str]]:
    return [
        [member.name, f"{weight:.4g}", *(f"{score[name]:.4f}" for name in names), ""]
        for member, weight, score in ensemble.parts
    ]


def _as_json(ensemble: "Ensemble", output: Path, how: str) -> dict[str, Any]:
    info = ensemble.info
    members = [
        {"head": m.name, "fingerprint": m.fingerprint, "weight": weight, "metrics": dict(score)}
        for m, weight, score in ensemble.parts
    ]
    return {
        "head": str(output),
        "kind": info.kind,
        "how": how,
        "spaces": [space.name for space in info.spaces],
        "targets": list(info.targets),
        "num_train": info.num_train,
        "num_validation": info.num_validation,
        "members": members,
        "metrics": dict(info.metrics),
        "intervals": dict(info.intervals),
        "details": dict(info.details),
    }
