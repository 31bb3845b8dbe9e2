"""People's decisions laid over matches: what is the same matches, what is different never does.

They come after the threshold and all rules, and change nothing but the pairs that were decided.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from embed.store import Store
from embed.wording import counted
from retrieval.decisions.journal import Decisions, decisions_path, read_decisions
from retrieval.decisions.pairs import DecidedPairs
from retrieval.matches.pair_scores import scored_pairs
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.match_rules import MatchRule


@dataclass(frozen=True)
class Changes:
    """What decisions have changed so far, in pairs without a direction.

    Attributes:
        path: the file of decisions.
        num_same, num_different: pairs that were decided, of the items that are looked at.
        num_added: those that match by nothing but a decision, from one side at least.
        num_taken_out: those that would match without one.
        num_gone: decisions of items that no store has any more: they change nothing.
    """

    path: str
    num_same: int
    num_different: int
    num_added: int
    num_taken_out: int
    num_gone: int


def decisions_of(store: Store, path: Path | None = None) -> Decisions | None:
    """Those of a file, or of the one beside a store; None where there is none beside it.

    Raises:
        DecisionsError: the file is missing or damaged.
    """
    beside = decisions_path(store.path)
    if path is None and not beside.is_file():
        return None
    return read_decisions(path or beside)


class Honouring:
    """Lays decisions over blocks of candidates, and counts what that changes.

    Raises:
        StoreError: there is no such space.
    """

    def __init__(self, sides: Sides, rule: MatchRule, decisions: Decisions) -> None:
        self.decided = DecidedPairs.of(sides, decisions.standing.values())
        self._decisions, self._rule = decisions, rule
        scored = scored_pairs(sides, rule, self.decided.queries, self.decided.gallery)
        self._scores, self._combined = scored.as_cut(rule), scored.combined
        self._is_changed = np.zeros(len(self.decided), bool)

    def __call__(
        self, start: int, candidates: Candidates, taken: Bool[np.ndarray, "b c"]
    ) -> tuple[Candidates, Bool[np.ndarray, "b d"]]:
        """The candidates of consecutive queries and which of them match, decisions honoured.

        Pairs that are the same and were no candidates become some, in their place by score, so that
        there may be more columns.

        Args:
            start: the position of the first query.
            candidates: theirs, the query itself first.
            taken: which of them match by the rule.
        """
        those, places = self.decided.places(candidates.rows, start)
        decided = self.decided.where(those)
        queries, is_found = decided.queries - start, places >= 0
        was_taken = is_found & taken[queries, places]
        self._is_changed[those] = was_taken != decided.is_same
        matches = taken.copy()
        matches[queries[is_found], places[is_found]] = decided.is_same[is_found]
        new = those[~is_found & decided.is_same]
        if len(new) == 0:
            return candidates, matches
        return self._added(new, start, candidates, matches)

    @property
    def changes(self) -> Changes:
        """What was changed in the blocks that have passed."""
        decided = self.decided
        changed = decided.where(self._is_changed)
        return Changes(
            path=str(self._decisions.path),
            num_same=decided.where(decided.is_same).num_pairs,
            num_different=decided.where(~decided.is_same).num_pairs,
            num_added=changed.where(changed.is_same).num_pairs,
            num_taken_out=changed.where(~changed.is_same).num_pairs,
            num_gone=decided.num_gone,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of the decisions themselves."""
        warnings, num_gone = self._decisions.warnings, self.decided.num_gone
        if num_gone:
            gone = counted(num_gone, "decision", "are")
            warnings += (f"{gone} of items that are not in the store any more",)
        if self._rule.refinements and self.decided.is_same.any():
            warnings += (
                "pairs that match by a decision, and were not found as neighbours, have the score "
                "of their vectors as they are in the store, without refinements",
            )
        return warnings

    def _added(
        self,
        new: Int[np.ndarray, " m"],
        start: int,
        candidates: Candidates,
        matches: Bool[np.ndarray, "b c"],
    ) -> tuple[Candidates, Bool[np.ndarray, "b d"]]:
        """With the pairs at these places as matches, in new columns and then in order."""
        queries = self.decided.queries[new] - start
        counts = np.bincount(queries)
        nth = np.arange(len(new)) - (np.cumsum(counts) - counts)[queries]
        columns = matches.shape[1] + nth
        more = (0, int(counts.max()))
        rows = np.pad(candidates.rows, ((0, 0), more), constant_values=NO_ROW)
        scores = np.pad(candidates.scores, ((0, 0), (0, 0), more), constant_values=-np.inf)
        combined = np.pad(candidates.combined, ((0, 0), more), constant_values=-np.inf)
        taken = np.pad(matches, ((0, 0), more))
        rows[queries, columns] = self.decided.gallery[new]
        scores[:, queries, columns] = self._scores[:, new]
        combined[queries, columns] = self._combined[new]
        taken[queries, columns] = True
        for query in np.unique(queries):
            order = _order(rows[query], combined[query])
            rows[query], combined[query] = rows[query, order], combined[query, order]
            scores[:, query], taken[query] = scores[:, query, order], taken[query, order]
        return Candidates(rows, scores, combined), taken


def _order(rows: Int[np.ndarray, " c"], scores: Float32[np.ndarray, " c"]) -> Int[np.ndarray, " c"]:
    """Best first, ties by row; the query itself, which is in the first column, stays there."""
    others = 1 + np.lexsort((rows[1:], -scores[1:]))
    return np.concatenate([[0], others])
