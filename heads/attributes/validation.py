"""How good a network of attributes is on the validation rows, however it came to be."""

from dataclasses import asdict

import numpy as np
from jaxtyping import Float
from torch import nn

from heads.attributes.predicting import predicted_classes, predicted_logits
from heads.attributes.rows import AttributeRows
from heads.attributes.scores import score_attributes, score_intervals
from heads.tables import FeatureTable
from heads.training.loop import Reported


class AttributeValidation:
    """Scores of networks on the validation rows of a task, whose features `table` holds."""

    def __init__(self, table: FeatureTable, rows: AttributeRows) -> None:
        self._table, self._rows = table, rows

    def logits(self, network: nn.Module) -> Float[np.ndarray, "m a k"]:
        """What the network says of each row, without dropout."""
        return predicted_logits(network, self._table, self._rows.val.categories)

    def metrics(self, network: nn.Module) -> dict[str, float]:
        """Attribute score, by which networks are chosen, and accuracy."""
        predicted = predicted_classes(self.logits(network))
        scores = score_attributes(self._rows.vocabulary, self._rows.val, predicted)
        return {"attribute_score": scores.attribute_score, "accuracy": scores.accuracy}

    def report(self, network: nn.Module) -> Reported:
        """Every score, with intervals, by pair."""
        rows, predicted = self._rows, predicted_classes(self.logits(network))
        scores = asdict(score_attributes(rows.vocabulary, rows.val, predicted))
        intervals = score_intervals(
            rows.vocabulary, rows.val, predicted, rows.groups, np.random.default_rng(0)
        )
        details = {name: scores.pop(name) for name in ("pairs", "num_labels", "num_unknown")}
        return Reported(scores, asdict(intervals), details)
