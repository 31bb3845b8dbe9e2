"""Bodies of projection heads, against torch's own layers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from embed.errors import SettingsError
from heads.projection.bodies import BODIES, BodyName, BodySettings, make_body

FEATURES = torch.randn(16, 12, generator=torch.Generator().manual_seed(1))


def settings_of(body: BodyName, **fields: Any) -> BodySettings:
    hidden = {} if body == "linear" else {"width": 8, "depth": 2}
    dim = None if body == "residual" else 5
    return BodySettings(body, **({"dim": dim} | hidden | fields))


def unit(vectors: Tensor) -> Tensor:
    lengths: Tensor = vectors.norm(dim=1, keepdim=True)
    return vectors / lengths


@pytest.mark.parametrize("body", BODIES)
def test_vectors_have_unit_length_and_their_size(body: BodyName) -> None:
    network = make_body(12, settings_of(body))
    for mode in (True, False):
        vectors = network.train(mode)(FEATURES)
        assert vectors.shape == (16, network.dim) == (16, 12 if body == "residual" else 5)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(16))


def test_linear_is_a_linear_map() -> None:
    network = make_body(12, settings_of("linear")).eval()
    plain = nn.Linear(12, 5)
    plain.load_state_dict(
        {name.removeprefix("linear."): value for name, value in network.state_dict().items()}
    )
    torch.testing.assert_close(network(FEATURES), unit(plain(FEATURES)))


@pytest.mark.parametrize("body", ["mlp", "residual"])
@pytest.mark.parametrize(
    ("normalization", "activation"), [("batch", "relu"), ("layer", "gelu"), ("none", "silu")]
)
def test_hidden_layers_are_those_of_torch(body: Any, normalization: Any, activation: str) -> None:
    settings = settings_of(body, normalization=normalization, activation=activation, dropout=(0.0,))
    network = make_body(12, settings)
    nn.init.normal_(network.output.weight)  # type: ignore[union-attr, arg-type]
    plain = nn.Sequential()
    for size in (12, 8):
        plain.append(nn.Linear(size, 8, bias=normalization != "batch"))
        norms = {"batch": nn.BatchNorm1d(8), "layer": nn.LayerNorm(8), "none": nn.Identity()}
        plain.append(norms[normalization])
        plain.append({"relu": nn.ReLU(), "gelu": nn.GELU(), "silu": nn.SiLU()}[activation])
    plain.append(nn.Linear(8, network.dim))
    values = list(network.state_dict().values())
    plain.load_state_dict(dict(zip(plain.state_dict(), values, strict=True)))
    added = FEATURES if body == "residual" else 0.0
    for mode in (True, False):  # in training first, which moves the running statistics
        ours, theirs = network.train(mode)(FEATURES), plain.train(mode)(FEATURES)
        torch.testing.assert_close(ours, unit(added + theirs))


def test_residual_starts_at_the_features() -> None:
    network = make_body(12, settings_of("residual"))
    for mode in (True, False):
        torch.testing.assert_close(network.train(mode)(FEATURES), unit(FEATURES))
    network.train()(FEATURES)[:, 0].sum().backward()
    gradient = network.output.weight.grad  # type: ignore[union-attr]
    assert isinstance(gradient, Tensor)
    assert gradient.abs().max() > 0  # and it can leave them


def test_one_rate_drops_and_scales_features() -> None:
    torch.manual_seed(0)
    network = make_body(12, settings_of("linear", dropout=(0.4,)))
    features = torch.ones(20_000, 12)
    dropped = network.train().dropout(features)
    zeros = dropped == 0
    assert float(zeros.float().mean()) == pytest.approx(0.4, abs=0.005)
    kept = dropped[~zeros]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / 0.6), rtol=1e-4, atol=0)
    # Each feature of each row by itself: two are dropped together at the square of the rate.
    for shift in (1, 2, 3, 5):
        together = zeros & zeros.roll(shift, dims=1)
        assert float(together.float().mean()) == pytest.approx(0.16, abs=0.005)
    assert float((zeros[1:] & zeros[:-1]).float().mean()) == pytest.approx(0.16, abs=0.005)
    assert not torch.equal(network.dropout(features), dropped)
    assert torch.equal(network.eval().dropout(features), features)


def test_dropout_is_that_of_the_seed() -> None:
    for rates in ((0.3,), (0.1, 0.5)):
        dropout = make_body(12, settings_of("linear", dropout=rates)).train().dropout
        torch.manual_seed(3)
        first = dropout(FEATURES)
        assert not torch.equal(dropout(FEATURES), first)
        torch.manual_seed(3)
        assert torch.equal(dropout(FEATURES), first)


def test_the_mean_over_samples_of_a_linear_map_is_that_of_the_mean_input() -> None:
    rates = (0.1, 0.2, 0.3, 0.4, 0.5)
    linear = nn.Linear(12, 5)
    samples = [nn.functional.dropout(FEATURES, rate) for rate in rates]
    mean_of_maps = torch.stack([linear(sample) for sample in samples]).mean(dim=0)
    torch.testing.assert_close(linear(torch.stack(samples).mean(dim=0)), mean_of_maps)


def test_several_rates_are_the_mean_of_samples() -> None:
    torch.manual_seed(0)
    rates = (0.1, 0.3, 0.5)
    dropout = make_body(1, settings_of("linear", dropout=rates)).train().dropout
    features = torch.ones(200_000, 1)
    ours = dropout(features).flatten()
    samples = [nn.functional.dropout(features, rate) for rate in rates]
    theirs = torch.stack(samples).mean(dim=0).flatten()
    # The same eight values, each as often.
    found, counts = (x.tolist() for x in torch.unique((ours * 1e4).round(), return_counts=True))
    values, expected = (
        x.tolist() for x in torch.unique((theirs * 1e4).round(), return_counts=True)
    )
    assert len(values) == 8
    assert found == pytest.approx(values, abs=2)
    assert counts == pytest.approx(expected, rel=0.05, abs=100)
    assert float(ours.mean()) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("rates", [(0.0,), (0.0, 0.0)])
def test_rates_of_0_leave_features_as_they_are(rates: tuple[float, ...]) -> None:
    dropout = make_body(12, settings_of("linear", dropout=rates)).train().dropout
    assert torch.equal(dropout(FEATURES), FEATURES)


def test_gradients_pass_through_what_was_kept() -> None:
    for rates in ((0.4,), (0.4, 0.9)):
        dropout = make_body(12, settings_of("linear", dropout=rates)).train().dropout
        features = FEATURES.clone().requires_grad_()
        dropped = dropout(features)
        dropped.sum().backward()
        assert features.grad is not None
        torch.testing.assert_close(features.grad * FEATURES, dropped.detach())


def test_names_of_the_weights() -> None:
    assert set(make_body(12, settings_of("linear")).state_dict()) == {
        "linear.weight",
        "linear.bias",
    }
    batch = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    expected = {"output.weight", "output.bias"}
    for number in (0, 1):
        expected |= {f"hidden.{number}.linear.weight"}
        expected |= {f"hidden.{number}.normalization.{name}" for name in batch}
    multi = settings_of("mlp", dropout=(0.1, 0.5))  # whose table is no weight
    assert set(make_body(12, multi).state_dict()) == expected
    assert set(make_body(12, settings_of("residual")).state_dict()) == expected


@pytest.mark.parametrize("body", BODIES)
def test_weights_and_running_statistics_are_kept(body: BodyName) -> None:
    network = make_body(12, settings_of(body)).train()
    for _ in range(3):
        network(FEATURES * 3 + 1)
    other = make_body(12, settings_of(body))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.eval()(FEATURES), network.eval()(FEATURES))


def test_sizes_by_default() -> None:
    assert BodySettings().output_dim(1000) == 256
    assert BodySettings("mlp").output_dim(1000) == 256
    assert BodySettings("residual").output_dim(1000) == 1000
    assert BodySettings("residual", dim=1000).output_dim(1000) == 1000
    with pytest.raises(SettingsError, match="here 1000: found --dim 256; leave --dim out"):
        make_body(1000, BodySettings("residual", dim=256))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": 0}, "--dim is at least 1: found 0"),
        ({"body": "mlp", "depth": 0}, "--depth is at least 1: found 0"),
        ({"body": "mlp", "width": 0}, "--width is at least 1: found 0"),
        ({"dropout": (0.2, 1.0)}, "--dropout takes rates from 0 to below 1.*: found 0.2, 1.0"),
        ({"dropout": ()}, "--dropout .*: found none"),
        ({"depth": 2}, "--depth is of the hidden layers .*: found 2 with --body linear"),
        ({"activation": "gelu"}, "--activation is of the hidden layers"),
    ],
)
def test_settings_that_do_not_fit(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        BodySettings(**fields)
