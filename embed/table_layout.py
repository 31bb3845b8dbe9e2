"""How a table fits a terminal: as wide as its columns need, or cut into several, never a number."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

LONGEST_WHOLE = 24
"""A cell up to this many characters is never folded; a longer text may be, between words or not."""
GAP = 3  # what a box of rich's has between two columns, and 1 more at the start


@dataclass(frozen=True)
class Piece:
    """Some columns of a table by number, the first among them, and how wide each is to be."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]


def pieces(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[Piece]:
    """The columns in one table where that fits `width`, else in several one below the other.

    Each has the first column, and as many others as fit by their least widths; what is then left
    goes to those that would like more, from left to right, and to the first one last.
    """
    columns = [[name, *(row[n] for row in rows)] for n, name in enumerate(header)]
    least, most = list(map(_least, columns)), list(map(_most, columns))
    groups: list[list[int]] = [[0]]
    for column in range(1, len(header)):
        if len(groups[-1]) > 1 and _width([least[n] for n in (*groups[-1], column)]) > width:
            groups.append([0])
        groups[-1].append(column)
    return [Piece(tuple(group), _widths(group, least, most, width)) for group in groups]


def _widths(
    group: Sequence[int], least: Sequence[int], most: Sequence[int], width: int
) -> tuple[int, ...]:
    spare = width - _width([least[n] for n in group])
    widths = {}
    for column in (*group[1:], group[0]):
        more = max(0, min(spare, most[column] - least[column]))
        spare -= more
        widths[column] = least[column] + more
    return tuple(widths[column] for column in group)


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * len(widths) + 1


def _least(column: Sequence[str]) -> int:
    """The words of the header, and every cell that is not long, in one piece."""
    header, *cells = column
    words = [cell_len(word) for word in header.split()]
    return max(1, *words, *(min(cell_len(cell), LONGEST_WHOLE) for cell in cells))


def _most(column: Sequence[str]) -> int:
    return max(1, *map(cell_len, column))
