"""Which items are copies of one another: by their bytes, or nearly, by a space.

Items with equal bytes are taken together before anything is searched, so that thousands of copies
of one placeholder cost no more than one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64, Shaped, UInt8

from embed.errors import StoreError
from embed.store import Store
from retrieval.finding import EXACT, Finding
from retrieval.matches.groups import in_order
from retrieval.matches.links import Links
from retrieval.matches.near import listed_links, near_links

Hashed = Literal["content", "image", "text"]
HASHED: tuple[Hashed, ...] = ("content", "image", "text")


@dataclass(frozen=True)
class Copies:
    """What one way of looking has found among n items.

    `classes` are equal for items with equal bytes, numbered in the order of their first items;
    `links` are between classes. Any two items of a class are copies, with score 1, and any two of
    linked classes, with the score of the link. `num_full` items may have more links: a file of
    neighbours lists nothing but links of theirs.
    """

    classes: Int64[np.ndarray, " n"]
    links: Links
    num_full: int = 0

    @cached_property
    def has_any(self) -> Bool[np.ndarray, " n"]:
        """True at the items that have a copy."""
        has_any = np.bincount(self.classes) > 1
        has_any[self.links.one] = has_any[self.links.other] = True
        return np.asarray(has_any[self.classes])

    @property
    def spanning(self) -> Links:
        """Pairs of items that hold the same groups together, no more than items and links."""
        firsts = np.unique(self.classes, return_index=True)[1]
        items = np.arange(len(self.classes))
        of_classes = Links(firsts[self.classes], items, np.ones(len(items)))
        one, other = firsts[self.links.one], firsts[self.links.other]
        return Links.joined([of_classes, Links(one, other, self.links.scores)])

    def after(self, item: int) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """The copies of an item that come after it, ascending, and their scores."""
        number = int(self.classes[item])
        linked = self._order[self._starts[number] : self._starts[number + 1]]
        same = self._after(number, item)
        if len(linked) == 0:
            return same, np.ones(len(same))
        found = [same, *(self._after(other, item) for other in self._ends[linked].tolist())]
        scores = np.append(1.0, self._scores[linked])
        values = np.repeat(scores, [len(members) for members in found])
        rows = np.concatenate(found)
        order = np.argsort(rows)
        return rows[order], values[order]

    def _after(self, number: int, item: int) -> Int64[np.ndarray, " m"]:
        """The members of a class that come after an item."""
        members = self._sorted[self._bounds[number] : self._bounds[number + 1]]
        return members[np.searchsorted(members, item, "right") :]

    @cached_property
    def _sorted(self) -> Int64[np.ndarray, " n"]:
        return np.argsort(self.classes, kind="stable").astype(np.int64)

    @cached_property
    def _bounds(self) -> Int64[np.ndarray, " m"]:
        return np.append(0, np.cumsum(np.bincount(self.classes)))

    @cached_property
    def _ends(self) -> Int64[np.ndarray, " e"]:
        return np.concatenate([self.links.other, self.links.one])

    @cached_property
    def _scores(self) -> Float64[np.ndarray, " e"]:
        return np.tile(self.links.scores.astype(np.float64), 2)

    @cached_property
    def _order(self) -> Int64[np.ndarray, " e"]:
        """Both directions of every link, by the class that it starts from."""
        starts = np.concatenate([self.links.one, self.links.other])
        return np.argsort(starts, kind="stable").astype(np.int64)

    @cached_property
    def _starts(self) -> Int64[np.ndarray, " m"]:
        starts = np.concatenate([self.links.one, self.links.other])
        counts = np.bincount(starts, minlength=int(self.classes.max(initial=-1)) + 1)
        return np.append(0, np.cumsum(counts))


def exact_copies(store: Store, rows: Int[np.ndarray, " n"], hashed: Hashed) -> Copies:
    """Items whose bytes are equal: of the image, of the title, or of all that was encoded.

    An item of which the store does not know the bytes is nobody's copy.

    Raises:
        StoreError: it does not know them of any item, of the image or of the title.
    """
    if hashed != "content" and not store.modality_hash(hashed).any():
        there = [name for name in store.modalities if store.modality_hash(name).any()]
        raise StoreError(
            f"{store.path} has no hashes of {hashed}s, which --exact {hashed} compares: it has "
            f"those of {' and '.join(f'{name}s' for name in there) or 'nothing'}"
        )
    return Copies(_classes(store, rows, hashed), Links.joined([]))


def near_copies(
    store: Store,
    space: str,
    rows: Int[np.ndarray, " n"],
    least_score: float,
    finding: Finding = EXACT,
) -> Copies:
    """Items whose score is `least_score` or more, all of them: not only so many for each item.

    Of a file of neighbours these are those that it lists.

    Raises:
        StoreError: there is no such space, or a vector is not finite or, in a dense space, zero.
        NeighboursError: the file can't be read or does not fit.
    """
    modality = store.space(space).modality
    classes = _classes(store, rows, "content" if modality == "fused" else modality)
    if finding.neighbours is not None:
        links, num_full = listed_links(store, space, rows, least_score, finding)
        of_classes = Links.of(classes[links.one], classes[links.other], links.scores)
        return Copies(classes, of_classes, num_full)
    firsts = np.unique(classes, return_index=True)[1]
    return Copies(classes, near_links(store, space, rows[firsts], least_score, finding))


def _classes(store: Store, rows: Int[np.ndarray, " n"], hashed: str) -> Int64[np.ndarray, " n"]:
    digests, is_known = _digests(store, hashed)
    digests, is_known = digests[rows], is_known[rows]
    numbers = np.unique(_as_scalars(digests), return_inverse=True)[1].astype(np.int64)
    return in_order(np.where(is_known, numbers, len(rows) + np.arange(len(rows))))


def _digests(store: Store, hashed: str) -> tuple[UInt8[np.ndarray, "n 16"], Bool[np.ndarray, " n"]]:
    """The hashes, and where they are known: zeros say that what was encoded is not."""
    modalities = store.modalities if hashed == "content" else [hashed]
    of_each = [store.modality_hash(modality) for modality in modalities]
    is_known = np.all([digests.any(axis=1) for digests in of_each], axis=0)
    return store.content_hash if hashed == "content" else of_each[0], is_known


def _as_scalars(digests: UInt8[np.ndarray, "n 16"]) -> Shaped[np.ndarray, " n"]:
    return np.ascontiguousarray(digests).view(np.dtype("V16")).reshape(-1)
