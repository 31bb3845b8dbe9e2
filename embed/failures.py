"""Items that can't be read: how many are allowed, how they are listed and taken again."""

import csv
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from embed.errors import SettingsError, TooManyFailuresError
from embed.ids import ABSENT, IdIndex
from embed.joining import places_in
from embed.sources import Catalogue
from embed.store import Failure, Store
from embed.units import Outcome, blank_hashes

LISTING = "failures.csv"


def allowed_failures(text: str, num_items: int) -> int:
    """A number of items from "12" or "2%".

    Raises:
        SettingsError: it is neither.
    """
    number = text.removesuffix("%")
    if not number.replace(".", "", 1).isdigit() or (number == text and "." in text):
        raise SettingsError(
            f"--max-failures is a number of items or a share such as 2%: found '{text}'"
        )
    return int(num_items * float(number) / 100) if text.endswith("%") else int(number)


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


def retried_rows(catalogue: Catalogue, old: Store) -> Bool[np.ndarray, " n"]:
    """True at the rows of the catalogue that failed when the store was sealed.

    Raises:
        SettingsError: none of them failed.
    """
    failed = _rows_of(catalogue, [failure.id for failure in old.failures])
    if not failed.any():
        raise SettingsError(
            f"--retry-failed: {old.path} has {len(old.failures)} failures, none of them in the "
            f"source: run without --retry-failed to take what is new or changed"
        )
    return failed


def outcome_of_the_rest(
    catalogue: Catalogue, old: Store, retried: Bool[np.ndarray, " n"], modalities: list[str]
) -> Outcome:
    """The outcome of all rows that are not read again: what the store says of them."""
    places = places_in(catalogue, IdIndex(old.id_blocks()))
    taken = ~retried & (places != ABSENT)
    hashes = blank_hashes(modalities, len(catalogue))
    for modality, digests in hashes.items():
        digests[taken] = old.modality_hash(modality)[places[taken]]
    return Outcome(hashes, passed_over=~retried)


def failed_before(catalogue: Catalogue, old: Store | None) -> dict[int, Failure]:
    """The failures of the store, by row of the catalogue."""
    failures = old.failures if old is not None else []
    failed = _rows_of(catalogue, [failure.id for failure in failures])
    rows = np.flatnonzero(failed).tolist()
    by_id = {failure.id: failure for failure in failures}
    return {row: by_id[catalogue.ids(row, row + 1)[0]] for row in rows}


def _rows_of(catalogue: Catalogue, ids: Collection[str]) -> Bool[np.ndarray, " n"]:
    return np.asarray(places_in(catalogue, IdIndex([list(ids)])) != ABSENT)
