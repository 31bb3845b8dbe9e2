"""Grids of shares, what is made for them, and weights below 0 from the search to the file."""

from pathlib import Path

import numpy as np
import pytest

from embed.errors import SettingsError
from retrieval.search.ranking import NO_ROW
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.checked_json import score
from retrieval.thresholds.gathering import as_one, weighted
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.weighing import MadeForShares, Shares, weight_grid


def test_weights_of_a_grid_add_up_to_one() -> None:
    assert len(weight_grid(2)) == 19
    assert weight_grid(2)[0] == (0.05, 0.95)
    assert len(set(weight_grid(3))) == 36
    for weights in (*weight_grid(2), *weight_grid(3), *weight_grid(4)):
        assert sum(weights) == pytest.approx(1)
        assert min(weights) > 0


@pytest.mark.parametrize(("num_spaces", "num_choices"), [(2, 39), (3, 246)])
def test_a_signed_grid_holds_the_other_and_is_as_wide_on_every_side(
    num_spaces: int, num_choices: int
) -> None:
    grid = weight_grid(num_spaces, signed=True)
    assert len(grid) == len(set(grid)) == num_choices
    assert set(weight_grid(num_spaces)) < set(grid)
    assert {weights[::-1] for weights in grid} == set(grid)
    for weights in grid:
        assert sum(weights) == pytest.approx(1)
        assert 0 not in weights
        assert sum(weight for weight in weights if weight < 0) >= -0.5
    assert min(map(min, grid)) == -0.5


def test_only_the_last_is_kept_and_it_is_made_once() -> None:
    made: list[Shares] = []

    def make(shares: Shares) -> list[float]:
        made.append(shares)
        return list(shares)

    grid = [(0.5, 0.5), (0.25, 0.75)]
    held = MadeForShares(grid, make)
    assert list(held) == grid
    assert len(held) == 2
    first = held[grid[0]]
    assert held[grid[0]] is first
    assert held[grid[1]] == [0.25, 0.75]
    assert held[grid[0]] is not first
    assert made == [grid[0], grid[1], grid[0]]
    with pytest.raises(KeyError):
        held[(1.0, 0.0)]


def test_what_is_no_candidate_stays_none_whatever_the_sign() -> None:
    rows = np.array([[0, 2, NO_ROW], [1, 0, 2]])
    near = np.array([[1, 0.5, -np.inf], [1, 0.5, 0.4]], np.float32)
    far = np.array([[1, 0.5, -np.inf], [1, 0.9, 0.1]], np.float32)
    both = Candidates(rows, np.stack([near, far]), (near + far) / 2)
    found = as_one(weighted(both, (1.5, -0.5)))
    np.testing.assert_array_equal(found.rows, [[0, 2, NO_ROW], [1, 2, 0]])
    expected = [[1, 0.5, -np.inf], [1, 0.55, 0.3]]
    np.testing.assert_allclose(found.combined, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.scores[0], found.combined)


def test_a_threshold_may_be_as_high_as_scores_are() -> None:
    assert score({"cut": 1.2}, "cut", 1.5) == 1.2
    with pytest.raises(ValueError, match=r"between −1 and 1: found 1.2"):
        score({"cut": 1.2}, "cut")
    with pytest.raises(ValueError, match=r"between −1.5 and 1.5: found -1.6"):
        score({"cut": -1.6}, "cut", 1.5)


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="found 2 without --tune-weights"):
        TuneSettings(("a", "b"), "label", signed_weights=True)
    with pytest.raises(SettingsError, match="of two or three spaces: found 4"):
        TuneSettings(tuple("abcd"), "label", tune_weights=True, signed_weights=True)
