"""`embed run`: from a source and encoder specs to a sealed store."""

import csv
import os
import platform
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from embed.devices import choose_device
from embed.encoders.registry import Encoders, load_encoders
from embed.encoders.specs import DEFAULT_IMAGE_SPECS, parse_specs
from embed.errors import SettingsError, TooManyFailuresError
from embed.files import remove_leftovers
from embed.ledger import Ledger
from embed.parts import PartsFolder
from embed.pipeline import Flow, Outcome, encode_missing
from embed.progress import show_progress
from embed.seal import Rows, check_spaces, gather_rows, require_complete, write_store
from embed.sources import Catalogue, SourceSettings, read_source, require_column
from embed.store import Failure, SpaceInfo, Store, StoreWriter

IMAGES_PER_BATCH = 32
IMAGES_PER_GPU_BATCH = 256
TITLES_PER_BATCH = 1024
LIBRARIES = (
    *("numpy", "h5py", "pillow", "torch", "torchvision", "open_clip_torch", "timm"),
    *("transformers", "scikit-learn", "scikit-image", "imagehash"),
)


@dataclass(frozen=True)
class RunSettings:
    """Everything that `embed run` can be told.

    With no encoder named, the two that the project is for are taken. `max_failures` is a number of
    items or a share such as "2%". `batch_size` and `num_workers` are chosen where they are None.
    """

    source: Path
    output: Path
    image_encoders: tuple[str, ...] = ()
    text_encoders: tuple[str, ...] = ()
    columns: SourceSettings = field(default_factory=SourceSettings)
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    num_workers: int | None = None
    max_failures: str = "0"
    prune: bool = False
    drop_spaces: tuple[str, ...] = ()
    quiet: bool = True
    command: str = "embed.run.run"


@dataclass(frozen=True)
class RunSummary:
    """What a run did; `num_reused` items had all their vectors already."""

    output: Path
    num_items: int
    num_encoded: int
    num_reused: int
    seconds: float
    failures: tuple[Failure, ...]
    spaces: Mapping[str, SpaceInfo]
    warnings: tuple[str, ...]

    @property
    def items_per_second(self) -> float:
        """Items sealed a second, from start to end, loading of models included."""
        return self.num_items / self.seconds


def run(settings: RunSettings) -> RunSummary:
    """Embed a source into a store, or bring a store up to date.

    A run that was killed goes on where it was; a sealed store is added to: items whose bytes and
    encoders are unchanged are not encoded again.

    Raises:
        SourceError: the source can't be read.
        EncoderError: an encoder can't be loaded.
        StoreError: the store can't be read or extended, or another run is writing it.
        TooManyFailuresError: more items failed than `max_failures`; what was encoded is kept.
    """
    started = time.monotonic()
    catalogue = read_source(settings.source, settings.columns)
    allowed = _allowed_failures(settings.max_failures, len(catalogue))
    encoders = _load(catalogue, settings)
    flow = _flow(settings, encoders)
    parts = PartsFolder(settings.output)
    with parts.locked(), _open_old(settings.output) as old:
        remove_leftovers(settings.output)
        _check_early(catalogue, encoders, old, settings)
        ledger = _ledger(catalogue.ids, encoders, old, parts)
        with show_progress("embed", len(catalogue), quiet=settings.quiet) as advance:
            outcome = encode_missing(catalogue, encoders, ledger, parts, flow, advance)
        _check_failures(outcome, len(catalogue), allowed, parts)
        rows = gather_rows(catalogue, outcome, old, prune=settings.prune)
        kept = _seal(rows, outcome, encoders, old, parts, settings)
        num_encoded = _num_encoded(outcome, encoders, old, settings.output)
    with Store(settings.output) as store:
        spaces = store.spaces
    return RunSummary(
        settings.output,
        len(rows.ids),
        num_encoded,
        rows.num_from_source - num_encoded,
        time.monotonic() - started,
        tuple(outcome.failures.values()),
        spaces,
        _warnings(catalogue, encoders, rows, kept),
    )


@contextmanager
def _open_old(path: Path) -> Iterator[Store | None]:
    """The store as it was before this run, where there is one."""
    if not path.exists():
        yield None
        return
    with Store(path) as store:
        yield store


def _load(catalogue: Catalogue, settings: RunSettings) -> Encoders:
    image_encoders = settings.image_encoders
    if not image_encoders and not settings.text_encoders:
        image_encoders = DEFAULT_IMAGE_SPECS
    specs = parse_specs(image_encoders, settings.text_encoders)
    for spec in specs:
        require_column(catalogue, spec.modality, settings.columns)
    return load_encoders(specs, settings.device, settings.precision)


def _flow(settings: RunSettings, encoders: Encoders) -> Flow:
    for option, number in (("batch-size", settings.batch_size), ("workers", settings.num_workers)):
        if number is not None and number < 1:
            raise SettingsError(f"--{option} is auto or at least 1: found {number}")
    return Flow(
        settings.batch_size or _default_batch_size(settings, encoders),
        settings.num_workers or os.cpu_count() or 1,
    )


def _default_batch_size(settings: RunSettings, encoders: Encoders) -> int:
    if not encoders.image:
        return TITLES_PER_BATCH
    is_gpu = choose_device(settings.device).type == "cuda"
    return IMAGES_PER_GPU_BATCH if is_gpu else IMAGES_PER_BATCH


def _ledger(
    ids: Sequence[str],
    encoders: Encoders,
    old: Store | None,
    parts: PartsFolder | None,
    expected: Mapping[str, UInt8[np.ndarray, "n 16"]] | None = None,
) -> Ledger:
    spaces = {encoder.name: encoder.info for encoder in encoders.per_item}
    ledger = Ledger(ids, spaces, expected)
    if old is not None:
        ledger.add_store(old)
    if parts is not None:
        ledger.add_parts(parts)
    return ledger


def _check_early(
    catalogue: Catalogue, encoders: Encoders, old: Store | None, settings: RunSettings
) -> None:
    """Refuse before the first image what sealing would refuse after the last.

    What failed before is taken to fail again; where it does not, sealing looks once more.
    """
    failed = {failure.id: failure for failure in old.failures} if old is not None else {}
    outcome = Outcome(
        {}, {row: failed[item] for row, item in enumerate(catalogue.ids) if item in failed}
    )
    rows = gather_rows(catalogue, outcome, old, prune=settings.prune)
    ledger = _ledger(rows.ids.tolist(), encoders, old, None)
    check_spaces(rows, old, encoders, settings.drop_spaces, ledger)


def _seal(
    rows: Rows,
    outcome: Outcome,
    encoders: Encoders,
    old: Store | None,
    parts: PartsFolder,
    settings: RunSettings,
) -> set[str]:
    """Write the store and delete the parts that it holds.

    Returns the spaces of the parts that are kept: those of encoders that this run did not name.
    """
    ledger = _ledger(rows.ids.tolist(), encoders, old, parts, rows.hashes)
    carried = check_spaces(rows, old, encoders, settings.drop_spaces, ledger)
    require_complete(encoders, ledger)
    with StoreWriter(settings.output, settings.command, versions()) as writer:
        title_column = settings.columns.title_column
        write_store(writer, rows, old, encoders, carried, ledger, parts, title_column)
        writer.write_failures(list(outcome.failures.values()))
    parts.remove(kept=ledger.other_parts)
    return set().union(*ledger.other_parts.values())


def _num_encoded(outcome: Outcome, encoders: Encoders, old: Store | None, path: Path) -> int:
    """Items that this run encoded; with fitted encoders alone, all of them or none."""
    if encoders.per_item:
        return outcome.num_encoded
    with Store(path) as store:
        names = [encoder.name for encoder in encoders.fitted]
        known = old is not None and all(
            name in old.spaces and old.spaces[name].fingerprint == store.spaces[name].fingerprint
            for name in names
        )
        return 0 if known else len(store)


def _allowed_failures(text: str, num_items: int) -> int:
    """A number of items from "12" or "2%"."""
    number = text.removesuffix("%")
    if not number.replace(".", "", 1).isdigit() or (number == text and "." in text):
        raise SettingsError(
            f"--max-failures is a number of items or a share such as 2%: found '{text}'"
        )
    return int(num_items * float(number) / 100) if text.endswith("%") else int(number)


def _check_failures(outcome: Outcome, num_items: int, allowed: int, parts: PartsFolder) -> None:
    failures = list(outcome.failures.values())
    if len(failures) <= allowed and len(failures) < num_items:
        return
    listing = parts.path / "failures.csv"
    with listing.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, ["id", "stage", "reason"])
        rows.writeheader()
        rows.writerows(asdict(failure) for failure in failures)
    first = "; ".join(f"{failure.id}: {failure.reason}" for failure in failures[:3])
    advice = (
        f"mend them, or leave them out with --max-failures {len(failures)}"
        if len(failures) < num_items
        else "is --image-root right?"
    )
    raise TooManyFailuresError(
        f"{len(failures)} of {num_items} items can't be read, {allowed} are allowed: {first}"
        f"{'; …' if len(failures) > 3 else ''} (all in {listing}). What was encoded is kept, "
        f"and no store was written: {advice}, and run the same command again"
    )


def _warnings(
    catalogue: Catalogue, encoders: Encoders, rows: Rows, kept: Collection[str]
) -> tuple[str, ...]:
    warnings = list(catalogue.warnings)
    num_empty = (catalogue.titles or []).count("")
    if num_empty and (encoders.text or encoders.fitted):
        warnings.append(f"{num_empty} items have an empty title: it was encoded as an empty text")
    num_gone = len(rows.ids) - rows.num_from_source
    if num_gone:
        warnings.append(
            f"{num_gone} items that the source no longer has stay in the store: "
            f"--prune leaves them out"
        )
    if kept:
        warnings.append(
            f"finished rows of {', '.join(sorted(kept))} from a run that did not end are kept: "
            f"name these encoders again to go on from them"
        )
    return tuple(warnings)


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that the numbers depend on."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # an install without the extras
            continue
    return found


def describe_spaces(spaces: Mapping[str, SpaceInfo]) -> dict[str, dict[str, Any]]:
    """The spaces as JSON shows them: kind, dim, modality, spec, fingerprint by name."""
    keys = ("kind", "dim", "modality", "spec", "fingerprint")
    return {name: {key: getattr(info, key) for key in keys} for name, info in spaces.items()}
