"""How near the equal rows among those of validation come, for a projection that is being chosen."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from heads.projection.bodies import project
from heads.tables import FeatureTable
from heads.training.loop import Reported
from retrieval.metrics.intervals import bootstrap_interval
from retrieval.metrics.judgements import judge_join
from retrieval.search.neighbours import Neighbours, neighbours_of_vectors
from retrieval.thresholds.curves import metrics_at, score_curve

VALIDATION_NEIGHBOURS = 50


@dataclass(frozen=True)
class ProjectionValidation:
    """The features of the validation rows, and which of them are equal.

    `labels` (m,) are numbers of the target's values, −1 where there is none.
    """

    chosen_by: ClassVar[str] = "row_f1"
    table: FeatureTable
    labels: Int[np.ndarray, " m"]

    def outputs(self, network: nn.Module) -> Float[np.ndarray, "m e"]:
        """The vectors of the rows."""
        blocks = [project(network, features).cpu() for _, features in self.table.blocks()]
        return torch.cat(blocks).numpy()

    def metrics_of(self, vectors: Float[np.ndarray, "m e"]) -> dict[str, float]:
        """Row F1 of the rows among themselves, at the threshold that is best for it."""
        return {"row_f1": validation_row_f1(vectors, self.labels)[0]}

    def report_of(self, vectors: Float[np.ndarray, "m e"]) -> Reported:
        """The same with its interval; optimistic, the threshold being chosen on these rows."""
        mean, values = validation_row_f1(vectors, self.labels)
        interval = bootstrap_interval(values, self.labels, np.random.default_rng(0))
        return Reported({"row_f1": mean}, {"row_f1": interval})


def validation_row_f1(
    vectors: Float[np.ndarray, "m e"], labels: Int[np.ndarray, " m"]
) -> tuple[float, Float[np.ndarray, " m"]]:
    """Row F1 of the rows among themselves at their best threshold: the mean, and by row."""
    neighbours = neighbours_of_vectors(vectors, VALIDATION_NEIGHBOURS)
    judged = judge_join(neighbours.rows, labels)
    by_row = metrics_at(neighbours, judged, best_threshold(neighbours, labels))[0]
    return float(by_row.mean()), by_row


def best_threshold(neighbours: Neighbours, labels: Int[np.ndarray, " m"]) -> float:
    """The least score of a match that the row F1 of these rows is highest for."""
    curve = score_curve(neighbours, judge_join(neighbours.rows, labels))
    return curve.threshold(curve.best_cut())
