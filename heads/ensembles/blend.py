"""Blends: several heads kept whole in one file, applied and predicted with as one head.

Members may take in different spaces, and differ in body, loss and classes. A blend asks each of
them, so it takes as long as all of them together.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from embed.errors import SettingsError
from heads.ensembles.ensemble import Ensemble, write_ensemble
from heads.ensembles.flattening import members_of_blends
from heads.ensembles.members import (
    Member,
    load_members,
    merged_info,
    merged_vocabulary,
    refuse_difference,
    refuse_other_rows,
)
from heads.ensembles.networks import (
    Blending,
    attribute_members,
    blended_log_shares,
    blended_vectors,
    build_blend,
    vector_members,
)
from heads.ensembles.weights import OnTried, Weights, best_weights, equal_weights
from heads.features import FeatureStores, SpaceReference
from heads.info import HeadInfo
from heads.kinds import BLEND
from heads.run import HeadFiles
from heads.validation import Validation, open_validation, validation_digest


def blend_to_files(
    paths: Sequence[Path],
    output: Path,
    how: Blending | None = None,
    weights: Sequence[float] | None = None,
    *,
    fit: bool = False,
    stores: FeatureStores | None = None,
    force: bool = False,
    on_tried: OnTried = lambda number, best, value: None,
) -> Ensemble:
    """`make_blend` of these files' heads: the head at `output`, and its card.

    Raises:
        SettingsError: `output` is not named .safetensors; and what `make_blend` raises.
        OutputExistsError: one of the files exists and not `force`.
        HeadError: a file that is no head.
    """
    HeadFiles(output).refuse_existing(force=force)
    members = load_members(paths)
    blend = make_blend(members, how, weights, fit=fit, stores=stores, on_tried=on_tried)
    write_ensemble(blend, output)
    return blend


def make_blend(
    members: Sequence[Member],
    how: Blending | None = None,
    weights: Sequence[float] | None = None,
    *,
    fit: bool = False,
    stores: FeatureStores | None = None,
    on_tried: OnTried = lambda number, best, value: None,
) -> Ensemble:
    """Several heads as one; members that are blends give way to their own members.

    Attribute heads: the weighted mean of the logarithms of their probabilities (`average`), with
    categories, attributes and classes by name. Projections: `concat`, the default, or `average`,
    as `blended_vectors` says; heads that were trained apart have dimensions of their own, so that
    their averages mean little.

    Weights are brought to a sum of 1, and are equal where none are given. With `fit` they are those
    of `best_weights` for the metric of training, on the validation rows of `stores` by the split
    and restrictions that the heads have in common. With `stores` alone the blend and its members
    are compared on these rows. `on_tried` is told of the search, as of `best_weights`.

    Raises:
        HeadError: heads that can't be put together, or differ in their validation rows.
        SettingsError: weights that don't fit, or `fit` without stores.
    """
    _refuse_unfit(members, weights, fit=fit, stores=stores)
    chosen = _blending(members, how)
    given = _normalised(weights, members)
    members, given = members_of_blends(members, given, chosen)
    _refuse_other_sizes(members, chosen)
    info = _blend_info(members, chosen, given)
    if stores is None:
        return _finished(members, info)
    refuse_other_rows(members)
    validation = open_validation(stores, info)
    outputs = _outputs(members, info, validation)
    mix = _mixture(outputs, chosen, info)
    if fit:
        given = best_weights(
            len(members),
            lambda w: validation.metrics_of(mix(w))[validation.chosen_by],
            on_tried,
        )
        info = _with_weights(info, given, fit=True)
    scores = [validation.metrics_of(of_member.numpy()) for of_member in outputs]
    reported = validation.report_of(mix(given))
    info = replace(
        info,
        num_validation=validation.table.num_rows,
        metrics=reported.metrics,
        intervals=reported.intervals,
        details={
            **reported.details,
            "members": scores,
            "validation_rows": validation_digest(stores, info),
        },
    )
    return replace(_finished(members, info), scores=tuple(scores))


def _finished(members: Sequence[Member], info: HeadInfo) -> Ensemble:
    network = build_blend(info, [member.network for member in members]).eval()
    return Ensemble(info, network, tuple(members), tuple(info.settings["weights"]))


def _outputs(members: Sequence[Member], info: HeadInfo, validation: Validation) -> list[Tensor]:
    """What each member says of the validation rows."""
    networks = [member.network for member in members]
    build = attribute_members if info.output == "attributes" else vector_members
    asked: Sequence[torch.nn.Module] = build(info, networks)
    return [torch.from_numpy(validation.outputs(network.eval())) for network in asked]


def _mixture(
    outputs: Sequence[Tensor], how: Blending, info: HeadInfo
) -> Callable[[Weights], Float[np.ndarray, "..."]]:
    """What a blend of these weights says of them."""
    if info.output == "attributes":
        return lambda weights: blended_log_shares(outputs, weights).numpy()
    return lambda weights: blended_vectors(outputs, weights, how).numpy()


def _blend_info(members: Sequence[Member], how: Blending, weights: Weights) -> HeadInfo:
    fields: dict[str, Any] = {"kind": BLEND, "spaces": _spaces(members)}
    if members[0].info.output == "attributes":
        fields["vocabulary"] = asdict(merged_vocabulary(members))
    info = merged_info(members, **fields, settings={"how": how})
    fingerprints = [member.fingerprint for member in members]
    infos = tuple(member.info for member in members)
    info = replace(info, training={"heads": fingerprints}, members=infos)
    return _with_weights(info, weights, fit=False)


def _with_weights(info: HeadInfo, weights: Weights, *, fit: bool) -> HeadInfo:
    return replace(
        info,
        settings={**info.settings, "weights": weights},
        training={**info.training, "fit": fit},
    )


def _spaces(members: Sequence[Member]) -> tuple[SpaceReference, ...]:
    """The spaces of all members, in the order in which they come up, each once and at length 1."""
    spaces: dict[str, SpaceReference] = {}
    first: dict[str, Member] = {}
    for member in members:
        for space in member.info.spaces:
            known = spaces.setdefault(space.name, replace(space, weight=1.0))
            holder = first.setdefault(space.name, member)
            what = f"fingerprint of space '{space.name}'"
            refuse_difference(what, (holder, known.fingerprint), (member, space.fingerprint))
    return tuple(spaces.values())


def _blending(members: Sequence[Member], how: Blending | None) -> Blending:
    """How outputs are put together, where the heads make the same and it fits them."""
    first = members[0]
    for other in members[1:]:
        outputs = first.info.output, other.info.output
        refuse_difference("output", (first, outputs[0]), (other, outputs[1]))
    if first.info.output == "attributes":
        if how == "concat":
            raise SettingsError("--how concat is for projections: attribute heads are averaged")
        return "average"
    return how or "concat"


def _refuse_other_sizes(members: Sequence[Member], how: Blending) -> None:
    if how == "concat" or members[0].info.output == "attributes":
        return
    sizes = [_size(member) for member in members]
    for member, size in zip(members[1:], sizes[1:], strict=True):
        refuse_difference("dimensions", (members[0], sizes[0]), (member, size))


def _size(member: Member) -> int:
    with torch.no_grad():
        return int(member.network(torch.zeros(1, member.info.num_features)).shape[1])


def _normalised(weights: Sequence[float] | None, members: Sequence[Member]) -> Weights:
    if weights is None:
        return equal_weights(len(members))
    return tuple(float(weight) / sum(weights) for weight in weights)


def _refuse_unfit(
    members: Sequence[Member],
    weights: Sequence[float] | None,
    *,
    fit: bool,
    stores: FeatureStores | None,
) -> None:
    if fit and weights is not None:
        raise SettingsError("--weights gives the weights and --fit finds them: give one of them")
    if fit and stores is None:
        raise SettingsError(
            "--fit finds the weights that are best on validation rows: give the store that they "
            "are in with --store"
        )
    if weights is not None and (
        len(weights) != len(members) or not all(0 < weight < np.inf for weight in weights)
    ):
        found = ", ".join(f"{weight:g}" for weight in weights) or "none"
        raise SettingsError(
            f"--weights takes a number above 0 for each of the {len(members)} heads: found {found}"
        )
