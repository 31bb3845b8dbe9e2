"""Features are weighted by what they tell."""

import math

import numpy as np
import pytest
import torch

from heads.attributes.inputs import InputStatistics
from heads.attributes.network import AttributeNetwork, AttributeSettings


def labelled_rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Feature 0 tells labels, 1 categories alone, 2 labels a little, 3 nothing, 4 is constant."""
    generator = torch.Generator().manual_seed(0)
    categories = torch.randint(-1, 2, (4000,), generator=generator)
    labels = torch.randint(-1, 5, (4000, 2), generator=generator)
    noise = torch.randn(4000, 5, generator=generator)
    rows = noise.clone()
    rows[:, 0] = labels[:, 0] + noise[:, 0] * 0.1
    rows[:, 1] += categories * 10
    rows[:, 2] += labels[:, 0] * 0.5
    rows[:, 4] = 3.0
    return rows, categories, labels


def statistics(
    rows: torch.Tensor, categories: torch.Tensor, labels: torch.Tensor, block: int = 1000
) -> InputStatistics:
    blocks = ((index, rows[index]) for index in torch.split(torch.arange(len(rows)), block))
    return InputStatistics(blocks, categories, labels)


def shares_by_loop(rows: np.ndarray, categories: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 − (variance within classes) / (variance within categories), each without bias."""
    known = (labels >= 0) & (categories >= 0)
    within, total, num_classes = np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), 0
    for category in (0, 1):
        of_category = rows[known & (categories == category)]
        total += ((of_category - of_category.mean(axis=0)) ** 2).sum(axis=0)
        for label in range(5):
            chosen = rows[known & (categories == category) & (labels == label)]
            within += ((chosen - chosen.mean(axis=0)) ** 2).sum(axis=0)
            num_classes += 1
    left = (within / (known.sum() - num_classes))[:4] / (total / (known.sum() - 2))[:4]
    return np.concatenate([np.clip(1 - left, 0, 1), [0]])


def test_shares_equal_those_of_a_loop() -> None:
    rows, categories, labels = labelled_rows()
    found = statistics(rows, categories, labels).class_shares()
    each = [
        shares_by_loop(rows.double().numpy(), categories.numpy(), of_attribute)
        for of_attribute in labels.numpy().T
    ]
    np.testing.assert_allclose(found.numpy(), np.mean(each, axis=0), atol=1e-4)
    assert found[0] > 0.45 and 0.1 < found[2] < 0.3  # the second attribute is in no feature
    assert found[[1, 3]].max() < 0.01 and found[4] == 0


def test_chance_is_taken_off() -> None:
    """Two rows a class would make a third of pure noise look like signal."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(300) // 2)[:, None]
    noise = torch.randn(300, 50, generator=generator)
    found = statistics(noise, torch.zeros(300, dtype=torch.int64), labels).class_shares()
    assert found.mean() < 0.06


def test_labels_that_are_all_different_tell_nothing() -> None:
    rows, labels = torch.randn(8, 3), torch.arange(8)[:, None]
    found = statistics(rows, torch.zeros(8, dtype=torch.int64), labels).class_shares()
    assert found.tolist() == [1, 1, 1]


def test_means_and_deviations_are_those_of_all_rows() -> None:
    rows, categories, labels = labelled_rows()
    rows = rows + 100
    mean, scale = statistics(rows, categories, labels).standard_scale()
    torch.testing.assert_close(mean, rows.double().mean(dim=0).float())
    deviations = rows.double().std(dim=0, correction=0).float()
    torch.testing.assert_close(scale[:4], 1 / deviations[:4])
    assert scale[4] == 1 and mean[4] == rows[0, 4]  # it never changes


def test_rows_that_blocks_leave_out_do_not_count() -> None:
    rows, categories, labels = labelled_rows()
    chosen = torch.arange(0, 4000, 3)
    part = InputStatistics([(chosen, rows[chosen])], categories, labels)
    alone = statistics(rows[chosen], categories[chosen], labels[chosen])
    torch.testing.assert_close(part.class_shares(), alone.class_shares())
    torch.testing.assert_close(part.standard_scale()[1], alone.standard_scale()[1])


def spaces() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eight features with signal and noise alike, eight with a third of it, eight of noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (2000, 1), generator=generator)
    means = torch.nn.functional.one_hot(torch.arange(5)).repeat(1, 5)[:, :24] * 5**0.5
    noise = torch.randn(2000, 24, generator=generator)
    strength = torch.tensor([1.0, 1 / 3, 0.0]).repeat_interleave(8)
    return means[labels[:, 0]] * strength + noise, torch.zeros(2000, dtype=torch.int64), labels


def test_spaces_weigh_by_signal_over_noise() -> None:
    """Variances between classes of 0.8, 0.8 / 9 and 0, all with one within them."""
    weights = statistics(*spaces()).space_weights((8, 8, 8))
    assert weights[0] == 1
    assert weights[1] == pytest.approx(1 / 9, rel=0.1)
    assert weights[2] < 0.02


def test_noise_and_constants_beside_good_features_do_not_weigh_against_a_space() -> None:
    rows, categories, labels = spaces()
    generator = torch.Generator().manual_seed(1)
    more = torch.cat([torch.randn(2000, 200, generator=generator), torch.ones(2000, 50)], dim=1)
    padded = torch.cat([rows[:, :16], more], dim=1)
    alone = statistics(rows, categories, labels).space_weights((8, 8, 8))
    found = statistics(padded, categories, labels).space_weights((8, 258))
    assert found[1] > 0.7 * alone[1]  # a thirtieth of it if all features counted


def test_spaces_that_tell_nothing_weigh_the_same() -> None:
    rows = torch.tensor([[1.0, -2.0], [3.0, -4.0]]).repeat(10, 1)
    labels = torch.tensor([0, 0, 1, 1]).repeat(5)[:, None]
    categories = torch.zeros(20, dtype=torch.int64)
    assert statistics(rows, categories, labels).space_weights((1, 1)).tolist() == [1, 1]
    alone = torch.arange(20)[:, None]  # nor does anything where each row has its own class
    assert statistics(rows, categories, alone).space_weights((1, 1)).tolist() == [1, 1]


def test_a_space_that_tells_everything_leaves_others_some_weight() -> None:
    rows, categories, labels = spaces()
    told = torch.cat([labels.float(), rows], dim=1)
    weights = statistics(told, categories, labels).space_weights((1, 8, 16))
    assert weights[0] == 1 and weights[1] > 5e-4


def test_inputs_have_a_mean_square_of_1_and_follow_the_shares() -> None:
    rows, categories, labels = labelled_rows()
    network = AttributeNetwork(5, np.array([[5, 5], [5, 5]]), AttributeSettings())
    known = statistics(rows, categories, labels)
    network.fit_inputs(known)
    scaled = (rows - network.input_mean) * network.input_scale
    assert scaled.square().mean().item() == pytest.approx(1, rel=0.01)
    shares = known.class_shares()
    deviations = scaled.std(dim=0, correction=0)
    torch.testing.assert_close(deviations / deviations[0], shares / shares[0])


def test_features_that_tell_nothing_are_standardised() -> None:
    rows = torch.tensor([[1.0, -2.0], [3.0, -4.0]]).repeat(10, 1)
    labels = torch.tensor([0, 0, 1, 1]).repeat(5)[:, None]  # each value in each class alike
    network = AttributeNetwork(2, np.array([[2]]), AttributeSettings())
    network.fit_inputs(statistics(rows, torch.zeros(20, dtype=torch.int64), labels))
    scaled = (rows - network.input_mean) * network.input_scale
    torch.testing.assert_close(scaled.abs(), torch.ones(20, 2))
    assert math.isfinite(float(network.input_scale.sum()))
