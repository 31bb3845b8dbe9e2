"""Refinements of neighbours, in the one order in which they are put together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

from embed.errors import SettingsError
from retrieval.refining.blending import blended
from retrieval.refining.expansion import AugmentationWeights, augmented, expanded
from retrieval.refining.reciprocal import Rerank
from retrieval.refining.reranking import reranked
from retrieval.refining.vectors import SideVectors, side_vectors
from retrieval.search.neighbours import Neighbours
from retrieval.search.plans import MEMORY_BYTES
from retrieval.search.sides import Sides


@dataclass(frozen=True)
class Refinements:
    """What is done to vectors and rankings, in this order; nothing by default.

    1. blending, which makes new vectors of both sides, stage by stage;
    2. augmentation of the gallery's vectors;
    3. expansion of the queries, by what is nearest in the augmented gallery;
    4. the search, or in its place k-reciprocal re-ranking with these vectors.

    In a self-join the items are queries as well: augmentation moves them as gallery, expansion as
    queries. Training labels are not used by any of them.

    Attributes:
        blend: the least score of a neighbour that is blended in, for each stage.
        blend_nearest: the most neighbours that are blended in.
        augment: the nearest that are added to each vector of the gallery; 0 adds none.
        augment_weights: by "rank" or by "score".
        expand: the nearest that are added to each query; 0 adds none.
        alpha: their weight is score^alpha: 0 is average query expansion.
        rerank: the settings of re-ranking, None for none.
    """

    blend: tuple[float, ...] = ()
    blend_nearest: int = 50
    augment: int = 0
    augment_weights: AugmentationWeights = "rank"
    expand: int = 0
    alpha: float = 0.0
    rerank: Rerank | None = None

    def __post_init__(self) -> None:
        for name in ("augment", "expand", "alpha"):
            if not 0 <= getattr(self, name) < inf:
                raise SettingsError(f"--{name} should be 0 or more: found {getattr(self, name):g}")
        if self.blend_nearest < 1:
            raise SettingsError(f"--blend-nearest should be at least 1: found {self.blend_nearest}")
        for threshold in self.blend:
            if not -1 <= threshold <= 1:
                raise SettingsError(f"--blend takes a score between −1 and 1: found {threshold:g}")

    def __bool__(self) -> bool:
        return bool(self.blend or self.augment or self.expand or self.rerank is not None)

    def to_json(self) -> dict[str, Any]:
        """What is done and how; {} where nothing is."""
        values: dict[str, Any] = {}
        if self.blend:
            values |= {"blend": list(self.blend), "blend_nearest": self.blend_nearest}
        if self.augment:
            values |= {"augment": self.augment, "augment_weights": self.augment_weights}
        if self.expand:
            values |= {"expand": self.expand, "alpha": self.alpha}
        if self.rerank is not None:
            values |= {"rerank": asdict(self.rerank)}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Refinements":
        """What `to_json` gave.

        Raises:
            SettingsError: a value is out of its range.
        """
        fields = dict(values)
        if "blend" in fields:
            fields["blend"] = tuple(fields["blend"])
        if "rerank" in fields:
            fields["rerank"] = Rerank(**fields["rerank"])
        return cls(**fields)


def refined_neighbours(
    sides: Sides,
    spaces: Sequence[str],
    k: int,
    refinements: Refinements,
    *,
    memory_bytes: int = MEMORY_BYTES,
    device: str = "auto",
) -> Neighbours:
    """The k nearest for each query after these refinements: itself first, with score 1.

    As `find_neighbours` otherwise. Scores are cosine similarities of the refined vectors; after
    re-ranking they are 1 − the final distance, from −λ to 1. The vectors of both sides are held
    in memory as float32, and lists of neighbours, but never a table of all pairs.

    Args:
        sides: the queries and the gallery; results count positions in the gallery.
        spaces: a dense space, or several, whose mean score counts.
        k: how many, the item itself included.
        refinements: what is done.
        memory_bytes: what a search may hold; vectors that are refined are not counted.
        device: where large products are made: auto, cpu, cuda or cuda:N.

    Raises:
        StoreError: there is no such space, it is not dense, or a vector is not finite, or zero.
        FingerprintError: the two stores hold vectors of different encoders.
        SelectionError: one side is empty.
        SettingsError: k is below 1, or no space is named.
    """
    if k < 1:
        raise SettingsError(f"k counts the item itself and should be at least 1: found {k}")
    vectors = refined_vectors(side_vectors(sides, spaces, memory_bytes, device), refinements)
    if refinements.rerank is not None:
        return reranked(vectors, k, refinements.rerank)
    return vectors.nearest(k)


def refined_vectors(sides: SideVectors, refinements: Refinements) -> SideVectors:
    """The vectors of both sides that are searched in the end."""
    sides = blended(sides, refinements.blend, refinements.blend_nearest)
    if refinements.augment:
        nearest = sides.of_gallery.nearest(refinements.augment + 1)
        sides = replace(
            sides, gallery=augmented(sides.gallery, nearest, refinements.augment_weights)
        )
    if refinements.expand:
        nearest = sides.nearest(refinements.expand + 1)
        queries = expanded(sides.queries, sides.gallery, nearest, refinements.alpha)
        sides = replace(sides, queries=queries)
    return sides
