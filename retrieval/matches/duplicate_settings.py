"""Which items count as copies of one another, and what there is to be refused about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embed.errors import SettingsError
from embed.files import refuse_existing
from embed.rows import Where
from embed.store import Store
from embed.tables import refuse_suffix
from retrieval.matches.copies import HASHED, Hashed
from retrieval.matches.grouping import refuse_same
from retrieval.search.plans import MEMORY_BYTES


@dataclass(frozen=True)
class DuplicateSettings:
    """Which items count as copies of one another, and what is written of them.

    Attributes:
        exact: what has to be equal byte by byte: content (all that was encoded), image or text.
        max_bits: of binary spaces by name, by how many bits two codes may differ.
        min_scores: of any spaces by name, which score two vectors reach, above 0.
        where: restrictions that all items have to fulfil.
        leaks: COLUMN or COLUMN=VALUE,VALUE: count pairs on different sides of it, and list these
            alone; groups and all other counts are of all copies.
        neighbours: Parquet files of neighbours, each for the space that it holds: near copies are
            then those among the neighbours that are listed.
        memory_bytes, device: what a search may hold, and where products are made: see
            `find_neighbours`.
        shows_progress: as in `Finding`.
        output: a .csv or .parquet file for the pairs; None writes none.
        groups: likewise for the groups.
        force: replace files that exist.
    """

    exact: Hashed = "content"
    max_bits: Mapping[str, int] = field(default_factory=dict)
    min_scores: Mapping[str, float] = field(default_factory=dict)
    where: tuple[Where, ...] = ()
    leaks: str | None = None
    neighbours: tuple[Path, ...] = ()
    memory_bytes: int = MEMORY_BYTES
    device: str = "auto"
    shows_progress: bool = False
    output: Path | None = None
    groups: Path | None = None
    force: bool = False


def refuse_wrong(store: Store, settings: DuplicateSettings) -> None:
    """Raise what `find_duplicates` says of its settings, before anything is read.

    Raises:
        OutputExistsError: a file exists and `force` was not given.
        StoreError: there is no such space.
        SettingsError: a limit or a file that makes no sense.
    """
    if settings.output is not None and settings.groups is not None:
        refuse_same(settings.output, settings.groups)
    for path in filter(None, (settings.output, settings.groups)):
        refuse_suffix(path)
        refuse_existing(path, force=settings.force)
    if settings.exact not in HASHED:
        raise SettingsError(f"--exact is {', '.join(HASHED)}: found '{settings.exact}'")
    for space, bits in settings.max_bits.items():
        info = store.space(space)
        if info.kind != "binary":
            raise SettingsError(
                f"--max-bits is for binary spaces and '{space}' is {info.kind}: give "
                f"--min-score {space}=0.95"
            )
        if not 0 <= bits < info.dim / 2:
            raise SettingsError(
                f"--max-bits {space} is from 0 to below half of its {info.dim} bits: found {bits}"
            )
    for space, score in settings.min_scores.items():
        if space in settings.max_bits:
            raise SettingsError(f"space '{space}' has a --max-bits and a --min-score: give one")
        if not 0 < score <= 1:
            raise SettingsError(f"--min-score {space} is above 0 and up to 1: found {score:g}")
