"""What a projection head learns by: losses over classes with centres, and over pairs of a batch."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.projection.loss_settings import MARGINS, LossSettings, Precision
from heads.projection.margin_softmax import margin_softmax
from heads.projection.margin_terms import MarginSoftmax

# How far sub-centres start from their class's centre: enough for its rows to choose between them.
SUBCENTRE_NOISE = 0.1


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
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.miners import TripletMarginMiner

    miner: nn.Module = TripletMarginMiner(
        margin=settings.cosine_margin,
        type_of_triplets=settings.triplet_mining,
        distance=CosineSimilarity(),
    )
    return miner


def _library_loss(settings: LossSettings, num_classes: int, dim: int) -> nn.Module:
    from pytorch_metric_learning import distances, losses

    margin = settings.cosine_margin
    loss: nn.Module
    if settings.loss == "proxy-anchor":
        loss = losses.ProxyAnchorLoss(num_classes, dim, margin=margin, alpha=settings.scale)
    elif settings.loss == "supcon":
        loss = losses.SupConLoss(temperature=1 / settings.scale)
    elif settings.loss == "circle":
        loss = losses.CircleLoss(m=margin, gamma=settings.scale)
    else:
        loss = losses.TripletMarginLoss(margin=margin, distance=distances.CosineSimilarity())
    return loss
