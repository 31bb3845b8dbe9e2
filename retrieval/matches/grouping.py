"""Groups of matched items, gathered while the matches pass, and the file of them."""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64, Shaped

from embed.errors import SettingsError
from embed.tables import writing_table
from retrieval.decisions.pairs import DecidedPairs
from retrieval.matches.complete_link import complete_groups
from retrieval.matches.groups import Groups, connected_groups, describe_groups
from retrieval.matches.links import Links
from retrieval.matches.match_blocks import MatchBlock
from retrieval.search.ranking import NO_ROW
from retrieval.search.sides import Sides
from retrieval.thresholds.match_rules import MatchRule

Linkage = Literal["single", "complete"]
LINKAGES: tuple[Linkage, ...] = ("single", "complete")


class Grouping:
    """Takes in blocks of matches and makes groups of the items of both sides.

    Items are numbered as in the gallery; queries that are not in it come after. All candidates are
    kept, some 20 bytes each, so that a group's lowest score is known where a search has seen it.

    Raises:
        SettingsError: complete groups of a query side and a gallery.
    """

    def __init__(
        self,
        sides: Sides,
        rule: MatchRule,
        linkage: Linkage,
        decided: DecidedPairs | None = None,
    ) -> None:
        if linkage == "complete" and not sides.is_self_join:
            raise SettingsError(
                "--linkage complete is for items among one another: in a gallery that does not "
                "look for neighbours no two items match, so that no group would have two of them"
            )
        self._linkage = linkage
        self._sides = sides
        self._rule = rule
        self._decided = decided
        is_outside = sides.own == NO_ROW
        after = len(sides.gallery) + np.cumsum(is_outside) - 1
        self._numbers = np.where(is_outside, after, sides.own).astype(np.int64)
        self._num_items = len(sides.gallery) + int(is_outside.sum())
        self._matches: list[Links] = []
        self._known: list[Links] = []

    def add(self, block: MatchBlock) -> None:
        """Take in the candidates of some queries."""
        self._matches.append(self._links(block, block.is_match))
        self._known.append(self._links(block, block.candidates.exist))

    def groups(self) -> Groups:
        """single: chains of matches make a group; complete: all of its pairs match.

        Complete groups begin with the pairs that were decided to be the same.
        """
        matches = Links.joined(self._matches)
        trusted = matches
        if self._decided is not None:
            same = self._decided.where(self._decided.is_same)
            trusted = matches.trusting(self._numbers[same.queries], same.gallery)
        make = connected_groups if self._linkage == "single" else complete_groups
        numbers = make(self._num_items, trusted)
        known, num_pairs = Links.joined(self._known), self._num_pairs(numbers)
        return describe_groups(numbers, matches, known, self._least(), num_pairs, trusted)

    @property
    def ids(self) -> Shaped[np.ndarray, " n"]:
        """The ids of all items, as they are numbered."""
        outside = self._sides.queries.ids[self._sides.own == NO_ROW]
        return np.concatenate([self._sides.gallery.ids, outside])

    def _links(self, block: MatchBlock, chosen: Bool[np.ndarray, "b c"]) -> Links:
        pairs = block.others(chosen)
        queries: Int64[np.ndarray, " p"] = self._numbers[pairs.queries]
        return Links(queries, pairs.gallery.astype(np.int64), pairs.combined)

    def _num_pairs(self, numbers: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " g"]:
        """How many pairs of a query and an item of the gallery each group has."""
        num_groups = int(numbers.max(initial=-1)) + 1
        is_own = self._sides.own != NO_ROW
        queries, gallery, both = (
            np.bincount(numbers[items], minlength=num_groups)
            for items in (
                self._numbers,
                np.arange(len(self._sides.gallery)),
                self._numbers[is_own],
            )
        )
        # Less an item with itself, and what two items on both sides would be counted twice.
        return np.asarray(queries * gallery - both - both * (both - 1) // 2)

    def _least(self) -> float:
        """The threshold of the score that chains are made of; −inf where each space has its own."""
        own = [self._rule.thresholds, *self._rule.by_category.values()]
        return -np.inf if len(own[0]) > 1 else float(min(threshold for (threshold,) in own))


def write_groups(path: Path, ids: Shaped[np.ndarray, " n"], groups: Groups) -> None:
    """One line for each item, in the order of its group: the file's columns are these.

    id, group (from 1), size, weakest_chain, lowest_score and flagged; the scores of an item that is
    alone are empty.
    """
    order = np.argsort(groups.numbers, kind="stable")
    of_items = groups.numbers[order]
    scores = {
        name: pl.Series(values[of_items].round(6)).fill_nan(None)
        for name, values in (
            ("weakest_chain", groups.weakest_chain),
            ("lowest_score", groups.lowest_score),
        )
    }
    table = {
        "id": pl.Series(ids[order].tolist(), dtype=pl.String),
        "group": of_items + 1,
        "size": groups.sizes[of_items],
        **scores,
        "flagged": groups.is_flagged[of_items],
    }
    with writing_table(path) as write:
        write(pl.DataFrame(table))


def refuse_same(output: Path, groups: Path) -> None:
    """Raise SettingsError where the two would be written to one file."""
    if output.resolve() == groups.resolve():
        raise SettingsError(f"-o and --groups both name {groups}: give each a file of its own")
