"""How good attributes are predicted on the rows of validation."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from torch import nn

from heads.attributes.predicting import predicted_classes, predicted_logits
from heads.attributes.scores import score_attributes, score_intervals
from heads.attributes.vocabulary import Codes, Vocabulary
from heads.tables import FeatureTable
from heads.training.loop import Reported


@dataclass(frozen=True)
class AttributeValidation:
    """The features of the validation rows, their categories and labels.

    `groups` (m,) number the rows that stand or fall together.
    """

    chosen_by: ClassVar[str] = "attribute_score"
    table: FeatureTable
    vocabulary: Vocabulary
    codes: Codes
    groups: Int[np.ndarray, " m"]

    def outputs(self, network: nn.Module) -> Float[np.ndarray, "m a k"]:
        """The logits of the rows."""
        return predicted_logits(network, self.table, self.codes.categories)

    def metrics_of(self, logits: Float[np.ndarray, "m a k"]) -> dict[str, float]:
        """Attribute score and accuracy."""
        scores = score_attributes(self.vocabulary, self.codes, predicted_classes(logits))
        return {"attribute_score": scores.attribute_score, "accuracy": scores.accuracy}

    def report_of(self, logits: Float[np.ndarray, "m a k"]) -> Reported:
        """Every score, with intervals, and those of each pair among the details."""
        predicted = predicted_classes(logits)
        scores = asdict(score_attributes(self.vocabulary, self.codes, predicted))
        intervals = score_intervals(
            self.vocabulary, self.codes, predicted, self.groups, np.random.default_rng(0)
        )
        details = {name: scores.pop(name) for name in ("pairs", "num_labels", "num_unknown")}
        return Reported(scores, asdict(intervals), details)
