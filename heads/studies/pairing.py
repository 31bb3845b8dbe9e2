"""Two heads on the same validation rows: the difference between them, row by row."""

import numpy as np
from jaxtyping import Float64, Int

from embed.errors import SelectionError
from heads.attributes.predicting import predicted_classes
from heads.attributes.validation import AttributeValidation
from heads.features import FeatureStores
from heads.head import Head
from heads.projection.validation import ProjectionValidation, validation_row_f1
from heads.validation import open_validation, validation_digest
from retrieval.metrics.intervals import Difference, paired_difference


def heads_difference(
    stores: FeatureStores,
    first: Head,
    second: Head,
    names: tuple[str, str] = ("the first head", "the second head"),
) -> Difference:
    """The second head's figure less the first one's; heads, soups and blends alike.

    The figure is row_f1, of each head at its own best threshold, or the accuracy over all labels.
    `names` are what messages call the heads.

    Raises:
        SelectionError: they were validated on different rows, or the store's are others now.
        FingerprintError: the store's spaces are not those that a head was trained on.
    """
    _refuse_other_rows(stores, first, second, names)
    (before, groups), (after, _) = (_values(stores, head) for head in (first, second))
    metric = "accuracy" if first.info.output == "attributes" else "row_f1"
    return paired_difference(metric, before, after, groups, np.random.default_rng(0))


def _refuse_other_rows(
    stores: FeatureStores, first: Head, second: Head, names: tuple[str, str]
) -> None:
    digests = [
        _digest_of(stores, head, name) for head, name in zip((first, second), names, strict=True)
    ]
    if digests[0] != digests[1] or first.info.output != second.info.output:
        raise SelectionError(
            f"{names[0]} and {names[1]} were validated on different rows or labels of "
            f"{stores.items.path}: train them with the same --target, --where and --split"
        )


def _digest_of(stores: FeatureStores, head: Head, name: str) -> str:
    kept = head.info.details.get("validation_rows")
    if kept is None:
        raise SelectionError(
            f"{name} does not say which rows it was validated on: make it again, and give soups "
            f"and blends their --store"
        )
    found = validation_digest(stores, head.info)
    if kept != found:
        raise SelectionError(
            f"{name} was validated on other rows or labels than {stores.items.path} has by its "
            f"split: give the store that it was trained on, or train it on this one"
        )
    return found


def _values(
    stores: FeatureStores, head: Head
) -> tuple[Float64[np.ndarray, " v"], Int[np.ndarray, " v"]]:
    """What the metric is the mean of, and the group of each."""
    validation = open_validation(stores, head.info)
    if isinstance(validation, AttributeValidation):
        return _right_labels(validation, head)
    return _row_f1(validation, head)


def _row_f1(
    validation: ProjectionValidation, head: Head
) -> tuple[Float64[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Row F1 of each row, and its label."""
    by_row = validation_row_f1(validation.outputs(head.network), validation.labels)[1]
    return by_row.astype(np.float64), validation.labels


def _right_labels(
    validation: AttributeValidation, head: Head
) -> tuple[Float64[np.ndarray, " l"], Int[np.ndarray, " l"]]:
    """1 for each label that is predicted and 0 for others, and the group of its row."""
    predicted = predicted_classes(validation.outputs(head.network))
    labels = validation.codes.labels
    places = np.nonzero(validation.codes.is_present)
    right = (predicted == labels) & (labels >= 0)
    return right[places].astype(np.float64), validation.groups[places[0]]
