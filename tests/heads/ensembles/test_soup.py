"""Soups: what is averaged, which heads are kept, and heads that can't be averaged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embed.errors import HeadError
from embed.rows import Split, Where
from embed.store import Store
from heads.applying import apply_head
from heads.ensembles.blend import make_blend
from heads.ensembles.ensemble import Ensemble
from heads.ensembles.members import Member, load_members, refuse_other_rows
from heads.ensembles.soup import make_soup, mean_weights, soup_to_files
from heads.features import FeatureStores
from heads.head import load_head, save_head
from heads.kinds import BLEND
from heads.seen import hashed_ids
from tests.conftest import Invoke, json_of
from tests.heads.conftest import SPLIT, task
from tests.heads.ensembles.conftest import Kitchen, by_category, saved


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_head(path).network.state_dict()


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def cooked(kitchen: Kitchen, *names: str, how: str, num_steps: int = 21) -> Ensemble:
    with Store(kitchen.store) as store:
        members = load_members([kitchen[name] for name in names])
        return make_soup(members, how, FeatureStores(store), num_steps)  # type: ignore[arg-type]


def test_weights_of_0_and_1_give_either_head_exactly(kitchen: Kitchen) -> None:
    a, b = weights_of(kitchen["norm_a"]), weights_of(kitchen["norm_b"])
    a["output.bias"][0] = -0.0  # keeps its sign
    assert_equal(mean_weights([a, b], (1.0, 0.0)), a)
    assert_equal(mean_weights([a, b], (0.0, 1.0)), b)
    assert torch.signbit(mean_weights([a, b], (1.0, 0.0))["output.bias"][0])


def test_what_batch_normalisation_has_seen_is_averaged(kitchen: Kitchen, tmp_path: Path) -> None:
    a, b = weights_of(kitchen["norm_a"]), weights_of(kitchen["norm_b"])
    soup_to_files([kitchen["norm_a"], kitchen["norm_b"]], tmp_path / "soup.safetensors")
    soup = weights_of(tmp_path / "soup.safetensors")
    name = "hidden.0.normalization.running_var"
    assert not torch.equal(a[name], b[name])
    torch.testing.assert_close(soup[name], (a[name] + b[name]) / 2)
    batches = "hidden.0.normalization.num_batches_tracked"
    assert soup[batches] == a[batches] != b[batches]


def test_a_uniform_soup_of_linear_heads_is_the_mean_of_their_maps(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    names = ("a", "b", "random")
    soup = soup_to_files([kitchen[name] for name in names], tmp_path / "soup.safetensors")
    maps = [weights_of(kitchen[name])["linear.weight"].numpy().astype(np.float64) for name in names]
    written = load_head(tmp_path / "soup.safetensors")
    found = written.network.state_dict()["linear.weight"].numpy()
    np.testing.assert_allclose(found, np.mean(maps, axis=0), rtol=1e-6)
    assert written.info == soup.info
    assert (soup.info.metrics, soup.info.splits) == ({}, (SPLIT,))
    assert soup.info.num_train == load_head(kitchen["a"]).info.num_train
    assert "put together without a store" in (tmp_path / "soup.md").read_text()
    assert apply_head(kitchen.store, tmp_path / "soup.safetensors", output=tmp_path / "s.h5")


def test_equal_soups_have_equal_bytes_whatever_the_files_are_called(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(kitchen["a"].read_bytes())
    for name, first in (("one", kitchen["a"]), ("two", copy)):
        soup_to_files([first, kitchen["b"]], tmp_path / f"{name}.safetensors")
    one, two = (tmp_path / f"{name}.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_sweep_keeps_the_first_of_the_best_weights(kitchen: Kitchen) -> None:
    soup = cooked(kitchen, "a", "random", how="sweep", num_steps=5)
    assert soup.curve is not None
    assert soup.curve.weights == (0.0, 0.25, 0.5, 0.75, 1.0)
    ends = [score["row_f1"] for score in soup.scores]
    assert [soup.curve.values[0], soup.curve.values[-1]] == ends
    for name, metric in zip(("a", "random"), ends, strict=True):
        assert load_head(kitchen[name]).info.metrics["row_f1"] == pytest.approx(metric, abs=1e-6)
    assert soup.info.metrics["row_f1"] == max(soup.curve.values)
    first = soup.curve.values.index(max(soup.curve.values)) / 4
    assert soup.weights == (1 - first, first)
    a, b = (weights_of(kitchen[name])["linear.weight"] for name in ("a", "random"))
    expected = (1 - first) * a + first * b
    torch.testing.assert_close(soup.network.state_dict()["linear.weight"], expected)


@pytest.mark.parametrize("names", [("a", "b", "random"), ("colours", "others")])
def test_a_greedy_soup_is_no_worse_than_its_best_head(
    kitchen: Kitchen, names: tuple[str, ...]
) -> None:
    soup = cooked(kitchen, *names, how="greedy")
    metric = next(iter(soup.scores[0]))
    values = [score[metric] for score in soup.scores]
    assert soup.info.metrics[metric] >= max(values)
    assert soup.weights[values.index(max(values))] > 0
    assert len({weight for weight in soup.weights if weight}) == 1
    assert sum(soup.weights) == pytest.approx(1)


def test_a_greedy_soup_leaves_out_what_harms(kitchen: Kitchen) -> None:
    """A head turned round: its mean with the other is nothing at all."""
    a, b = load_members([kitchen["a"], kitchen["b"]])
    with torch.no_grad():
        for mine, theirs in zip(a.network.parameters(), b.network.parameters(), strict=True):
            theirs.copy_(-mine)
    with Store(kitchen.store) as store:
        soup = make_soup([a, b], "greedy", FeatureStores(store))
        assert soup.weights == (1.0, 0.0)
        uniform = make_soup([a, b], "uniform", FeatureStores(store))
    assert uniform.info.metrics["row_f1"] < soup.info.metrics["row_f1"]


def test_heads_of_different_data_are_averaged_but_not_compared(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    where = task(where=(Where("kind", "photo"),))
    other = saved(kitchen.store, tmp_path / "photos.safetensors", where, dim=16)
    paths = [kitchen["a"], other]
    soup = soup_to_files(paths, tmp_path / "soup.safetensors")
    infos = [load_head(path).info for path in paths]
    assert soup.info.num_train == sum(info.num_train for info in infos)
    assert soup.info.where == ()
    with (
        Store(kitchen.store) as store,
        pytest.raises(HeadError, match=r"differ in their restrictions: .* kind=photo"),
    ):
        make_soup(load_members(paths), "greedy", FeatureStores(store))
    split = Split.parse("label", "60/20/20", seed=1)
    again = saved(kitchen.store, tmp_path / "seed.safetensors", task(split=split), dim=16)
    soup = soup_to_files([kitchen["a"], again], tmp_path / "two.safetensors")
    assert soup.info.splits == (SPLIT, split)
    applied = apply_head(
        kitchen.store, tmp_path / "two.safetensors", output=tmp_path / "applied.h5"
    )
    with Store(applied.store) as store:
        sides = [kept.sides(store) for kept in (SPLIT, split)]
        expected = (sides[0] != "test") | (sides[1] != "test")
        np.testing.assert_array_equal(store.seen("two"), expected)
        kept = load_head(tmp_path / "two.safetensors").seen_ids
        np.testing.assert_array_equal(kept, np.unique(hashed_ids(store.ids[expected].tolist())))
    with (
        Store(kitchen.store) as store,
        pytest.raises(HeadError, match=r"differ in their splits, .* seed 0; .* seed 1"),
    ):
        make_soup(load_members([kitchen["a"], again]), "sweep", FeatureStores(store))


def test_heads_of_other_folds_are_not_judged_together(kitchen: Kitchen, tmp_path: Path) -> None:
    """What validates one of them has trained the other."""
    paths = [
        saved(kitchen.store, tmp_path / f"{n}.safetensors", task(split=SPLIT.of_fold(4, n)), dim=16)
        for n in (1, 2)
    ]
    members = load_members(paths)
    soup = make_soup(members)
    assert (soup.info.metrics, len(soup.info.splits)) == ({}, 2)
    assert soup.info.num_train == sum(member.info.num_train for member in members)
    assert make_blend(members, weights=[1.0, 2.0]).weights == pytest.approx((1 / 3, 2 / 3))
    message = r"differ in their splits, so that one was trained .* fold 2 is .*; of .* fold 3 is"
    with Store(kitchen.store) as store:
        stores = FeatureStores(store)
        for how in ("uniform", "greedy", "sweep"):
            with pytest.raises(HeadError, match=message):
                make_soup(members, how, stores)
        for fit in (True, False):
            with pytest.raises(HeadError, match=message):
                make_blend(members, fit=fit, stores=stores)
        save_head(tmp_path / "soup.safetensors", soup.info, soup.network)
        with pytest.raises(HeadError, match="goes back to 2 splits"):
            make_blend(
                load_members([tmp_path / "soup.safetensors", paths[0]]), fit=True, stores=stores
            )
        again = saved(
            kitchen.store,
            tmp_path / "3.safetensors",
            task(split=SPLIT.of_fold(4, 1)),
            dim=16,
            seed=3,
        )
        of_one = make_soup(load_members([paths[0], again]), "greedy", stores)
    assert of_one.info.num_train == members[0].info.num_train
    assert of_one.info.metrics["row_f1"] > 0


def test_sides_of_a_column_do_not_go_by_the_group(kitchen: Kitchen) -> None:
    a, b = load_members([kitchen["a"], kitchen["b"]])
    one, other = (
        changed(member, splits=(Split(group, column="split"),))
        for member, group in ((a, "label"), (b, "id"))
    )
    refuse_other_rows([one, other])
    with pytest.raises(HeadError, match=r"by the column `split`; of .* by the column `other`"):
        refuse_other_rows([one, changed(b, splits=(Split("label", column="other"),))])


def changed(member: Member, **fields: object) -> Member:
    return replace(member, info=replace(member.info, **fields))  # type: ignore[arg-type]


def test_heads_that_differ_are_not_averaged(kitchen: Kitchen, tmp_path: Path) -> None:
    a, b = load_members([kitchen["a"], kitchen["b"]])
    space = a.info.spaces[0]
    for other, message in (
        (changed(b, spaces=(replace(space, fingerprint="0" * 32),)), "fingerprint of space 'raw'"),
        (changed(b, spaces=(replace(space, weight=0.5),)), "weight of space 'raw': .*has 1.0"),
        (changed(b, spaces=(replace(space, name="clip"),)), "in their spaces: .*has raw, .*clip"),
        (changed(b, settings={**b.info.settings, "body": "mlp"}), "in their body: .*has linear"),
        (changed(b, kind=BLEND), "of kind 'blend', whose weights can't be averaged"),
    ):
        with pytest.raises(HeadError, match=message):
            make_soup([a, other])
    assert make_soup([a, changed(b, settings={**b.info.settings, "dropout": [0.5]})])
    wide = saved(kitchen.store, tmp_path / "wide.safetensors", dim=8)
    with pytest.raises(HeadError, match=r"shape of linear\.weight: .*\(16, 48\), .*\(8, 48\)"):
        make_soup(load_members([kitchen["a"], wide]))
    with pytest.raises(HeadError, match=r"in their kinds: .*has projection, .*has attributes"):
        make_soup(load_members([kitchen["a"], kitchen["colours"]]))
    what = by_category(split=Split.parse("id", "5/50/45", stratify="category"))
    few = saved(kitchen.store, tmp_path / "few.safetensors", what, "attributes", hidden=8)
    with pytest.raises(HeadError, match=r"classes of colour in 'shirt'.* has 'colour .*no others"):
        make_soup(load_members([kitchen["colours"], few]))


def test_the_command_line(kitchen: Kitchen, tmp_path: Path, heads_cli: Invoke) -> None:
    output = tmp_path / "soup.safetensors"
    arguments = ["soup", kitchen["a"], kitchen["b"], "-o", output, "--store", kitchen.store]
    (tmp_path / "soup.jsonl").write_text("of an earlier head")
    assert "exists already" in heads_cli(*arguments, exit_code=1).stderr
    result = json_of(heads_cli(*arguments, "--sweep", "--steps", "3", "--force", "--json"))
    assert not (tmp_path / "soup.jsonl").exists()
    assert (tmp_path / "soup.png").read_bytes().startswith(b"\x89PNG")
    assert [member["head"] for member in result["members"]] == [
        str(kitchen["a"]),
        str(kitchen["b"]),
    ]
    assert result["details"]["sweep"]["weights"] == [0, 0.5, 1]
    assert "Metric over the weight" in (tmp_path / "soup.md").read_text()
    table = heads_cli(*arguments, "--how", "greedy", "--force").stdout
    assert "row F1" in table and "95 % interval" in table and str(kitchen["b"]) in table
    assert not (tmp_path / "soup.png").exists()
    plain = heads_cli("soup", kitchen["a"], kitchen["b"], "-o", tmp_path / "plain.safetensors")
    assert "0.5" in plain.stdout
    written = [tmp_path / f"plain.{ending}" for ending in ("safetensors", "md")]
    assert plain.stdout.endswith(f"written: {written[0]}, {written[1]}\n")
    assert all(path.exists() for path in written)
    assert len(load_head(output).info.training["heads"]) == 2


@pytest.mark.parametrize(
    ("names", "options", "message", "exit_code"),
    [
        (["a"], [], "made of two heads or more: found", 2),
        (["a", "a"], [], "are the same head", 2),
        (["a", "damaged"], [], "damaged.safetensors is not a head, or it is damaged", 1),
        (["a", "none"], [], "no head at", 1),
        (["a", "b"], ["--sweep"], "give the store that they are in with --store", 2),
        (["a", "b"], ["--sweep", "--how", "greedy"], "--sweep and --how are two ways", 2),
        (["a", "b"], ["--join", "x.h5"], "--join adds spaces to those of --store", 2),
        (["a", "b"], ["--sweep", "--steps", "1", "--store"], "--steps is at least 2", 2),
        (["a", "b", "random"], ["--sweep", "--store"], "a sweep is of two heads: found 3", 2),
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
    kitchen["damaged"].write_bytes(kitchen["b"].read_bytes()[:-9])
    store = [kitchen.store] if "--store" in options else []
    output = tmp_path / "soup.safetensors"
    paths = [kitchen[name] for name in names]
    result = heads_cli("soup", *paths, "-o", output, *options, *store, exit_code=exit_code)
    assert message in result.stderr
    assert exit_code == 2 or result.stderr.count("\n") == 1
    assert not output.exists()
