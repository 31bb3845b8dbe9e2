"""Everything that there is to choose of an attribute head."""

import math
from dataclasses import dataclass, field

from embed.errors import SettingsError
from heads.attributes.network import AttributeSettings


@dataclass(frozen=True)
class AttributeHeadSettings:
    """The network, and its loss.

    `class_weights` lets rare classes count for more: by 1 / √rows of the class, within a pair.
    `focal_gamma` and `label_smoothing` are those of `heads.attributes.loss`. With `calibrate` a
    temperature is fitted on the validation rows, for honest probabilities.
    """

    network: AttributeSettings = field(default_factory=AttributeSettings)
    class_weights: bool = False
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    calibrate: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.focal_gamma < math.inf and 0 <= self.label_smoothing < 1):
            raise SettingsError(
                f"--focal-gamma is 0 or more, and finite, and --label-smoothing lies from 0 to "
                f"below 1: found {self.focal_gamma:g} and {self.label_smoothing:g}"
            )
