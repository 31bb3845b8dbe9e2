"""What a projection head learns by: losses over classes with centres, and over pairs of a batch."""

import math
from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Float, Int
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import (
    CircleLoss,
    ProxyAnchorLoss,
    SupConLoss,
    TripletMarginLoss,
)
from pytorch_metric_learning.miners import TripletMarginMiner
from torch import Tensor, nn

from embed.errors import SettingsError
from heads.projection.margin_softmax import Margin, MarginSoftmax, Precision, margin_softmax

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
# How far sub-centres start from their class's centre: enough for its rows to choose between them.
SUBCENTRE_NOISE = 0.1


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


class MetricLoss(nn.Module):
    """The loss of a batch of unit vectors and their classes; its parameters are class centres.

    ArcFace, CosFace and the normalised softmax by `margin_softmax`. By pytorch-metric-learning:
    ProxyAnchor (Kim et al., CVPR 2020, arXiv:2003.13911), SupCon (Khosla et al., NeurIPS 2020,
    arXiv:2004.11362), circle loss (Sun et al., CVPR 2020, arXiv:2002.10857), and triplets with
    semihard or hard mining (Schroff et al., CVPR 2015, arXiv:1503.03832), by cosines. These learn
    from pairs of one class in a batch, ProxyAnchor apart. `precision` is that of the margin
    softmax's products.
    """

    def __init__(
        self,
        class_sizes: Int[Tensor, " c"],
        dim: int,
        settings: LossSettings,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.margins: Tensor
        self.settings = settings
        self.register_buffer("margins", class_margins(class_sizes, settings), persistent=False)
        self.has_centres = settings.loss in MARGINS or settings.loss == "proxy-anchor"
        self.miner = _miner(settings)
        if settings.loss in MARGINS:
            self.rule = _rule(settings, precision)
            self.own_centres = nn.Parameter(
                torch.randn(len(class_sizes) * settings.subcentres, dim)
            )
        else:
            self.library_loss = _library_loss(settings, len(class_sizes), dim)

    def forward(
        self, vectors: Float[Tensor, "b e"], labels: Int[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """The mean loss of the batch; half-precision vectors are taken as float32."""
        vectors = vectors.float() if vectors.dtype in (torch.bfloat16, torch.float16) else vectors
        if self.settings.loss in MARGINS:
            return margin_softmax(vectors, self.own_centres, labels, self.margins, self.rule)
        mined = None if self.miner is None else self.miner(vectors, labels)
        loss: Tensor = self.library_loss(vectors, labels, mined)
        return loss

    @property
    def centres(self) -> Float[Tensor, "ck e"]:
        """The centres as they are trained, of any length, a class's one after another."""
        assert self.has_centres
        (centres,) = self.parameters()
        return centres

    @torch.no_grad()
    def set_centres(
        self, centres: Float[Tensor, "c e"], generator: torch.Generator | None = None
    ) -> None:
        """Put the classes' centres where these vectors are.

        Sub-centres start around them, at random by the CPU `generator` (torch's own if None).
        """
        rows = centres.repeat_interleave(self.settings.subcentres, dim=0)
        if self.settings.subcentres > 1:
            noise = torch.randn(rows.shape, generator=generator).to(rows)
            lengths = centres.norm(dim=1).mean()
            rows = rows + noise * (SUBCENTRE_NOISE * lengths / math.sqrt(rows.shape[1]))
        self.centres.copy_(rows)


def class_margins(class_sizes: Int[Tensor, " c"], settings: LossSettings) -> Float[Tensor, " c"]:
    """Each class's margin: radians for ArcFace, otherwise a difference of cosines.

    With a least margin, ArcFace's falls with the number n of a class's items as n^(−1/4), from
    `margin_radians` for the smallest class to `least_margin_radians` for the largest (dynamic
    margins: Ha et al., 2020, arXiv:2010.05350); where all are equal, it is `margin_radians`.
    """
    margin = settings.margin_radians if settings.loss == "arcface" else settings.cosine_margin
    rarity = class_sizes.clamp(min=1).float() ** -0.25
    least, spread = settings.least_margin_radians, rarity.max() - rarity.min()
    if least is None or spread == 0:
        return torch.full_like(rarity, margin)
    return least + (margin - least) * (rarity - rarity.min()) / spread


def _rule(settings: LossSettings, precision: Precision) -> MarginSoftmax:
    return MarginSoftmax(
        MARGINS[settings.loss],
        settings.scale,
        settings.subcentres,
        settings.focal_gamma,
        settings.label_smoothing,
        precision,
    )


def _miner(settings: LossSettings) -> nn.Module | None:
    if settings.loss != "triplet":
        return None
    miner: nn.Module = TripletMarginMiner(
        margin=settings.cosine_margin,
        type_of_triplets=settings.triplet_mining,
        distance=CosineSimilarity(),
    )
    return miner


def _library_loss(settings: LossSettings, num_classes: int, dim: int) -> nn.Module:
    margin = settings.cosine_margin
    loss: nn.Module
    if settings.loss == "proxy-anchor":
        loss = ProxyAnchorLoss(num_classes, dim, margin=margin, alpha=settings.scale)
    elif settings.loss == "supcon":
        loss = SupConLoss(temperature=1 / settings.scale)
    elif settings.loss == "circle":
        loss = CircleLoss(m=margin, gamma=settings.scale)
    else:
        loss = TripletMarginLoss(margin=margin, distance=CosineSimilarity())
    return loss
