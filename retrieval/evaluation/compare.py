"""Spaces side by side, of one store or of several: on the same rows, with paired differences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from embed.errors import SettingsError, StoreError
from embed.store import Store
from retrieval.evaluation.combinations import Combination, read_combination, without_blanks
from retrieval.evaluation.comparison import Comparison, Entry, compare_entries
from retrieval.evaluation.contenders import SpacesContender
from retrieval.evaluation.shared_rows import shared_rows
from retrieval.finding import EXACT, Finding
from retrieval.search.neighbour_files import read_info
from retrieval.selection import Selection
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.tune_settings import TuneSettings


@dataclass(frozen=True)
class CompareSettings(Selection):
    """What to compare, on which rows.

    Attributes:
        spaces: each is looked for in every store; `a+b` is the combination of two by the mean of
            their scores, `0.8*a+0.2*b` by a weighted one, `a|b` by union and `a&b` by intersection,
            unless a space has just that name. Blanks around the marks do not count.
        k: neighbours of each item, itself included where items look among one another; None is 50.
        combine: what `a+b` stands for: concat or sum.
        tune_weights: choose the weights of each `a+b` without weights, within the cross-fit.
        signed_weights: weights below 0 as well.
        rules: what decides on matches besides the threshold.
        finding: how neighbours are found, but for the lines that `neighbours` serve.
        neighbours: Parquet files of neighbours, each for the line of the spaces that it holds.
        objective: what the cross-fitted threshold is to be the best for.
        seed: of the folds and of the draws for the intervals.
        against: the line that the others are compared with: its name, best, or best-space for the
            best of those that are no combinations, by what `objective` is about; None takes the
            first.
        ranking_only: no threshold is tuned.
    """

    k: int | None = None
    combine: str = "concat"
    tune_weights: bool = False
    signed_weights: bool = False
    rules: Rules = field(default_factory=Rules)
    finding: Finding = EXACT
    neighbours: tuple[Path, ...] = ()
    objective: Objective = field(default_factory=Objective)
    seed: int = 0
    against: str | None = None
    ranking_only: bool = False

    def __post_init__(self) -> None:
        if self.combine not in ("concat", "sum"):
            raise SettingsError(
                f"compare combines a+b by concat or sum: found {self.combine}; write 'a|b' for a "
                f"union, 'a&b' for an intersection"
            )
        if self.ranking_only and (self.tune_weights or self.rules != Rules()):
            what = "--tune-weights chooses" if self.tune_weights else "rules of matches choose"
            raise SettingsError(
                f"{what} what a threshold takes, and with --ranking-only none is tuned: leave one "
                f"of them out"
            )


def compare(stores: Sequence[Store], settings: CompareSettings) -> Comparison:
    """Evaluate spaces on the same rows: items that all stores have and no head of any has seen.

    Each space or combination is cut at its own cross-fitted thresholds. Items are joined by id;
    which there are and their columns is what the first store says.

    Raises:
        SettingsError: nothing to compare, a space or store given twice, or a k that does not fit.
        StoreError: no store has such a space, or the first has no such column.
        SelectionError: no rows are left, no two share a label, or there are too few groups.
    """
    known = {space for store in stores for space in store.spaces}
    settings = _without_blanks(settings, known)
    _refuse_repeated(stores, settings)
    combinations = {
        space: read_combination(space, known, settings.combine) for space in settings.spaces
    }
    _refuse_unused(settings, combinations.values())
    parts = [part for combination in combinations.values() for part in combination.spaces]
    _refuse_unknown(stores, (*parts, *settings.unseen_by))
    heads = [_present(store, (*parts, *settings.unseen_by)) for store in stores]
    rows = shared_rows(stores, heads, settings)
    entries = [
        Entry(
            name,
            rows[number],
            _contender(space, combinations[space], settings),
            is_combination=len(combinations[space].spaces) > 1,
        )
        for space in settings.spaces
        for number, name in _line_names(stores, combinations[space].spaces, space)
    ]
    if not entries:
        raise StoreError("no store has all spaces of a combination: give one that does")
    is_for_pairs = settings.objective.name == "pair-f1" and not settings.ranking_only
    best_by = "pair_f1" if is_for_pairs else None
    return compare_entries(entries, settings.against, settings.seed, best_by)


def _without_blanks(settings: CompareSettings, known: set[str]) -> CompareSettings:
    spaces = tuple(without_blanks(name, known) for name in settings.spaces)
    against = None if settings.against is None else without_blanks(settings.against, known)
    return replace(settings, spaces=spaces, against=against)


def _contender(name: str, combination: Combination, settings: CompareSettings) -> SpacesContender:
    held = _files_by_spaces(settings.neighbours).get(frozenset(combination.spaces))
    is_served = held is not None and _may_be_served(combination)
    is_tuned = settings.tune_weights and _may_be_tuned(combination)
    tuning = TuneSettings(
        combination.spaces,
        settings.label,
        k=settings.k,
        combine=combination.combine,
        weights=combination.weights,
        tune_weights=is_tuned,
        signed_weights=is_tuned and settings.signed_weights,
        rules=settings.rules,
        objective=settings.objective,
        finding=replace(settings.finding, neighbours=held) if is_served else settings.finding,
        seed=settings.seed,
    )
    return SpacesContender(name, tuning, is_ranking_only=settings.ranking_only)


def _may_be_served(combination: Combination) -> bool:
    """True where a file of neighbours can hold what is searched."""
    return combination.combine == "concat" and not combination.weights


def _may_be_tuned(combination: Combination) -> bool:
    return combination.is_mean and not combination.weights


def _files_by_spaces(paths: Sequence[Path]) -> dict[frozenset[str], Path]:
    return {frozenset(read_info(path).spaces): path for path in paths}


def _refuse_unused(settings: CompareSettings, combinations: Iterable[Combination]) -> None:
    """Raise where a file of neighbours, or the weights of a+b, are for a line that there is not."""
    lines = list(combinations)
    served = {frozenset(each.spaces) for each in lines if _may_be_served(each)}
    for spaces, path in _files_by_spaces(settings.neighbours).items():
        if spaces not in served:
            raise SettingsError(
                f"{path} holds neighbours in {' + '.join(sorted(spaces))}, and no line is of that: "
                f"give --space {'+'.join(sorted(spaces))}, or leave the file out"
            )
    if settings.signed_weights and not settings.tune_weights:
        raise SettingsError("--signed-weights does nothing without --tune-weights: give both")
    if settings.tune_weights and not any(map(_may_be_tuned, lines)):
        raise SettingsError(
            "--tune-weights is for lines such as a+b, without weights of their own, and none is "
            "given: leave it out"
        )


def _refuse_repeated(stores: Sequence[Store], settings: CompareSettings) -> None:
    spaces, paths = settings.spaces, [Path(store.path).resolve() for store in stores]
    if not spaces or len(set(spaces)) < len(spaces):
        given = ", ".join(spaces) or "none"
        raise SettingsError(f"compare takes different spaces, each named once: found {given}")
    if not paths or len(set(paths)) < len(paths):
        given = ", ".join(map(str, paths)) or "none"
        raise SettingsError(f"compare takes different stores, each named once: found {given}")


def _refuse_unknown(stores: Sequence[Store], spaces: Sequence[str]) -> None:
    known = dict.fromkeys(space for store in stores for space in store.spaces)
    for space in spaces:
        if space not in known:
            where = str(stores[0].path) if len(stores) == 1 else "none of the stores"
            verb = "has no space" if len(stores) == 1 else "has a space"
            raise StoreError(f"{where} {verb} '{space}': there are {', '.join(known) or 'none'}")


def _present(store: Store, spaces: Sequence[str]) -> list[str]:
    return [space for space in dict.fromkeys(spaces) if space in store.spaces]


def _line_names(stores: Sequence[Store], spaces: Sequence[str], name: str) -> list[tuple[int, str]]:
    """The stores that have all these spaces, by number, and what their line is called there."""
    numbers = [n for n, store in enumerate(stores) if set(spaces) <= set(store.spaces)]
    if len(stores) == 1:
        return [(number, name) for number in numbers]
    stems = [Path(store.path).stem for store in stores]
    is_plain = len(set(stems)) == len(stems)
    names = stems if is_plain else [str(store.path) for store in stores]
    return [(number, f"{names[number]}:{name}") for number in numbers]
