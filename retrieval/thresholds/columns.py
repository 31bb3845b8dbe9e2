"""How many neighbours are looked at: as `--k` counts them, and as columns of candidates.

Where items look among one another k counts the item itself; between queries and a gallery it does
not. A table of candidates has a column for the query itself in both cases.
"""

from embed.errors import SettingsError
from embed.wording import counted
from retrieval.search.sides import Sides

DEFAULT_K = 50


def asked_k(k: int | None, sides: Sides) -> int:
    """The k that was asked for, once it is known to fit; None takes 50.

    Raises:
        SettingsError: k leaves no room for a match, or is more than there are items.
    """
    if k is None:
        return DEFAULT_K
    num_gallery = len(sides.gallery)
    num_columns(k, sides)  # refuses what is too small
    if k > num_gallery:
        raise SettingsError(
            f"--k {k:,} asks for more neighbours than there are: the gallery has "
            f"{counted(num_gallery, 'item')}; give --k {num_gallery} or less, or leave it out"
        )
    return k


def num_columns(k: int, sides: Sides) -> int:
    """How many candidates a query has for such a k, itself included: as many as there are at most.

    Raises:
        SettingsError: k leaves no room for a match.
    """
    refuse_small_k(k, 2 if sides.is_self_join else 1)
    reached = min(k, len(sides.gallery))
    return reached if sides.is_self_join else 1 + reached


def refuse_small_k(k: int, least: int) -> None:
    """Raise SettingsError where k leaves no room for a match: among one another `least` is 2."""
    if k >= least:
        return
    if least == 2:
        raise SettingsError(f"--k counts the item itself and should be at least 2: found {k}")
    raise SettingsError(f"--k counts neighbours in the gallery and is 1 or more: found {k}")
