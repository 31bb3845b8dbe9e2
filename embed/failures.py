"""Items that can't be read: how many are allowed, how they are listed and taken again."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8

from embed.errors import SettingsError, StoreError, TooManyFailuresError
from embed.ids import ABSENT, IdIndex
from embed.joining import places_in, title_hashes
from embed.sources import Catalogue
from embed.store import Failure, SpaceInfo, Store
from embed.units import Outcome, blank_hashes
from embed.wording import agreeing, counted

LISTING = "failures.csv"


def allowed_failures(text: str, num_items: int) -> int:
    """A number of items from "12" or "2%".

    Raises:
        SettingsError: it is neither.
    """
    number = text.removesuffix("%")
    is_share = text.endswith("%")
    is_number = number.replace(".", "", 1).isdigit() and (is_share or "." not in text)
    if not is_number or (is_share and float(number) > 100):
        raise SettingsError(
            f"--max-failures is a number of items or a share such as 2%: found '{text}'"
        )
    return int(num_items * float(number) / 100) if is_share else int(number)


def check_failures(failures: Sequence[Failure], num_items: int, allowed: int, folder: Path) -> None:
    """Raise TooManyFailuresError, after listing them in the folder, if more failed than allowed."""
    if len(failures) <= allowed and len(failures) < num_items:
        return
    listing = folder / LISTING
    with listing.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, ["id", "stage", "reason"])
        rows.writeheader()
        rows.writerows(asdict(failure) for failure in failures)
    first = "; ".join(f"{failure.id}: {failure.reason}" for failure in failures[:3])
    found = (
        f"{len(failures)} of {counted(num_items, 'item')} can't be read, {allowed} "
        f"{agreeing(allowed, 'are')} allowed: {first}"
        f"{'; …' if len(failures) > 3 else ''} (all in {listing})."
    )
    if len(failures) == num_items:
        raise TooManyFailuresError(f"{found} Is --image-root right?")
    raise TooManyFailuresError(
        f"{found} What was encoded is kept, and no store was written: mend them, or leave them "
        f"out with --max-failures {len(failures)}, and run the same command again"
    )


def retried_rows(catalogue: Catalogue, old: Store) -> Bool[np.ndarray, " n"]:
    """True at the rows of the catalogue that failed when the store was sealed.

    Raises:
        SettingsError: none of them failed.
    """
    failed = np.zeros(len(catalogue), bool)
    failed[list(failed_before(catalogue, old))] = True
    if not failed.any():
        raise SettingsError(
            f"--retry-failed: {old.path} has {counted(len(old.failures), 'failure')}, none of them "
            f"in the source: run without --retry-failed to take what is new or changed"
        )
    return failed


def require_spaces_of(old: Store, encoded: Mapping[str, SpaceInfo]) -> None:
    """Raise SettingsError where a run that takes only failed items makes a space anew."""
    for name, info in encoded.items():
        if name not in old.spaces or old.spaces[name].fingerprint != info.fingerprint:
            raise SettingsError(
                f"--retry-failed takes failed items alone, and the store has no space '{name}' of "
                f"this encoder ({info.spec} in {info.precision}): name the store's own encoders "
                f"and --precision, or run without --retry-failed"
            )


def outcome_of_the_rest(
    catalogue: Catalogue, old: Store, retried: Bool[np.ndarray, " n"], modalities: list[str]
) -> Outcome:
    """The outcome of all rows that are not read again: what the store says of them.

    Raises:
        StoreError: some have another title than the one that was encoded.
    """
    places = places_in(catalogue, IdIndex(old.id_blocks()))
    taken = np.flatnonzero(~retried & (places != ABSENT))
    hashes = blank_hashes(modalities, len(catalogue))
    for modality, digests in hashes.items():
        digests[taken] = old.modality_hash(modality)[places[taken]]
    if "text" in hashes:
        _require_same_titles(catalogue, hashes["text"], taken)
    return Outcome(hashes, passed_over=~retried)


def _require_same_titles(
    catalogue: Catalogue, sealed: UInt8[np.ndarray, "n 16"], taken: Int[np.ndarray, " m"]
) -> None:
    different = (title_hashes(catalogue) != sealed)[taken].any(axis=1)
    if different.any():
        row = int(taken[different.argmax()])
        raise StoreError(
            f"--retry-failed: {counted(int(different.sum()), 'item')}, "
            f"'{catalogue.ids(row, row + 1)[0]}' among them, "
            f"{agreeing(int(different.sum()), 'have')} another title than the store "
            f"has encoded: run without --retry-failed"
        )


def failed_before(catalogue: Catalogue, old: Store | None) -> dict[int, Failure]:
    """The failures of the store, by row of the catalogue."""
    by_id = {failure.id: failure for failure in (old.failures if old is not None else ())}
    if not by_id:
        return {}
    found: dict[int, Failure] = {}
    start = 0
    for ids in catalogue.id_blocks():
        found |= {start + row: by_id[i] for row, i in enumerate(ids) if i in by_id}
        start += len(ids)
    return found
