"""How neighbours are found: exactly, with refinements, by an index, or in a file of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embed.errors import NeighboursError, SettingsError
from embed.progress import show_progress
from retrieval.refining.refinements import Refinements, refined_neighbours
from retrieval.search.approximate import ApproximateIndex, iterate_approximate
from retrieval.search.combined import combined_neighbours, shares_of
from retrieval.search.index_files import load_index
from retrieval.search.neighbour_files import read_info, read_neighbours
from retrieval.search.neighbours import Neighbours, iterate_neighbours
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.ranking import joined
from retrieval.search.sides import Sides

NO_REFINEMENTS = Refinements()
BLOCK_ROWS = 4096
PATIENCE_SECONDS, LINE_SECONDS = 3.0, 10.0
"""What a search may take before a terminal shows a bar, and what lies between lines elsewhere."""


@dataclass(frozen=True)
class Finding:
    """How neighbours are found; exactly, unless something else is named.

    Attributes:
        memory_bytes: what a search may hold: see `find_neighbours`.
        refinements: what is done beyond the plain search.
        index: a file of an index of the gallery, which makes the search approximate.
        neighbours: a Parquet file of neighbours that were found before.
        device: where large products are made: auto, cpu, cuda or cuda:N.
        shows_progress: tell on standard error how far a search is that takes some seconds.
    """

    memory_bytes: int = MEMORY_BYTES
    refinements: Refinements = NO_REFINEMENTS
    index: Path | None = None
    neighbours: Path | None = None
    device: str = "auto"
    shows_progress: bool = False

    def __post_init__(self) -> None:
        given = {
            "--neighbours": self.neighbours is not None,
            "--index": self.index is not None,
            "refinements": bool(self.refinements),
        }
        named = [name for name, is_given in given.items() if is_given]
        if len(named) > 1:
            raise SettingsError(
                f"neighbours are found in one way: give one of {' and '.join(named)}; a file of "
                f"neighbours holds what was refined before it was written"
            )

    @property
    def is_plain(self) -> bool:
        """True where nothing but an exact search is asked for."""
        return self.index is None and self.neighbours is None and not self.refinements

    @property
    def applied(self) -> Refinements:
        """What was done beyond the plain search, here or before a file was written.

        Raises:
            NeighboursError: the file of neighbours can't be read.
        """
        if self.neighbours is None:
            return self.refinements
        try:
            return Refinements.from_json(read_info(self.neighbours).refinements)
        except TypeError as error:  # a refinement that this program does not know
            raise NeighboursError(
                f"{self.neighbours} was refined in a way that is not known here: {error}"
            ) from error

    def warnings_for(self, columns: int) -> tuple[str, ...]:
        """What to know of neighbours that were not found exactly, where so many are used.

        The item itself is one of them, as in `find_neighbours`.

        Raises:
            NeighboursError: the file can't be read.
        """
        if self.is_plain or self.refinements:
            return ()
        method, recall, k = self._measured
        if method == "exact":
            return ()
        found = f"neighbours come from an index ({method}): it found {recall:.4f} of the nearest"
        if k == columns:
            return (f"{found} {columns - 1:,} where that was measured",)
        return (
            f"{found} {k - 1:,} where that was measured, and may find another share of the "
            f"{columns - 1:,} that are used here",
        )

    @property
    def _measured(self) -> tuple[str, float, int]:
        """The method, the recall, and the k that it was measured of."""
        if self.index is not None:
            index = load_index(self.index).info
            return index.method, index.recall, index.k
        assert self.neighbours is not None
        listed = read_info(self.neighbours)
        return listed.method, listed.recall, listed.recall_k

    def columns(self, wanted: int, least: int) -> int:
        """As many columns as are wanted and a file of neighbours has, though not below the least.

        Raises:
            NeighboursError: the file can't be read.
        """
        if self.neighbours is None:
            return wanted
        return min(wanted, max(least, read_info(self.neighbours).k))


EXACT = Finding()


def found_neighbours(
    sides: Sides, weights: Mapping[str, float], k: int, finding: Finding = EXACT
) -> Neighbours:
    """The k nearest of each query in a space, or by the weighted mean of the scores of several.

    Raises:
        SettingsError: several spaces with an index, or unequal weights with refinements or a file.
        NeighboursError: a file that can't be read or does not fit.
        What `find_neighbours` raises.
    """
    return joined([block for _, block in iterate_found(sides, weights, k, finding)])


def iterate_found(
    sides: Sides, weights: Mapping[str, float], k: int, finding: Finding = EXACT
) -> Iterator[tuple[int, Neighbours]]:
    """Blocks of `found_neighbours`, first to last, each with the position of its first query.

    An exact search in one space, or one by an index, holds no more than a block at a time.
    """
    spaces, memory_bytes, device = list(weights), finding.memory_bytes, finding.device
    if finding.index is not None:
        index = _index_of(finding.index, sides, spaces)
        blocks = iterate_approximate(sides, k, index, memory_bytes=memory_bytes)
        return _shown(blocks, sides, spaces[0], finding)
    if finding.neighbours is not None:
        _refuse_unequal(weights, "neighbours in a file")
        return _pieces(read_neighbours(finding.neighbours, sides, spaces, k))
    if finding.refinements:
        _refuse_unequal(weights, "refined neighbours")
        asked = (spaces, k, finding.refinements)
        found = refined_neighbours(sides, *asked, memory_bytes=memory_bytes, device=device)
        return _pieces(found)
    if len(spaces) > 1:
        shares = shares_of(weights)
        return _pieces(combined_neighbours(sides, shares, k, memory_bytes=memory_bytes))
    blocks = iterate_neighbours(sides, spaces[0], k, memory_bytes=memory_bytes, device=device)
    return _shown(blocks, sides, spaces[0], finding)


def _shown(
    blocks: Iterator[tuple[int, Neighbours]], sides: Sides, space: str, finding: Finding
) -> Iterator[tuple[int, Neighbours]]:
    """The same blocks; how many queries they are of is told as they pass."""
    with show_progress(
        f"search in {space}",
        len(sides.queries),
        quiet=not finding.shows_progress,
        patience_seconds=PATIENCE_SECONDS,
        line_seconds=LINE_SECONDS,
    ) as advance:
        for start, found in blocks:
            advance(len(found.rows))
            yield start, found


def _index_of(path: Path, sides: Sides, spaces: Sequence[str]) -> ApproximateIndex:
    if len(spaces) > 1:
        raise SettingsError(
            f"an index holds the vectors of one space: leave out --index, or all but one of "
            f"{', '.join(spaces)}"
        )
    index = load_index(path)
    held = index.info
    wanted = sides.gallery.store.space(spaces[0]).fingerprint
    if (held.space, held.fingerprint) != (spaces[0], wanted):
        raise NeighboursError(
            f"{path} holds the vectors of space '{held.space}' (fingerprint {held.fingerprint}), "
            f"and '{spaces[0]}' (fingerprint {wanted}) is searched: make an index of that with "
            f"`python -m retrieval index {sides.gallery.store.path} --space {spaces[0]}`"
        )
    return index


def _refuse_unequal(weights: Mapping[str, float], what: str) -> None:
    if len(set(weights.values())) > 1:
        raise SettingsError(f"{what} weigh all spaces alike: leave --weight and --tune-weights out")


def _pieces(found: Neighbours) -> Iterator[tuple[int, Neighbours]]:
    for start in range(0, len(found.rows), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        yield start, Neighbours(found.rows[block], found.scores[block])
