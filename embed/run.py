"""`embed run`: from a source and encoder specs to a sealed store."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from embed.devices import num_cores
from embed.encoders.base import FittedTextEncoder
from embed.encoders.registry import load_encoders
from embed.encoders.specs import DEFAULT_IMAGE_SPECS, EncoderSpec, parse_specs
from embed.errors import OutputError, SettingsError
from embed.failures import (
    allowed_failures,
    check_failures,
    failed_before,
    outcome_of_the_rest,
    require_spaces_of,
    retried_rows,
)
from embed.files import remove_leftovers
from embed.ids import IdIndex
from embed.images import MAX_PIXELS
from embed.joining import SealedRows, gather_rows
from embed.ledger import Ledger
from embed.parts import PartsFolder
from embed.progress import show_progress
from embed.seal import (
    MadeSpaces,
    check_spaces,
    require_complete,
    require_known_origin,
    write_store,
)
from embed.sources import Catalogue, FetchSettings, SourceSettings, read_source, require_column
from embed.store import Failure, Store, StoreWriter
from embed.summary import RunSummary, num_encoded, versions, warnings_of
from embed.units import Outcome, blank_hashes, rows_per_unit, unit_starts
from embed.worker_processes import WorkerProcesses
from embed.workers import Order, OwnProcess, Workers

SPOOL = "catalogue"


@dataclass(frozen=True)
class RunSettings:
    """Everything that `embed run` can be told.

    With no encoder named, the two that the project is for are taken or, with `retry_failed`, those
    of the store. `device` may name several, separated by commas: each gets a process of its own.
    `max_failures` is a number of items or a share such as "2%". `batch_size` and `num_workers` (the
    threads that read and decode, for each device) are chosen where they are None.
    """

    source: Path | str
    output: Path
    image_encoders: tuple[str, ...] = ()
    text_encoders: tuple[str, ...] = ()
    columns: SourceSettings = field(default_factory=SourceSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    max_pixels: int = MAX_PIXELS
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    num_workers: int | None = None
    max_failures: str = "0"
    retry_failed: bool = False
    prune: bool = False
    drop_spaces: tuple[str, ...] = ()
    quiet: bool = True
    command: str = "embed.run.run"


def run(settings: RunSettings) -> RunSummary:
    """Embed a source into a store, or bring a store up to date.

    A run that was killed goes on where it was; a sealed store is added to: items whose bytes and
    encoders are unchanged are not encoded again.

    Raises:
        SourceError: the source can't be read.
        EncoderError: an encoder can't be loaded.
        StoreError: the store can't be read or extended, or another run is writing it.
        TooManyFailuresError: more items failed than `max_failures`; what was encoded is kept.
        WorkerError: a process that encoded for one of several devices died twice.
    """
    started = time.monotonic()
    _check_numbers(settings)
    parts = PartsFolder(settings.output)
    with parts.locked(), _open_old(settings.output) as old:
        remove_leftovers(settings.output)
        specs = _specs(settings, old)
        with _spooled(settings, parts) as catalogue:
            for spec in specs:
                require_column(catalogue, spec.modality, settings.columns)
            allowed = allowed_failures(settings.max_failures, len(catalogue))
            wanted = _wanted_rows(settings, catalogue, old)
            order = _order(settings, specs, wanted)
            with _workers(order, settings) as workers:
                made = MadeSpaces(workers.infos, _fitted(specs, settings))
                _check_early(catalogue, made, old, order.modalities, settings)
                loaded = time.monotonic()
                outcome = _encode(workers, order, catalogue, old, settings)
            failures = [outcome.failures[row] for row in sorted(outcome.failures)]
            check_failures(failures, len(catalogue), allowed, parts.path)
            rows = _gather(catalogue, outcome, old, order.modalities, settings)
            kept = _seal(rows, failures, made, parts, settings)
            warnings = [*warnings_of(rows, specs, made, kept), *workers.warnings]
    with Store(settings.output) as store:
        spaces = store.spaces
    encoded = num_encoded(outcome, made, spaces, rows)
    return RunSummary(
        settings.output,
        len(rows),
        encoded,
        rows.num_from_source - encoded,
        time.monotonic() - started,
        loaded - started,
        tuple(failures),
        spaces,
        tuple(warnings),
    )


def _check_numbers(settings: RunSettings) -> None:
    """What can be refused before anything is read."""
    allowed_failures(settings.max_failures, 0)
    for option, number in (
        ("batch-size", settings.batch_size),
        ("workers", settings.num_workers),
        ("max-pixels", settings.max_pixels),
    ):
        if number is not None and number < 1:
            raise SettingsError(f"--{option} is at least 1: found {number}")


@contextmanager
def _open_old(path: Path) -> Iterator[Store | None]:
    """The store as it was before this run, where there is one."""
    if not path.exists():
        yield None
        return
    with Store(path) as store:
        yield store


def _specs(settings: RunSettings, old: Store | None) -> list[EncoderSpec]:
    image, text = settings.image_encoders, settings.text_encoders
    if settings.retry_failed and old is None:
        raise SettingsError(
            f"--retry-failed: no store at {settings.output}: run without it first (a run that "
            f"stopped at failures takes them again when it is given again)"
        )
    if not image and not text:
        image, text = (DEFAULT_IMAGE_SPECS, ())
        if settings.retry_failed and old is not None:
            image, text = (_specs_of(old, modality) for modality in ("image", "text"))
    return parse_specs(image, text)


def _specs_of(old: Store, modality: str) -> tuple[str, ...]:
    """The encoders that made the store's spaces."""
    return tuple(
        f"{name}={info.spec}"
        for name, info in old.spaces.items()
        if info.modality == modality and not info.spec.startswith(("head:", "imported:"))
    )


@contextmanager
def _spooled(settings: RunSettings, parts: PartsFolder) -> Iterator[Catalogue]:
    """The catalogue, kept in a file among the parts for as long as the run lasts."""
    spool = parts.path / SPOOL
    try:
        yield read_source(str(settings.source), settings.columns, spool)
    finally:
        for path in parts.path.glob(f"{SPOOL}*"):
            path.unlink()


def _wanted_rows(
    settings: RunSettings, catalogue: Catalogue, old: Store | None
) -> Bool[np.ndarray, " n"] | None:
    if not settings.retry_failed:
        return None
    assert old is not None  # refused before
    return retried_rows(catalogue, old)


def _order(
    settings: RunSettings, specs: list[EncoderSpec], wanted: Bool[np.ndarray, " n"] | None
) -> Order:
    parts = PartsFolder(settings.output)
    modalities = [name for name in ("image", "text") if any(s.modality == name for s in specs)]
    return Order(
        spool=parts.path / SPOOL,
        store=settings.output,
        specs=tuple(specs),
        modalities=modalities,
        precision=settings.precision,
        batch_size=settings.batch_size,
        num_readers=settings.num_workers,
        max_pixels=settings.max_pixels,
        fetch=settings.fetch,
        wanted=wanted,
    )


@contextmanager
def _workers(order: Order, settings: RunSettings) -> Iterator[Workers]:
    devices = [name.strip() for name in settings.device.split(",")]
    workers: Workers
    if len(devices) == 1:
        workers = OwnProcess(order, devices[0], num_cores())
    else:
        workers = WorkerProcesses(order, devices)
    try:
        yield workers
    finally:
        workers.stop()


def _gather(
    catalogue: Catalogue,
    outcome: Outcome,
    old: Store | None,
    modalities: list[str],
    settings: RunSettings,
) -> SealedRows:
    image_column = None if "image" in modalities else settings.columns.image_column
    return gather_rows(catalogue, outcome, old, image_column, prune=settings.prune)


def _fitted(specs: list[EncoderSpec], settings: RunSettings) -> tuple[FittedTextEncoder, ...]:
    fitted = [spec for spec in specs if spec.is_fitted]
    return load_encoders(fitted, settings.device, settings.precision).fitted


def _check_early(
    catalogue: Catalogue,
    made: MadeSpaces,
    old: Store | None,
    modalities: list[str],
    settings: RunSettings,
) -> None:
    """Refuse before the first image what sealing would refuse after the last.

    What failed before is taken to fail again; where it does not, sealing looks once more.
    """
    if settings.retry_failed and old is not None:
        require_spaces_of(old, made.encoded)
    outcome = Outcome({}, failed_before(catalogue, old))
    rows = _gather(catalogue, outcome, old, modalities, settings)
    carried = check_spaces(rows, made, settings.drop_spaces)
    if old is not None:
        require_known_origin(old, carried, modalities)


def _encode(
    workers: Workers, order: Order, catalogue: Catalogue, old: Store | None, settings: RunSettings
) -> Outcome:
    outcome = Outcome(blank_hashes(order.modalities, len(catalogue)))
    num_items = len(catalogue)
    if order.wanted is not None:
        assert old is not None
        outcome = outcome_of_the_rest(catalogue, old, order.wanted, order.modalities)
        num_items = int(order.wanted.sum())
    batch_size = _batch_size(workers, order, settings.device)
    starts = unit_starts(len(catalogue), rows_per_unit(batch_size), order.wanted)
    with show_progress("embed", num_items, quiet=settings.quiet) as advance:
        workers.encode(starts, batch_size, outcome.add, advance)
    return outcome


def _batch_size(workers: Workers, order: Order, device: str) -> int:
    """The one that was asked for, or that of the run whose parts are there, or the best."""
    parts, spaces = PartsFolder(order.store), list(workers.infos.values())
    planned = parts.planned_batch_size(spaces, device)
    batch_size = order.batch_size or planned or workers.batch_size
    parts.plan_batch_size(batch_size, spaces, device)
    return batch_size


def _seal(
    rows: SealedRows,
    failures: list[Failure],
    made: MadeSpaces,
    parts: PartsFolder,
    settings: RunSettings,
) -> set[str]:
    """Write the store and delete the parts that it holds.

    Returns the spaces of the parts that are kept: those of encoders that this run did not name.
    """
    carried = check_spaces(rows, made, settings.drop_spaces)
    ledger = Ledger(IdIndex(rows.id_blocks()), made.encoded, rows.hashes)
    if rows.old is not None:
        ledger.add_store(rows.old)
    ledger.add_parts(parts)
    require_complete(made, ledger)
    try:
        with StoreWriter(settings.output, settings.command, versions()) as writer:
            title_column = settings.columns.title_column
            write_store(writer, rows, made, carried, ledger, parts, title_column)
            writer.write_failures(failures)
            writer.write_images(rows.image_origin)
    except OSError as error:  # HDF5 wraps the system's reason into long sentences
        raise OutputError(
            f"can't write {settings.output}: {_reason(error)}; the finished rows are kept in "
            f"{parts.path}: mend this, and run the same command again"
        ) from error
    parts.remove(kept=ledger.other_parts)
    return set().union(*ledger.other_parts.values())


def _reason(error: OSError) -> str:
    found = re.search(r"error message = '([^']+)'", str(error))
    return found[1] if found else error.strerror or str(error)
