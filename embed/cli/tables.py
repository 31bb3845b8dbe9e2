"""Tables that several commands print."""

from typing import TYPE_CHECKING

from embed.options import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from embed.store import SpaceInfo


def print_spaces(title: str, spaces: "Mapping[str, SpaceInfo]") -> None:
    """What each space is, a row each."""
    rows = [
        [name, space.kind, f"{space.dim:,}", space.modality, space.precision, space.spec]
        for name, space in spaces.items()
    ]
    header = ["space", "kind", "dim", "modality", "precision", "encoder or head"]
    print_table(title, header, rows)
