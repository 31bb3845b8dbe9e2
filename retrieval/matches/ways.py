"""The ways of looking for copies that were asked for, and what each of them finds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from embed.errors import SettingsError
from embed.store import Store
from embed.wording import counted
from retrieval.finding import Finding
from retrieval.matches.copies import exact_copies, near_copies
from retrieval.matches.copy_pairs import BY_BYTES, Way
from retrieval.matches.duplicate_settings import DuplicateSettings
from retrieval.search.neighbour_files import read_info


def findings_of(settings: DuplicateSettings) -> dict[str, Finding]:
    """How neighbours are found in each space that has a limit.

    Raises:
        NeighboursError: a file can't be read.
        SettingsError: a file serves none of the spaces, two serve one, or one holds refined scores.
    """
    plain = Finding(
        settings.memory_bytes, device=settings.device, shows_progress=settings.shows_progress
    )
    spaces = (*settings.max_bits, *settings.min_scores)
    findings = dict.fromkeys(spaces, plain)
    for path in settings.neighbours:
        held = list(read_info(path).spaces)
        if len(held) != 1 or held[0] not in spaces:
            raise SettingsError(
                f"{path} holds neighbours in {' + '.join(held)}, and copies are looked for in "
                f"{', '.join(spaces) or 'no space'}: give a file of one of them, and a --max-bits "
                f"or --min-score of its space"
            )
        if findings[held[0]] is not plain:
            raise SettingsError(f"two files of neighbours are of space '{held[0]}': give one")
        findings[held[0]] = replace(plain, neighbours=path)
        if findings[held[0]].applied:
            raise SettingsError(
                f"{path} holds refined neighbours, whose scores are no longer those of two items: "
                f"make it without refinements"
            )
    return findings


def ways_of_looking(
    store: Store,
    rows: Int[np.ndarray, " n"],
    settings: DuplicateSettings,
    findings: Mapping[str, Finding],
) -> list[Way]:
    """What each way finds among some rows: by their bytes, then in each space that has a limit.

    Raises:
        StoreError: there is no such space, or a vector is not finite or, in a dense space, zero.
        NeighboursError: a file of neighbours is of other rows.
    """
    ways = [Way(BY_BYTES, settings.exact, exact_copies(store, rows, settings.exact))]
    for space, bits in settings.max_bits.items():
        num_bits = store.space(space).dim
        # Half a bit more than allowed: between two scores, so that no rounding matters.
        least = 1 - (2 * bits + 1) / num_bits
        copies = near_copies(store, space, rows, least, findings[space])
        ways.append(Way(space, f"≤ {bits} bits", copies, num_bits))
    for space, score in settings.min_scores.items():
        copies = near_copies(store, space, rows, score, findings[space])
        ways.append(Way(space, f"score ≥ {score:g}", copies))
    return ways


def warnings_of(ways: Sequence[Way], findings: Mapping[str, Finding]) -> tuple[str, ...]:
    """What files of neighbours leave open."""
    warnings: list[str] = []
    for finding in findings.values():
        if finding.neighbours is not None:
            warnings += finding.warnings_for(read_info(finding.neighbours).k)
    for way in ways:
        num_full = way.copies.num_full
        if num_full:
            warnings.append(
                f"{counted(num_full, 'item')} may have more near copies in '{way.name}': all "
                f"neighbours that {findings[way.name].neighbours} lists of "
                f"{'it' if num_full == 1 else 'them'} are near enough; make it with a higher --k, "
                f"or leave --neighbours out"
            )
    return tuple(warnings)
