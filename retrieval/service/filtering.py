"""Restrictions of a search to the items that have some value in a column."""

from collections.abc import Iterator, Sequence

from embed.errors import SettingsError
from embed.rows import Where
from retrieval.service.service import Snapshot


def restrictions(snapshot: Snapshot, where: Sequence[str]) -> list[Where]:
    """Each COLUMN=VALUE as a restriction.

    Raises:
        SettingsError: a text that is none; the message shows one that the store has.
    """
    for text in where:
        column, equals, _ = text.partition("=")
        if not column or not equals:
            raise SettingsError(
                f"where takes COLUMN=VALUE: found '{text[:100]}'{_example(snapshot)}"
            )
    return [Where.parse(text) for text in where]


def warnings_of(snapshot: Snapshot, where: Sequence[str]) -> Iterator[str]:
    """A sentence about each restriction that no item fulfils."""
    for one in restrictions(snapshot, where):
        if not snapshot.catalogue.mask(one.column, one.value).any():
            yield f"no item has {one.column} '{one.value[:100]}'"


def _example(snapshot: Snapshot) -> str:
    """A restriction that divides the items into as few parts as there can be."""
    dividing = {name: of for name, of in snapshot.catalogue.distinct.items() if len(of) > 1}
    if not dividing:
        return ""
    column = min(dividing, key=lambda name: len(dividing[name]))
    return f"; such as where={column}={next(iter(dividing[column]))}"
