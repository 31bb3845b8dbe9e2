"""How much each of two classifiers has to say in one: a share of the logits."""

import numpy as np
from jaxtyping import Float, Int

from heads.attributes.calibration import log_loss

LEAST_GAIN = 0.05
"""How much lower, relatively, the log loss has to be for the second to have a say at all."""


def fit_share(
    learned: Float[np.ndarray, "n a k"],
    linear: Float[np.ndarray, "n a k"],
    labels: Int[np.ndarray, "n a"],
) -> float:
    """The share s at which the log loss of (1 − s)·learned + s·linear is least, from 0 to 1.

    It is 0 where the loss falls by less than `LEAST_GAIN`, as what is gained is less than what
    chance gives. The loss has one minimum, being convex in the share. Labels of −1 don't count; the
    share is 0 where there are no others. Both have the same classes, finite where they are.
    """
    # Here, as in calibration: the import takes long.
    from scipy.optimize import minimize_scalar

    known = (labels >= 0) & np.isfinite(learned).any(axis=2)
    if not known.any():
        return 0.0
    classes = labels[known]
    first, second = (logits[known].astype(np.float64) for logits in (learned, linear))
    difference = np.subtract(second, first, where=np.isfinite(first), out=np.zeros_like(first))

    def loss(share: float) -> float:
        return log_loss(first + share * difference, classes)

    found = minimize_scalar(loss, bounds=(0, 1), method="bounded")
    return float(found.x) if found.fun <= (1 - LEAST_GAIN) * loss(0.0) else 0.0
