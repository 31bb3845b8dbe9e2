"""A shortlist of a gallery for each query, from products in bf16, with the proof that it is enough.

Hardware multiplies bf16 at twice the speed of float32 or more, on a CPU with the units for it and
on a GPU. What that costs in accuracy is bounded query by query from what rounding really took off
the vectors: with r(x) for x rounded to bf16,

    |q·g − r(q)·r(g)| ≤ |q − r(q)|·|g| + |r(q)|·|g − r(g)|        (Cauchy and Schwarz)

and a little for the sum in float32. Every row whose product comes within twice that of the k-th
best product is on the shortlist; no other can be among the k best. Their scores are then computed
in the one way that counts (`exact`), so the result is the same to the bit as without a shortlist.

The mean of the gallery is taken off its vectors first. That moves all scores of a query by the same
amount, and shortens vectors that crowd around a direction, so that they round more finely.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import BFloat16, Bool, Float, Float32, Int, Int16
from torch import Tensor

from retrieval.search.exact import rounding

TILE_ROWS = 2048
"""Gallery rows of one product: its result stays in the cache of a CPU."""

GROUP_ROWS = 16
"""Scores that are looked at through their highest one."""

WIDER = 4
"""Groups whose highest scores give the floor: few to sort, and nearly as tight."""

ROWS_FOR_EACH_NEIGHBOUR = 2 * GROUP_ROWS * WIDER
"""A gallery with fewer rows for each of the k has too few groups to find a floor among."""

TOO_MANY = 128
"""One in so many: with more of the gallery on its list, a query is sooner searched exactly."""

LOWEST = -(2**15)
NEVER = 2**15 - 1
BF16_ROUNDING = 2.0**-8
SUMS_ON_TENSOR_CORES = 4.0  # they cut off where others round, and in longer steps


@dataclass(frozen=True)
class Shortlist:
    """Pairs that may be among the k best of their query, in order of query.

    `is_unproved` marks queries that have none here, because too many rows could be on their list.
    """

    queries: Int[np.ndarray, " p"]
    rows: Int[np.ndarray, " p"]
    is_unproved: Bool[np.ndarray, " q"]


class RoundedGallery:
    """A gallery in bf16 on a device, and how far its vectors are from what they were.

    The vectors must be L2-normalised or zero, (g, d).
    """

    def __init__(self, gallery: Float32[np.ndarray, "g d"], device: torch.device) -> None:
        self._num_rows, self._dim = gallery.shape
        self._centre = torch.from_numpy(gallery[:TILE_ROWS]).mean(0).to(device)  # any would do
        num_tiles = -(-self._num_rows // TILE_ROWS)
        self._tiles = torch.zeros(
            (num_tiles, TILE_ROWS, self._dim), dtype=torch.bfloat16, device=device
        )
        self._longest = self._furthest = 0.0
        for number, tile in enumerate(self._tiles):
            rows = gallery[number * TILE_ROWS : (number + 1) * TILE_ROWS]
            self._fill(tile, torch.from_numpy(rows).to(device))

    def scratch(self, num_queries: int) -> BFloat16[Tensor, " cells"]:
        """Room for the products of so many queries, for one `shortlist` at a time."""
        return self._tiles.new_empty(num_queries * len(self._tiles) * TILE_ROWS)

    def shortlist(
        self,
        queries: Float32[np.ndarray, "q d"],
        k: int,
        floors: Float32[np.ndarray, " q"],
        scratch: BFloat16[Tensor, " cells"],
    ) -> Shortlist:
        """The rows that may be among the k best of each query and reach its floor.

        `floors` are scores that are known to be reached k times elsewhere, or −inf. The gallery has
        at least `ROWS_FOR_EACH_NEIGHBOUR` · k rows.
        """
        vectors = torch.from_numpy(queries).to(self._centre.device)
        bits = self._products(vectors.bfloat16(), scratch)
        groups = bits.view(len(self._tiles), len(queries), GROUP_ROWS, -1)
        highest = groups.amax(2).transpose(0, 1)  # of each group: (q, tiles, groups)
        lowest = _kth_highest(highest, k)
        reached = self._what_to_reach(vectors, lowest, torch.from_numpy(floors).to(vectors.device))
        highest = highest.flatten(1)
        limit = max(4 * k, self._num_rows // TOO_MANY)
        reached[(highest >= reached[:, None]).sum(1) > limit] = NEVER
        query, group = (highest >= reached[:, None]).nonzero(as_tuple=True)
        tile, column = group // groups.shape[3], group % groups.shape[3]
        is_listed = groups[tile, query, :, column] >= reached[query][:, None]
        place, lane = is_listed.nonzero(as_tuple=True)
        rows = tile[place] * TILE_ROWS + lane * groups.shape[3] + column[place]
        return Shortlist(*(each.cpu().numpy() for each in (query[place], rows, reached == NEVER)))

    def _fill(self, tile: Float[Tensor, "t d"], vectors: Float[Tensor, "b d"]) -> None:
        """Round a tile, and remember the longest vector and the most that rounding took off."""
        centred = vectors - self._centre
        rounded = tile[: len(vectors)].copy_(centred)
        slack = 1 + rounding(self._dim)  # of the norms themselves, and of taking off the mean
        taken_off = float(torch.linalg.vector_norm(centred - rounded, dim=1).max())
        longest = float(torch.linalg.vector_norm(centred, dim=1).max())
        self._longest = max(self._longest, longest * slack)
        self._furthest = max(self._furthest, (taken_off + rounding(1)) * slack)

    def _products(
        self, rounded: BFloat16[Tensor, "q d"], scratch: BFloat16[Tensor, " cells"]
    ) -> Int16[Tensor, "t q rows"]:
        """The bits of all products. Of those that are not negative, they are in the same order."""
        shape = len(self._tiles), len(rounded), TILE_ROWS
        products = scratch[: math.prod(shape)].view(shape)
        torch.bmm(rounded.expand(len(self._tiles), -1, -1), self._tiles.mT, out=products)
        bits = products.view(torch.int16)
        bits[-1, :, (self._num_rows - 1) % TILE_ROWS + 1 :] = LOWEST  # what fills up the tile
        return bits

    def _what_to_reach(
        self,
        vectors: Float[Tensor, "q d"],
        lowest: Int16[Tensor, " q"],
        floors: Float[Tensor, " q"],
    ) -> Int16[Tensor, " q"]:
        """The bits of the product that a row needs to be among the k best; `NEVER` if unknown.

        k rows reach `lowest` in bf16, so their scores, less the part of the mean, come within
        `error` of it; a row among the k best comes as near to that in turn. To a floor, which is a
        score already, the distance counts once.
        """
        taken_off = torch.linalg.vector_norm(vectors - vectors.bfloat16().float(), dim=1)
        taken_off = taken_off * (1 + rounding(self._dim)) + rounding(1)
        sums = SUMS_ON_TENSOR_CORES * rounding(self._dim) * max(1.0, self._longest)
        error = taken_off * self._longest + (1 + taken_off) * self._furthest + sums
        kth = lowest.view(torch.bfloat16).float() * (1 - BF16_ROUNDING)
        kth = torch.where(lowest > 0, kth, -math.inf)  # bits of negative products are disordered
        of_mean = (vectors * self._centre).sum(1)
        least = torch.maximum(kth - 2 * error, floors - of_mean - error)
        reached = least.bfloat16().view(torch.int16) - 1  # one lower, whichever way it was rounded
        return torch.where(least > BF16_ROUNDING**2, reached, NEVER).short()


def _kth_highest(highest: Int16[Tensor, "q t j"], k: int) -> Int16[Tensor, " q"]:
    """A product that k rows of different groups reach."""
    num_queries, num_tiles, _ = highest.shape
    wider = highest.reshape(num_queries, num_tiles, WIDER, -1).amax(2).flatten(1)
    kth: Int16[Tensor, " q"] = wider.topk(k, dim=1, sorted=False).values.amin(1)
    return kth
