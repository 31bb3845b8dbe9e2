"""What a run did, what a user should know of it, and on which libraries it ran."""

import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from embed.encoders.specs import EncoderSpec
from embed.joining import SealedRows
from embed.seal import MadeSpaces
from embed.store import Failure, SpaceInfo, Store
from embed.units import Outcome
from embed.wording import agreeing, counted

LIBRARIES = (
    *("numpy", "h5py", "pillow", "torch", "torchvision", "open_clip_torch", "timm"),
    *("transformers", "scikit-learn", "scikit-image", "scipy"),
)


@dataclass(frozen=True)
class RunSummary:
    """What a run did; `num_reused` items had all their vectors already.

    Of the `seconds`, `loading_seconds` went by before the first image: reading the source, loading
    the encoders.
    """

    output: Path
    num_items: int
    num_encoded: int
    num_reused: int
    seconds: float
    loading_seconds: float
    failures: tuple[Failure, ...]
    spaces: Mapping[str, SpaceInfo]
    warnings: tuple[str, ...]

    @property
    def items_per_second(self) -> float:
        """Items sealed a second, from start to end, loading of models included."""
        return self.num_items / self.seconds


def num_encoded(
    outcome: Outcome, made: MadeSpaces, spaces: Mapping[str, SpaceInfo], rows: SealedRows
) -> int:
    """Items that this run encoded; with fitted encoders alone, all of them or none."""
    if made.encoded:
        return outcome.num_encoded
    before = rows.old.spaces if rows.old is not None else {}
    known = all(
        encoder.name in before
        and before[encoder.name].fingerprint == spaces[encoder.name].fingerprint
        for encoder in made.fitted
    )
    return 0 if known else len(rows)


def warnings_of(
    rows: SealedRows, specs: list[EncoderSpec], made: MadeSpaces, kept: Collection[str]
) -> list[str]:
    """What a user should know of a run that ended well."""
    catalogue = rows.catalogue
    warnings = [*catalogue.warnings, *_replaced(rows.old, made)]
    if rows.num_passed_over:
        warnings.append(
            f"{counted(rows.num_passed_over, 'item')} of the source "
            f"{agreeing(rows.num_passed_over, 'are')} not in the store and did not fail "
            f"before: run without --retry-failed to take them"
        )
    if catalogue.num_empty_titles and any(spec.modality == "text" for spec in specs):
        warnings.append(
            f"{counted(catalogue.num_empty_titles, 'item', 'have')} an empty title: it was encoded "
            f"as an empty text"
        )
    if rows.num_lost:
        warnings.append(
            f"{counted(rows.num_lost, 'item')} that the store had before can't be read now, and "
            f"{agreeing(rows.num_lost, 'were')} left out"
        )
    if len(rows.stays):
        warnings.append(
            f"{counted(len(rows.stays), 'item')} that the source no longer has "
            f"{agreeing(len(rows.stays), 'stay')} in the store: --prune leaves such out"
        )
    if kept:
        warnings.append(
            f"finished rows of {', '.join(sorted(kept))} from a run that did not end are kept: "
            f"name these encoders again to go on from them"
        )
    return warnings


def _replaced(old: Store | None, made: MadeSpaces) -> list[str]:
    """What became of spaces that other weights, settings or precisions had made before."""
    before = old.spaces if old is not None else {}
    return [
        f"space '{name}' had been made otherwise ({before[name].spec} in {before[name].precision}, "
        f"now {info.spec} in {info.precision}): all its items were encoded again"
        for name, info in made.encoded.items()
        if name in before and before[name].fingerprint != info.fingerprint
    ]


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that the numbers depend on."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # an install without the extras
            continue
    return found


def describe_spaces(spaces: Mapping[str, SpaceInfo]) -> dict[str, dict[str, Any]]:
    """The spaces as JSON shows them: kind, dim, modality, spec, fingerprint by name."""
    keys = ("kind", "dim", "modality", "spec", "fingerprint")
    return {name: {key: getattr(info, key) for key in keys} for name, info in spaces.items()}
