"""What a threshold is tuned on, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from embed.errors import SettingsError
from retrieval.finding import EXACT, Finding
from retrieval.selection import Selection
from retrieval.thresholds.match_rules import OWN_THRESHOLDS
from retrieval.thresholds.objectives import Objective
from retrieval.thresholds.rules import Rules
from retrieval.thresholds.weighing import MOST_SIGNED


@dataclass(frozen=True)
class TuneSettings(Selection):
    """What to tune a threshold on, and how.

    Attributes:
        k: neighbours of each item in each space, itself included where items look among one
            another: no threshold can match more. None takes 50, or all where there are fewer.
        combine: how several spaces are combined; `retrieval.thresholds.gathering` explains it.
        weights: those of spaces in the combined score, 1 where none is given.
        tune_weights: choose the weights as well, from a grid.
        signed_weights: the grid has shares below 0 too: what is near in such a space as well is
            less of a match.
        objective: what the threshold is to be the best for.
        rules: what else decides on matches.
        threshold_by: a column whose values have thresholds of their own.
        shrinkage: how many rows of a category weigh as much as the common threshold.
        calibrate: fit probabilities of being a match.
        finding: how neighbours are found.
        protocol: cross-fit, holdout or same-rows; `protocols.tuned` explains them.
        seed: of the folds and of the draws for the interval.
    """

    k: int | None = None
    combine: str = "concat"
    weights: Mapping[str, float] = field(default_factory=dict)
    tune_weights: bool = False
    signed_weights: bool = False
    objective: Objective = field(default_factory=Objective)
    rules: Rules = field(default_factory=Rules)
    threshold_by: str | None = None
    shrinkage: float = 100.0
    calibrate: bool = False
    finding: Finding = EXACT
    protocol: str = "cross-fit"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.spaces or len(set(self.spaces)) < len(self.spaces):
            given = ", ".join(self.spaces) or "none"
            raise SettingsError(f"--space takes different spaces, each named once: found {given}")
        unknown = next((name for name in self.weights if name not in self.spaces), None)
        if unknown is not None:
            raise SettingsError(
                f"--weight {unknown}={self.weights[unknown]:g} is of a space that is not searched: "
                f"they are {', '.join(self.spaces)}"
            )
        if self.label is None and self.objective.name == "row-f1":
            raise SettingsError(
                "without --label nothing counts but pairs that people have decided: give "
                "--objective pair-f1 or another of pairs, or --label for --objective row-f1"
            )
        if self.weights and len(self.spaces) == 1:
            raise SettingsError("--weight is for several spaces, and one is given: leave it out")
        if self.threshold_by is not None and self.threshold_by in (self.label, "id"):
            raise SettingsError(
                f"--threshold-by {self.threshold_by} would give each "
                f"{'item' if self.threshold_by == 'id' else 'group of true matches'} a threshold "
                f"of its own, which new items could not use: name a column such as a category"
            )
        if not self.shrinkage >= 0:  # nor NaN
            raise SettingsError(f"--shrinkage is 0 or more: found {self.shrinkage:g}")
        if self.tune_weights and (len(self.spaces) < 2 or self.has_own_thresholds):
            raise SettingsError(
                "--tune-weights is for --combine concat or sum of several spaces: union and "
                "intersection cut each space at a threshold of its own"
            )
        if self.signed_weights and not (self.tune_weights and len(self.spaces) <= MOST_SIGNED):
            raise SettingsError(
                f"--signed-weights is for --tune-weights of two or three spaces: found "
                f"{len(self.spaces)}{'' if self.tune_weights else ' without --tune-weights'}"
            )

    @property
    def has_own_thresholds(self) -> bool:
        """True where each space is cut at a threshold of its own."""
        return len(self.spaces) > 1 and self.combine in OWN_THRESHOLDS
