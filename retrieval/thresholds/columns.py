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


def refuse_large_at_least(at_least: int, k: int, sides: Sides) -> None:
    """Raise SettingsError where `--at-least` asks for more matches than such a k allows."""
    num_allowed = num_columns(k, sides)
    if at_least <= num_allowed:
        return
    needed = at_least if sides.is_self_join else at_least - 1
    wider = f"--k {needed} or " if needed <= len(sides.gallery) else ""
    raise SettingsError(
        f"--at-least {at_least} takes the item itself and {counted(at_least - 1, 'other')}, and no "
        f"more than {num_allowed - 1} are found with --k {k} among the "
        f"{counted(len(sides.gallery), 'item')}: give {wider}--at-least {num_allowed}"
    )


def refuse_small_k(k: int, least: int) -> None:
    """Raise SettingsError where k leaves no room for a match: among one another `least` is 2."""
    if k >= least:
        return
    if least == 2:
        raise SettingsError(f"--k counts the item itself and should be at least 2: found {k}")
    raise SettingsError(f"--k counts neighbours in the gallery and is 1 or more: found {k}")
