"""The files that matches are written to: one line an item, as contests want it, or one a pair."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Shaped

from embed.files import replacing
from embed.tables import writing_table
from retrieval.matches.match_blocks import MatchBlock
from retrieval.matches.naming import joined_names
from retrieval.search.sides import Sides
from retrieval.thresholds.match_rules import MatchRule

Format = Literal["competition", "pairs"]
FORMATS: tuple[Format, ...] = ("competition", "pairs")
Write = Callable[[MatchBlock], None]


def format_of(output: Path) -> Format:
    """The format that a file's name stands for: pairs in Parquet, else the competition's CSV."""
    return "pairs" if output.suffix == ".parquet" else "competition"


@contextmanager
def writing_competition(
    output: Path, sides: Sides, header: tuple[str, str], separator: str
) -> Iterator[Write]:
    """A CSV file with one line for each query: its id, and the ids of its matches, best first.

    The query's own id comes first, where it is in the gallery.
    """
    ids = sides.queries.ids
    found_ids = ids if sides.is_self_join else sides.gallery.ids
    with replacing(output) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)

        def write(block: MatchBlock) -> None:
            own = ids[block.start : block.start + len(block.is_match)].tolist()
            matches = _lines(found_ids[block.candidates.rows[block.is_match]], block.is_match)
            writer.writerows(zip(own, map(separator.join, matches), strict=True))

        yield write


@contextmanager
def writing_pairs(output: Path, sides: Sides, rule: MatchRule) -> Iterator[Write]:
    """A CSV or Parquet table with one line for each match of a query, best first.

    Its columns are id, neighbour_id, score, distance, the probability where the rule has a
    calibration, SPACE_score where each space is cut by its own, and spaces: those whose score
    reaches the threshold, joined by +; empty where another rule has made the match.
    """
    ids, found_ids = sides.queries.ids, sides.gallery.ids
    with writing_table(output) as write_table:

        def write(block: MatchBlock) -> None:
            pairs = block.others(block.is_match)
            scores = pairs.combined.astype(np.float64)
            table = {
                "id": pl.Series(ids[pairs.queries].tolist(), dtype=pl.String),
                "neighbour_id": pl.Series(found_ids[pairs.gallery].tolist(), dtype=pl.String),
                "score": scores.round(6),
                "distance": (1 - scores).round(6),
            }
            if rule.calibration is not None:
                table["probability"] = rule.calibration(scores).round(6)
            if len(pairs.scores) > 1:
                for space, own in zip(rule.spaces, pairs.scores, strict=True):
                    table[f"{space}_score"] = own.astype(np.float64).round(6)
            table["spaces"] = pl.Series(_agreed(rule, pairs.reached), dtype=pl.String)
            write_table(pl.DataFrame(table))

        yield write


def _lines(ids: Shaped[np.ndarray, " m"], is_match: Bool[np.ndarray, "b c"]) -> list[Sequence[str]]:
    """The ids, cut into those of each query."""
    found, ends = ids.tolist(), np.cumsum(is_match.sum(axis=1)).tolist()
    return [found[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _agreed(rule: MatchRule, reached: Bool[np.ndarray, "s p"]) -> list[str]:
    """The names of the spaces whose scores reach their thresholds; one score is that of all."""
    spaces = list(rule.spaces)
    names = spaces if len(reached) == len(spaces) else ["+".join(spaces)]
    return joined_names(names, reached)
