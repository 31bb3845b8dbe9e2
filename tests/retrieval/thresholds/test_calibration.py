import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from embed.errors import SelectionError
from retrieval.thresholds.calibration import Calibration, calibrated


def test_a_calibration_by_hand() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32)
    found = calibrated(scores, np.array([False, True, False, True, True]))
    assert found.scores == pytest.approx((0.1, 0.2, 0.3, 0.4, 0.5))
    assert found.probabilities == (0, 0.5, 0.5, 1, 1)
    np.testing.assert_allclose(found(np.array([-1, 0.15, 0.25, 2])), [0, 0.25, 0.5, 1], atol=1e-6)


def test_it_is_isotonic_regression_with_few_knots() -> None:
    generator = np.random.default_rng(0)
    scores = np.round(generator.random(40_000), 4).astype(np.float32)
    # Steep enough for thousands of steps, and with one jump that no line may blur.
    is_match = generator.random(len(scores)) < np.where(scores < 0.7, scores**3, 0.9)
    found = calibrated(scores, is_match)
    whole = IsotonicRegression(out_of_bounds="clip").fit(scores.astype(np.float64), is_match)
    at = np.linspace(-0.1, 1.1, 5001)
    assert np.abs(found(at) - whole.predict(at)).max() < 1 / 256
    assert set(found.scores) <= set(whole.X_thresholds_.tolist())
    np.testing.assert_array_equal(
        found(np.array(found.scores)), whole.predict(np.array(found.scores))
    )
    assert (np.diff(found(at)) >= 0).all()


def test_many_steps_are_thinned_out() -> None:
    scores = np.repeat(np.arange(1500, dtype=np.float32), 1500)
    is_match = np.tile(np.arange(1500), 1500) < scores
    found = calibrated(scores, is_match)
    assert len(found.scores) <= 512
    np.testing.assert_allclose(found(np.arange(1500.0)), np.arange(1500) / 1500, atol=1 / 256)


def test_no_pair_is_told() -> None:
    with pytest.raises(SelectionError, match="nothing to calibrate by"):
        calibrated(np.empty(0, np.float32), np.empty(0, bool))
    alone = calibrated(np.array([0.5], np.float32), np.array([True]))
    assert alone == Calibration((0.5,), (1.0,))
