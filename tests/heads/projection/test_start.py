"""Linear discriminants: their definition, sampling, blocks and refusals."""

import pytest
import torch
from torch import Tensor

from embed.errors import SettingsError
from heads.projection import start as start_module
from heads.projection.start import MAX_FEATURES, SHRINKAGE, class_centres, discriminants
from heads.tables import FeatureTable, ResidentTable

NUM_CLASSES, PER_CLASS, FEATURES = 20, 8, 30


def data(seed: int = 0, per_class: int = PER_CLASS) -> tuple[Tensor, Tensor]:
    """Classes that differ in four directions, under noise that grows along the others."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(NUM_CLASSES).repeat(per_class)
    signal = torch.zeros(len(labels), FEATURES)
    signal[:, :4] = torch.randn(NUM_CLASSES, 4, generator=generator)[labels] * 3
    noise = torch.randn(len(labels), FEATURES, generator=generator)
    return signal + noise * torch.linspace(0.2, 3, FEATURES) + 5, labels


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def textbook(features: Tensor, labels: Tensor, dim: int) -> Tensor:
    """Whiten by the inverse root of the covariance within, then take principal components."""
    features = features.double()
    centred = features.clone()
    for label in range(NUM_CLASSES):
        centred[labels == label] -= features[labels == label].mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(features))
    root = vectors @ torch.diag((values + SHRINKAGE * values.max()).rsqrt()) @ vectors.T
    whitened = (features - features.mean(dim=0)) @ root
    _, _, directions = torch.linalg.svd(whitened, full_matrices=False)
    weight = directions[:dim] @ root
    scaled: Tensor = weight / weight.norm(dim=1).mean()
    return scaled.float()


def test_discriminants_are_the_textbooks_up_to_a_turn() -> None:
    features, labels = data()
    weight, bias = discriminants(ResidentTable(features), labels, 6, generator())
    mapped = features @ weight.T + bias
    expected = (features - features.mean(dim=0)) @ textbook(features, labels, 6).T
    torch.testing.assert_close(mapped @ mapped.T, expected @ expected.T, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(weight.norm(dim=1).mean(), torch.tensor(1.0))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = data()
    whole, _ = discriminants(ResidentTable(features), labels, 4, generator())
    monkeypatch.setattr(start_module, "BLOCK_ROWS", 7)
    blocks, _ = discriminants(ResidentTable(features), labels, 4, generator())
    torch.testing.assert_close(blocks.T @ blocks, whole.T @ whole, rtol=1e-3, atol=1e-4)


def test_a_sample_finds_nearly_the_same_space(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = data(per_class=200)
    whole, _ = discriminants(ResidentTable(features), labels, 4, generator())
    monkeypatch.setattr(start_module, "SAMPLED_ROWS", 1000)
    table = Counting(features)
    sampled, _ = discriminants(table, labels, 4, generator())
    assert table.num_read == len(features) + 1000
    assert not torch.equal(sampled, whole)
    found, wanted = torch.linalg.qr(sampled.T)[0], torch.linalg.qr(whole.T)[0]
    assert float(torch.linalg.svdvals(found.T @ wanted).min()) > 0.97
    again, _ = discriminants(table, labels, 4, generator())
    assert torch.equal(again, sampled)


class Counting(ResidentTable):
    """A table that counts the rows it is asked for."""

    num_read = 0

    def rows(self, index: Tensor) -> Tensor:
        self.num_read += len(index)
        return super().rows(index)


def test_more_dimensions_than_features_leave_rows_of_0() -> None:
    features, labels = data()
    weight, bias = discriminants(ResidentTable(features), labels, FEATURES + 3, generator())
    assert weight[:FEATURES].norm(dim=1).min() > 0
    assert not weight[FEATURES:].any()
    assert not bias[FEATURES:].any()


def test_features_that_never_vary_are_endured() -> None:
    features, labels = data()
    features[:, 3:7] = 0.5
    weight, bias = discriminants(ResidentTable(features), labels, 8, generator())
    assert weight.isfinite().all()
    assert bias.isfinite().all()


def test_class_centres_are_means_of_what_is_projected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_module, "BLOCK_ROWS", 7)
    features, labels = data()
    table: FeatureTable = ResidentTable(features)
    centres = class_centres(lambda rows: rows[:, :3].square(), table, labels, NUM_CLASSES + 1)
    for label in range(NUM_CLASSES):
        mean = features[labels == label, :3].square().mean(dim=0)
        torch.testing.assert_close(centres[label], mean)
    assert not centres[NUM_CLASSES].any()


@pytest.mark.parametrize(
    ("shape", "num_classes", "message"),
    [
        ((10, MAX_FEATURES + 1), 2, "up to 4,096 features: found 4,097"),
        ((10, 3), 10, "found 10 rows of 10 classes"),
    ],
)
def test_what_does_not_fit_is_refused(
    shape: tuple[int, int], num_classes: int, message: str
) -> None:
    labels = torch.arange(shape[0]) % num_classes
    with pytest.raises(SettingsError, match=message):
        discriminants(ResidentTable(torch.ones(shape)), labels, 2, generator())


@pytest.mark.parametrize("distance", [0.0, 1.0])
def test_equal_rows_in_each_class_are_refused(distance: float) -> None:
    labels = torch.arange(90) % 9
    apart = torch.randn(9, FEATURES, generator=generator()) * distance
    with pytest.raises(SettingsError, match="the 90 training rows have equal vectors"):
        discriminants(ResidentTable(apart[labels]), labels, 2, generator())
