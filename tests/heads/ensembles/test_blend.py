"""Blends: what members say, put together by name, and applied and predicted with as one head."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from embed.errors import HeadError, SettingsError
from embed.rows import Split
from embed.store import Store
from heads.applying import apply_head
from heads.attributes.network import AttributeNetwork, AttributeSettings
from heads.attributes.predicting import predicted_classes, probabilities
from heads.attributes.vocabulary import Pair, Vocabulary
from heads.ensembles.blend import blend_to_files, make_blend
from heads.ensembles.members import Member, load_members, merged_seen_ids
from heads.ensembles.networks import build_blend
from heads.ensembles.weights import best_weights, equal_weights
from heads.features import FeatureReader, FeatureStores
from heads.head import load_head, save_head
from heads.info import HeadInfo
from heads.predicting import predict_to_file
from tests.conftest import Invoke, json_of
from tests.heads.conftest import SPLIT, task
from tests.heads.ensembles.conftest import Kitchen, by_category, saved


def vectors(path: Path, store_path: Path) -> np.ndarray:
    """Of all items, as a head makes them of the spaces and weights that it names itself."""
    head = load_head(path)
    with Store(store_path) as store:
        reader = FeatureReader(FeatureStores(store), head.info.spaces)
        features = torch.from_numpy(reader(np.arange(len(store))))
    with torch.no_grad():
        made: torch.Tensor = head.network(features)
    return made.numpy()


def test_the_cosines_of_concat_are_the_weighted_mean_of_the_members(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    """Of members with other sizes, other spaces, and one space at another length."""
    both = saved(
        kitchen.store, tmp_path / "both.safetensors", task("bits", "raw", weights={"raw": 0.5})
    )
    paths, weights = [kitchen["a"], kitchen["bits"], both], (0.5, 0.3, 0.2)
    blend = blend_to_files(paths, tmp_path / "blend.safetensors", weights=[5.0, 3.0, 2.0])
    assert [(s.name, s.weight) for s in blend.info.spaces] == [("raw", 1.0), ("bits", 1.0)]
    assert blend.info.splits == (SPLIT,)
    found = vectors(tmp_path / "blend.safetensors", kitchen.store)
    assert found.shape[1] == 16 + 8 + 256
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    expected = sum(
        weight * (own := vectors(path, kitchen.store)) @ own.T
        for path, weight in zip(paths, weights, strict=True)
    )
    np.testing.assert_allclose(found @ found.T, expected, atol=2e-6)


def test_the_average_of_vectors(kitchen: Kitchen, tmp_path: Path) -> None:
    paths = [kitchen["a"], kitchen["b"]]
    blend_to_files(paths, tmp_path / "mean.safetensors", "average", [1.0, 3.0])
    a, b = (vectors(path, kitchen.store) for path in paths)
    mean = 0.25 * a + 0.75 * b
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    found = vectors(tmp_path / "mean.safetensors", kitchen.store)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(HeadError, match=r"differ in their dimensions: .* has 16, .* has 8"):
        make_blend(load_members([kitchen["a"], kitchen["bits"]]), "average")


def test_a_blend_is_applied_as_a_head(kitchen: Kitchen, tmp_path: Path, heads_cli: Invoke) -> None:
    head, output = tmp_path / "blend.safetensors", tmp_path / "out.h5"
    arguments = ["blend", kitchen["a"], kitchen["bits"], "-o", head, "--store", kitchen.store]
    result = json_of(heads_cli(*arguments, "--fit", "--json"))
    assert (result["kind"], result["how"]) == ("blend", "concat")
    assert sum(member["weight"] for member in result["members"]) == pytest.approx(1)
    alone = [member["metrics"]["row_f1"] for member in result["members"]]
    assert result["metrics"]["row_f1"] >= max(alone) > min(alone) > 0
    low, high = result["intervals"]["row_f1"]
    assert low < result["metrics"]["row_f1"] < high
    applied = json_of(heads_cli("apply", kitchen.store, head, "-o", output, "--json"))
    assert applied["dim"] == 24
    with Store(output) as store:
        np.testing.assert_allclose(store.array("blend"), vectors(head, kitchen.store), atol=1e-6)
        np.testing.assert_array_equal(store.seen("blend"), SPLIT.sides(store) != "test")
    assert "made of the head" in (tmp_path / "blend.md").read_text()
    assert not (tmp_path / "blend.png").exists()
    table = heads_cli(*arguments, "--weights", ".5,.5", "--force").stdout
    assert str(kitchen["bits"]) in table and "row F1" in table
    assert f"written: {head}, {tmp_path / 'blend.md'}\n" in table


FIRST = Vocabulary(
    "category",
    ("colour", "size"),
    ("shirt", "shoe"),
    (
        Pair("shirt", "colour", ("blue", "red"), (1, 1)),
        Pair("shoe", "colour", ("black", "red", "white"), (1, 1, 1)),
        Pair("shoe", "size", ("large", "small"), (1, 1)),
    ),
)
SECOND = Vocabulary(
    "category",
    ("size", "colour"),
    ("hat", "shoe"),
    (
        Pair("hat", "colour", ("green", "red"), (1, 1)),
        Pair("shoe", "size", ("large", "medium", "small"), (1, 1, 1)),
        Pair("shoe", "colour", ("amber", "black", "red"), (1, 1, 1)),
    ),
)


def attribute_member(name: str, vocabulary: Vocabulary, info: HeadInfo, seed: int) -> Member:
    """A head of random weights that knows these classes."""
    torch.manual_seed(seed)
    network = AttributeNetwork(48, vocabulary.num_classes(), AttributeSettings(hidden=4))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    settings = {"hidden": 4, "dropout": 0.5, "input_dropout": 0.0}
    fields = {"vocabulary": asdict(vocabulary), "settings": settings}
    return Member(name, name, replace(info, **fields), network.eval())  # type: ignore[arg-type]


def log_shares(
    member: Member, vocabulary: Vocabulary, features: torch.Tensor, category: str
) -> list[dict[tuple[str, str], float]]:
    """Of each row, by attribute and class: nothing where the category is not known."""
    known = category in vocabulary.categories
    number = vocabulary.categories.index(category) if known else -1
    logits = member.network(features, torch.full((len(features),), number)).detach()
    rows: list[dict[tuple[str, str], float]] = [{} for _ in features]
    for pair in vocabulary.pairs:
        if pair.category == category:
            place = vocabulary.attributes.index(pair.attribute)
            of_pair = torch.log_softmax(logits[:, place, : len(pair.classes)], dim=1).tolist()
            for row, values in zip(rows, of_pair, strict=True):
                row |= {(pair.attribute, c): v for c, v in zip(pair.classes, values, strict=True)}
    return rows


@pytest.mark.parametrize("weights", [(0.7, 0.3), (1.0, 0.0)])
def test_attributes_are_averaged_by_name(kitchen: Kitchen, weights: tuple[float, ...]) -> None:
    """Heads with classes, attributes and categories in another order, some of them missing."""
    info = load_head(kitchen["colours"]).info
    members = [attribute_member("one", FIRST, info, 0), attribute_member("two", SECOND, info, 1)]
    blend = make_blend(members)
    info = replace(blend.info, settings={"how": "average", "weights": weights})
    network = build_blend(info, [member.network for member in members])
    union = Vocabulary.from_json(blend.info.vocabulary or {})
    assert union.categories == ("hat", "shirt", "shoe")
    assert union.attributes == ("colour", "size")
    features = torch.randn(5, 48)
    for number, category in enumerate(union.categories):
        logits = network(features, torch.full((5,), number)).detach()
        said = [
            log_shares(member, known, features, category)
            for member, known in zip(members, (FIRST, SECOND), strict=True)
        ]
        for pair in union.pairs:
            if pair.category == category:
                place = union.attributes.index(pair.attribute)
                for row in range(5):
                    found = logits[row, place].tolist()
                    for name, value in zip(pair.classes, found, strict=False):
                        key = pair.attribute, name
                        expected = mean_of([s[row].get(key) for s in said], weights)
                        assert value == pytest.approx(expected, abs=1e-5)
                    assert all(v == -np.inf for v in found[len(pair.classes) :])
    assert network(features, torch.full((5,), -1)).isneginf().all()


def mean_of(values: Sequence[float | None], weights: Sequence[float]) -> float:
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    if not any(w for _, w in known):  # weight 0 speaks where nobody else does
        known = [(v, 1.0) for v, _ in known]
    return sum(v * w for v, w in known) / sum(w for _, w in known)


def test_where_all_know_all_classes_probabilities_are_those_of_mean_logits(
    kitchen: Kitchen,
) -> None:
    members = load_members([kitchen["colours"], kitchen["others"]])
    blend = make_blend(members, weights=[1.0, 3.0])
    features, categories = torch.randn(6, 48), torch.tensor([0, 1, 1, 0, 1, 0])
    with torch.no_grad():
        one, two = (member.network(features, categories) for member in members)
        found = blend.network(features, categories).numpy()
    expected = (0.25 * one + 0.75 * two).numpy()
    np.testing.assert_allclose(probabilities(found), probabilities(expected), atol=1e-6)
    np.testing.assert_array_equal(predicted_classes(found), predicted_classes(expected))


def test_a_blend_predicts_as_a_head(kitchen: Kitchen, tmp_path: Path, heads_cli: Invoke) -> None:
    """With a member of another space, and one that knows one attribute alone."""
    bits = saved(
        kitchen.store,
        tmp_path / "bits.safetensors",
        by_category(spaces=("bits",), targets=("colour",)),
        "attributes",
        hidden=8,
    )
    head = tmp_path / "blend.safetensors"
    paths = [kitchen["colours"], bits, kitchen["others"]]
    arguments = ["blend", *paths, "-o", head, "--fit", "--store", kitchen.store, "--json"]
    result = json_of(heads_cli(*arguments))
    assert result["how"] == "average"
    assert result["details"]["pairs"]
    scores = [member["metrics"]["attribute_score"] for member in result["members"]]
    assert result["metrics"]["attribute_score"] >= max(scores)
    predicted = predict_to_file(kitchen.store, head, tmp_path / "p.csv")
    table = pl.read_csv(predicted.output)
    assert table.columns[1:] == [
        "category",
        "colour",
        "colour_probability",
        "size",
        "size_probability",
    ]
    assert table["colour_probability"].is_between(0, 1).all()
    assert ((table["size"].fill_null("") == "") == (table["category"] == "shirt")).all()
    with pytest.raises(HeadError, match="kind 'blend', which predicts colour, size and makes no"):
        apply_head(kitchen.store, head)


def test_blends_of_blends_are_flat(kitchen: Kitchen, tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.safetensors", tmp_path / "outer.safetensors"
    blend_to_files([kitchen["a"], kitchen["bits"]], inner, weights=[1.0, 3.0])
    blend = blend_to_files([inner, kitchen["b"]], outer, weights=[4.0, 1.0])
    assert blend.weights == pytest.approx((0.2, 0.6, 0.2))
    assert [info.kind for info in blend.info.members] == ["projection"] * 3
    expected = [load_head(kitchen[name]).fingerprint for name in ("a", "bits", "b")]
    assert blend.info.training["heads"] == expected
    kept, of_one = (load_head(path).seen_ids for path in (outer, kitchen["a"]))
    np.testing.assert_array_equal(kept, of_one)  # all of them are of one split
    blind = replace(load_members([inner, kitchen["b"]])[0], seen_ids=None)
    assert merged_seen_ids([blind, *load_members([inner, kitchen["b"]])]) is None
    direct = make_blend(
        load_members([kitchen[name] for name in ("a", "bits", "b")]), weights=[0.2, 0.6, 0.2]
    )
    save_head(tmp_path / "direct.safetensors", direct.info, direct.network)
    flat, other = (vectors(p, kitchen.store) for p in (outer, tmp_path / "direct.safetensors"))
    np.testing.assert_allclose(flat, other, atol=1e-6)
    with pytest.raises(SettingsError, match=r"inner\.safetensors\[0\] and .* are the same head"):
        make_blend(load_members([inner, kitchen["a"]]))
    with pytest.raises(HeadError, match="is a blend by concat, so it can't be a part"):
        make_blend(load_members([inner, kitchen["b"]]), "average")


def test_the_best_weights_of_two_are_those_of_the_plateau_nearest_to_equal() -> None:
    assert best_weights(2, lambda weights: float(weights[1] <= 0.3)) == pytest.approx((0.7, 0.3))
    assert best_weights(2, lambda weights: 1.0) == (0.5, 0.5)
    assert best_weights(2, lambda weights: weights[0]) == (1.0, 0.0)


@pytest.mark.parametrize("target", [0.0, 0.07, 0.33, 0.5, 0.86, 1.0])
def test_the_best_weights_of_two_are_found_to_a_hundredth(target: float) -> None:
    tried: list[float] = []

    def value_of(weights: tuple[float, ...]) -> float:
        tried.append(weights[1])
        return -abs(weights[1] - target)

    assert best_weights(2, value_of)[1] == pytest.approx(target)
    assert len(tried) < 30


def test_the_best_weights_of_more_go_up_and_stay_on_the_simplex() -> None:
    target = np.array([0.6, 0.1, 0.3])
    tried: list[tuple[float, ...]] = []

    def value_of(weights: tuple[float, ...]) -> float:
        tried.append(weights)
        return -float(np.square(np.array(weights) - target).sum())

    told: list[tuple[int, tuple[float, ...], float]] = []
    best = best_weights(3, value_of, lambda *state: told.append(state))
    assert len(tried) == len(set(tried)) < 130
    assert told[-1] == (len(tried), best, max(map(value_of, list(tried))))
    assert np.abs(np.array(best) - target).max() < 0.05
    assert all(min(w) >= 0 and sum(w) == pytest.approx(1) for w in tried)
    corners = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), equal_weights(3)]
    assert all(value_of(best) >= value_of(corner) for corner in corners)


def test_heads_that_can_not_be_put_together(kitchen: Kitchen) -> None:
    a, b = load_members([kitchen["a"], kitchen["b"]])
    for change, message in (
        ({"spaces": (replace(b.info.spaces[0], fingerprint="0" * 32),)}, "fingerprint of space"),
        ({"vocabulary": asdict(FIRST)}, "output: .*has vectors, .*has attributes"),
    ):
        other = replace(b, info=replace(b.info, **change))
        with pytest.raises(HeadError, match=message):
            make_blend([a, other])
    other = replace(b, info=replace(b.info, splits=(Split.parse("label", "80/10/10"),)))
    assert make_blend([a, other]).info.num_train == 2 * a.info.num_train
    with (
        Store(kitchen.store) as store,
        pytest.raises(
            HeadError, match=r"in their splits, .* split 60/20/20 into .*; of .* 80/10/10 into"
        ),
    ):
        make_blend([a, other], fit=True, stores=FeatureStores(store))


@pytest.mark.parametrize(
    ("names", "options", "message", "exit_code"),
    [
        (["a"], [], "made of two heads or more", 2),
        (["a", "a"], [], "are the same head", 2),
        (["a", "colours"], [], "the heads differ in their output", 1),
        (["colours", "others"], ["--how", "concat"], "--how concat is for projections", 2),
        (["a", "b"], ["--weights", "1"], "a number above 0 for each of the 2 heads: found 1", 2),
        (["a", "b"], ["--weights", "1,0"], "a number above 0 for each", 2),
        (["a", "b"], ["--weights", "1,nan"], "a number above 0 for each", 2),
        (["a", "b"], ["--weights", "x"], "--weights takes numbers with commas", 2),
        (["a", "b"], ["--fit"], "give the store that they are in with --store", 2),
        (["a", "b"], ["--fit", "--weights", "1,1"], "give one of them", 2),
        (["a", "b"], ["--store", "none.h5"], "none.h5", 1),
    ],
)
def test_a_users_mistakes_are_one_line(
    kitchen: Kitchen,
    tmp_path: Path,
    heads_cli: Invoke,
    names: list[str],
    options: list[str],
    message: str,
    exit_code: int,
) -> None:
    output = tmp_path / "blend.safetensors"
    paths = [kitchen[name] for name in names]
    result = heads_cli("blend", *paths, "-o", output, *options, exit_code=exit_code)
    assert message in result.stderr
    assert exit_code == 2 or result.stderr.count("\n") == 1
    assert not output.exists()


def test_a_damaged_blend_is_refused(kitchen: Kitchen, tmp_path: Path) -> None:
    blend = make_blend(load_members([kitchen["a"], kitchen["b"]]))
    path = tmp_path / "blend.safetensors"
    for settings in (
        {"how": "concat"},
        {"how": "concat", "weights": "x"},
        {"how": "concat", "weights": None},
        {"how": "magic", "weights": [0.5, 0.5]},
    ):
        save_head(path, replace(blend.info, settings=settings), blend.network)
        with pytest.raises(HeadError, match="is not a head, or it is damaged"):
            load_head(path)
    stranger = load_head(kitchen["colours"]).info
    for members in (blend.info.members[:1], (blend.info.members[0], stranger)):
        save_head(path, replace(blend.info, members=members), blend.network)
        with pytest.raises(HeadError, match="is not a head, or it is damaged"):
            load_head(path)


def test_a_fit_takes_weight_from_a_head_that_harms(kitchen: Kitchen) -> None:
    """One of random weights; where nothing is left to it the user is told."""
    a, b = load_members([kitchen["a"], kitchen["b"]])
    with torch.no_grad():
        for parameter in b.network.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    with Store(kitchen.store) as store:
        blend = make_blend([a, b], fit=True, stores=FeatureStores(store))
        plain = make_blend([a, b], stores=FeatureStores(store))
    assert blend.weights[0] > blend.weights[1]
    assert blend.info.metrics["row_f1"] > plain.info.metrics["row_f1"]
    best = plain.scores[0]["row_f1"]
    assert plain.info.metrics["row_f1"] < best
    assert plain.notes == (
        f"no better than {a.name} by itself on the validation rows: row F1 "
        f"{plain.info.metrics['row_f1']:.4f} against {best:.4f}",
    )
    assert replace(plain, scores=()).notes == ()
    assert replace(plain, scores=({"row_f1": 0.1}, {"row_f1": 0.0})).notes == ()
    nothing = replace(blend, weights=(1.0, 0.0))
    assert nothing.notes[0].startswith(f"{b.name} has weight 0")
