"""What an attribute head has to beat: scikit-learn's logistic regression, as a linear network."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from embed.errors import SettingsError
from heads.attributes.network import AttributeNetwork, AttributeSettings
from heads.attributes.vocabulary import Codes, Pair, Vocabulary

LOGISTIC_SCALE = 10.0


@dataclass(frozen=True)
class LogisticSettings:
    """Logistic regression: `regularization` is what scikit-learn calls C."""

    regularization: float = 10.0
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.regularization < math.inf or self.max_iterations < 1:
            raise SettingsError(
                f"--regularization is scikit-learn's C, finite and above 0, and there is at least "
                f"1 iteration: found {self.regularization:g} and {self.max_iterations}"
            )


def fit_logistic(
    vocabulary: Vocabulary,
    features: Float32[np.ndarray, "n d"],
    codes: Codes,
    settings: LogisticSettings | None = None,
) -> tuple[AttributeNetwork, tuple[str, ...]]:
    """scikit-learn's multinomial logistic regression for each pair, as a network of linear ones.

    The rows are those that the vocabulary was made of. Features are multiplied by 10 first: those
    of unit vectors are so small that the penalty would hold the weights down. The factor is then
    part of the weights. Returns the network, and a warning for each pair that has not converged.
    """
    settings = settings or LogisticSettings()
    network = AttributeNetwork(
        features.shape[1], vocabulary.num_classes(), AttributeSettings(hidden=0, linear_share=0.0)
    )
    warned = []
    for pair in vocabulary.pairs:
        if len(pair.classes) > 1:
            category, attribute = vocabulary.position(pair)
            labels = codes.labels[:, attribute]
            rows = (codes.categories == category) & (labels >= 0)
            weight, bias, has_converged = _fit_pair(features[rows], labels[rows], settings)
            network.set_linear(category, attribute, weight, bias)
            if not has_converged:
                warned.append(_not_converged(pair, settings))
    return network.eval(), tuple(warned)


def _fit_pair(
    features: Float32[np.ndarray, "m d"], labels: Int[np.ndarray, " m"], settings: LogisticSettings
) -> tuple[Float[Tensor, "k d"], Float[Tensor, " k"], bool]:
    # Here, since it takes seconds, and every training imports this module.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=settings.regularization, max_iter=settings.max_iterations)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(features * np.float32(LOGISTIC_SCALE), labels)
    weight, bias = model.coef_ * LOGISTIC_SCALE, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps the second class's logit alone
        weight, bias = np.stack([0 * weight[0], weight[0]]), np.array([0, bias[0]])
    has_converged = not any(w.category is ConvergenceWarning for w in caught)
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), has_converged


def _not_converged(pair: Pair, settings: LogisticSettings) -> str:
    place = f" in '{pair.category}'" if pair.category else ""
    return (
        f"logistic regression of '{pair.attribute}'{place} had not converged after "
        f"{settings.max_iterations:,} iterations: a smaller --regularization converges sooner"
    )
