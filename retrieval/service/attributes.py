"""What an attribute head says of items of the store, and of images and titles beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64, Int

from embed.labels import label_texts
from embed.store import Store
from heads.attributes.vocabulary import Vocabulary
from heads.features import FeatureReader, FeatureStores, SpaceReference, check_references
from retrieval.service.threads import core_threads

if TYPE_CHECKING:
    from heads.head import Head

NUM_OTHERS = 3


@dataclass(frozen=True)
class Prediction:
    """The most probable value of an attribute, and those that come next."""

    attribute: str
    value: str
    probability: float
    others: tuple[tuple[str, float], ...]


class Attributes:
    """An attribute head over the spaces of a store.

    Raises:
        FingerprintError: the store's spaces are not those that the head was trained on.
        StoreError: a space or the column of categories is missing.
    """

    def __init__(self, store: Store, head: "Head") -> None:
        self._store, self._head = store, head
        self._pool = core_threads("attributes")
        self._vocabulary = Vocabulary.from_json(head.info.vocabulary or {})
        stores = FeatureStores(store)
        check_references(stores, head.info.spaces)
        self._reader = FeatureReader(stores, head.info.spaces)
        category = self._vocabulary.category
        self._categories = None if category is None else label_texts(store.column(category))

    @classmethod
    def of(cls, store: Store, heads: Sequence["Head"]) -> "Attributes | None":
        """Those of the head that predicts attributes, where there is one."""
        head = next((head for head in heads if head.info.output == "attributes"), None)
        return None if head is None else cls(store, head)

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes that are predicted."""
        return self._vocabulary.attributes

    @property
    def spaces(self) -> tuple[SpaceReference, ...]:
        """The spaces that the head takes in."""
        return self._head.info.spaces

    def of_rows(self, rows: Int[np.ndarray, " m"]) -> list[list[Prediction]]:
        """The attributes of items; those that their category has not are left out."""
        if len(rows) == 0:
            return []
        own = [None] * len(rows)
        texts = own if self._categories is None else [self._categories[row] for row in rows]
        return self._pool.submit(lambda: self._predicted(self._reader(rows), texts)).result()

    def of_features(
        self, features: Float32[np.ndarray, "1 d"], category: str | None
    ) -> list[Prediction]:
        """The attributes of something else, of a category where the head goes by one."""
        return self._pool.submit(self._predicted, features, [category]).result()[0]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False)

    def _predicted(
        self, features: Float32[np.ndarray, "m d"], categories: Sequence[str | None]
    ) -> list[list[Prediction]]:
        import torch

        from heads.attributes.predicting import predicted_classes, predicted_logits, probabilities
        from heads.tables import ResidentTable

        vocabulary = self._vocabulary
        numbers = {text: number for number, text in enumerate(vocabulary.categories)}
        if vocabulary.category is None:
            codes = np.zeros(len(features), np.int64)
        else:
            codes = np.array([numbers.get(text or "", -1) for text in categories], np.int64)
        table = ResidentTable(torch.from_numpy(np.ascontiguousarray(features)))
        logits = predicted_logits(self._head.network, table, codes)
        classes, shares = predicted_classes(logits), probabilities(logits).astype(np.float64)
        return [
            self._of_item(codes[row], classes[row], shares[row]) for row in range(len(features))
        ]

    def _of_item(
        self,
        category: np.int64,
        classes: Int[np.ndarray, " a"],
        shares: Float64[np.ndarray, "a k"],
    ) -> list[Prediction]:
        vocabulary = self._vocabulary
        found = []
        for pair in vocabulary.pairs:
            at, number = vocabulary.position(pair)
            if at != category or classes[number] < 0:
                continue
            of_classes = shares[number, : len(pair.classes)]
            best = np.argsort(-of_classes, kind="stable")[: 1 + NUM_OTHERS]
            named = [(pair.classes[each], round(float(of_classes[each]), 6)) for each in best]
            found.append(Prediction(pair.attribute, *named[0], tuple(named[1:])))
        return found
