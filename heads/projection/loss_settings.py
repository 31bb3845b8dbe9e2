"""Which loss a projection head learns by, and what shapes it."""

import math
from dataclasses import dataclass, fields
from typing import Literal

from embed.errors import SettingsError

Margin = Literal["angle", "cosine", "none"]
Precision = Literal["fp32", "bf16"]
LossName = Literal["arcface", "cosface", "softmax", "proxy-anchor", "supcon", "circle", "triplet"]
TripletMining = Literal["semihard", "hard"]
LOSS_NAMES: tuple[LossName, ...] = (
    "arcface",
    "cosface",
    "softmax",
    "proxy-anchor",
    "supcon",
    "circle",
    "triplet",
)
# The losses that `margin_softmax` computes.
MARGINS: dict[LossName, Margin] = {"arcface": "angle", "cosface": "cosine", "softmax": "none"}
# As published: CosFace, ProxyAnchor (Kim et al., CVPR 2020) and circle loss for fine-grained
# retrieval; for triplets the usual one of their miner.
MARGIN_COSINES: dict[LossName, float] = {
    "cosface": 0.35,
    "proxy-anchor": 0.1,
    "circle": 0.4,
    "triplet": 0.2,
}
# Which losses a setting changes; where it says nothing, one that differs from its default is
# refused, lest someone take it for tried.
_USED_BY: dict[str, tuple[LossName, ...]] = {
    "scale": ("arcface", "cosface", "softmax", "proxy-anchor", "supcon", "circle"),
    "margin_radians": ("arcface",),
    "least_margin_radians": ("arcface",),
    "margin_cosine": tuple(MARGIN_COSINES),
    "subcentres": tuple(MARGINS),
    "focal_gamma": tuple(MARGINS),
    "label_smoothing": tuple(MARGINS),
    "triplet_mining": ("triplet",),
}


@dataclass(frozen=True)
class LossSettings:
    """A loss and what shapes it.

    `scale` multiplies cosines: before the softmax, as ProxyAnchor's α, circle's γ, and 1 /
    temperature of SupCon. `margin_radians` is ArcFace's angle; with `least_margin_radians` a
    class's angle falls from it to that one as the class has more items. `margin_cosine` is a
    difference of cosines, None the one of `MARGIN_COSINES`. `subcentres` is the number of centres
    of a class, `focal_gamma` weights rows by (1 − p)^γ, and `label_smoothing` is the share of the
    target spread evenly over all classes. `triplet_mining` says which triplets within the margin
    count: those that are ordered rightly already (semihard) or wrongly (hard).
    """

    loss: LossName = "arcface"
    scale: float = 16.0
    margin_radians: float = 0.5
    least_margin_radians: float | None = None
    margin_cosine: float | None = None
    subcentres: int = 1
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    triplet_mining: TripletMining = "semihard"

    def __post_init__(self) -> None:
        if self.loss not in LOSS_NAMES:
            raise SettingsError(f"--loss is one of {', '.join(LOSS_NAMES)}: found '{self.loss}'")
        if self.triplet_mining not in ("semihard", "hard"):
            raise SettingsError(
                f"--triplet-mining is semihard or hard: found '{self.triplet_mining}'"
            )
        self._refuse_unused()
        self._check_margins()
        self._check_numbers()

    @property
    def cosine_margin(self) -> float:
        """The margin as a difference of cosines: the one that was set, or else the loss's own."""
        if self.margin_cosine is not None:
            return self.margin_cosine
        return MARGIN_COSINES.get(self.loss, 0.0)

    def _refuse_unused(self) -> None:
        for field in fields(self):
            users = _USED_BY.get(field.name, LOSS_NAMES)
            value = getattr(self, field.name)
            if self.loss not in users and value != field.default:
                option = field.name.replace("_", "-")
                raise SettingsError(
                    f"--{option} does nothing with --loss {self.loss}, only with "
                    f"{', '.join(users)}: found {value}; leave it out, or choose another loss"
                )

    def _check_margins(self) -> None:
        _check_angle("--margin-radians", self.margin_radians)
        least = self.least_margin_radians
        if least is not None:
            _check_angle("--least-margin-radians", least)
            if least > self.margin_radians:
                raise SettingsError(
                    f"--least-margin-radians is at most --margin-radians, which the smallest "
                    f"classes get: found {least} above {self.margin_radians}"
                )
        if not 0 <= self.cosine_margin < 2:
            raise SettingsError(
                f"--margin-cosine, a difference of cosines, lies from 0 to below 2: found "
                f"{self.margin_cosine}"
            )

    def _check_numbers(self) -> None:
        if not 0 < self.scale < math.inf or self.subcentres < 1:
            raise SettingsError(
                f"a loss needs a finite --scale above 0 and --subcentres of at least 1: found "
                f"{self.scale} and {self.subcentres}"
            )
        if not 0 <= self.focal_gamma < math.inf or not 0 <= self.label_smoothing < 1:
            raise SettingsError(
                f"--focal-gamma is finite and not below 0, and --label-smoothing lies from 0 to "
                f"below 1: found {self.focal_gamma} and {self.label_smoothing}"
            )


def _check_angle(option: str, radians: float) -> None:
    if not 0 <= radians < math.pi / 2:
        raise SettingsError(
            f"{option} lies from 0 to below π/2: found {radians}"
            f"{' (is it in degrees?)' if radians > math.pi else ''}"
        )
