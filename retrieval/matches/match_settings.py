"""What to match and how to write it, and what there is to be refused about it."""

from dataclasses import dataclass
from pathlib import Path

from embed.errors import SettingsError
from embed.files import refuse_existing
from embed.tables import refuse_suffix
from retrieval.choosing import Chosen
from retrieval.finding import EXACT, Finding
from retrieval.matches.grouping import LINKAGES, Linkage, refuse_same
from retrieval.matches.match_files import FORMATS, Format, format_of
from retrieval.thresholds.tuning import ThresholdResult


@dataclass(frozen=True, kw_only=True)
class MatchSettings(Chosen):
    """What to match, and how to write it.

    Attributes:
        output: the file.
        threshold: a score, or a tuned threshold, which knows its spaces and k.
        space: needed beside a score.
        k: neighbours of each item: the most matches that it can have, itself included where items
            look among one another. None takes the tuned threshold's, else 50.
        layout: competition or pairs; None goes by the suffix of the output.
        id_name, matches_name: the header of the two columns of a competition's file.
        separator: between the ids of a line's matches there.
        groups: a .csv or .parquet file for the groups; None writes none.
        linkage: what makes a group: single (chains of matches) or complete (all pairs match).
        finding: how neighbours are found; refinements are the threshold's.
        decisions: a file of people's decisions, which go before everything else; None takes the one
            beside the store, where there is one.
        no_decisions: pass over them.
        force: replace files that exist.
    """

    output: Path
    threshold: float | ThresholdResult
    space: str | None = None
    k: int | None = None
    layout: Format | None = None
    id_name: str = "id"
    matches_name: str = "matches"
    separator: str = " "
    groups: Path | None = None
    linkage: Linkage = "single"
    finding: Finding = EXACT
    decisions: Path | None = None
    no_decisions: bool = False
    force: bool = False

    @property
    def format(self) -> Format:
        """The layout, by the suffix of the output where none is given."""
        return self.layout or format_of(self.output)


def refuse_wrong(settings: MatchSettings) -> None:
    """Say what is wrong with settings before anything is read.

    Raises:
        OutputExistsError: a file exists and `force` was not given.
        SettingsError: another layout, linkage or suffix than there are.
    """
    if settings.format not in FORMATS:
        raise SettingsError(f"--format is {' or '.join(FORMATS)}: found '{settings.format}'")
    if settings.linkage not in LINKAGES:
        raise SettingsError(f"--linkage is {' or '.join(LINKAGES)}: found '{settings.linkage}'")
    if settings.format == "pairs":
        refuse_suffix(settings.output)
    elif settings.output.suffix != ".csv":
        raise SettingsError(
            f"a competition's file is CSV: found {settings.output}: name it .csv, or give "
            f"--format pairs for a .parquet file"
        )
    refuse_existing(settings.output, force=settings.force)
    if settings.groups is not None:
        refuse_same(settings.output, settings.groups)
        refuse_suffix(settings.groups)
        refuse_existing(settings.groups, force=settings.force)
