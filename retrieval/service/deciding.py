"""What people have decided of single items, laid over their matches."""

import numpy as np
from jaxtyping import Int64

from embed.errors import IdError
from retrieval.matches.pair_scores import scored_pairs
from retrieval.service.search import Found
from retrieval.service.service import Snapshot
from retrieval.thresholds.match_rules import MatchRule


def with_decisions(snapshot: Snapshot, rule: MatchRule, row: int, found: Found) -> Found:
    """The matches of an item as `retrieval match` writes them: decisions go before the rule.

    Raises:
        DecisionsError: the file of decisions is damaged.
    """
    same, different = decided_rows(snapshot, row)
    if len(same) + len(different) == 0:
        return found
    kept = ~np.isin(found.rows, different)
    new = np.setdiff1d(same, found.rows)
    scored = scored_pairs(snapshot.sides, rule, np.full(len(new), row), new)
    rows = np.concatenate([found.rows[kept], new])
    combined = np.concatenate([found.combined[kept], scored.combined])
    scores = np.concatenate([found.scores[:, kept], scored.scores], axis=1)
    order = np.lexsort((rows, -combined))
    return Found(rows[order], combined[order], scores[:, order])


def decided_rows(
    snapshot: Snapshot, row: int
) -> tuple[Int64[np.ndarray, " s"], Int64[np.ndarray, " d"]]:
    """The rows that are the same as an item, and those that are different, as people have decided.

    Raises:
        DecisionsError: the file of decisions is damaged.
    """
    catalogue, verdicts = snapshot.catalogue, dict[int, str]()
    own = catalogue.id_of(row)
    for pair, made in snapshot.journal.read().standing.items():
        if own in pair:
            try:
                verdicts[catalogue.row_of(pair[pair[0] == own])] = made.decision
            except IdError:  # the store has it no more
                continue
    same, different = (
        np.array(sorted(each for each, made in verdicts.items() if made == verdict), np.int64)
        for verdict in ("same", "different")
    )
    return same, different
